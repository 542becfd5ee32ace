"""Where a step stands: what all its calls share, and where their chance comes from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synthkd.config import HoldoutConfig
from synthkd.feedback import Feedback
from synthkd.prompts import Prompt
from synthkd.rows import Row, canonical
from synthkd.teachers.open import OpenTeacher

ROUND_OFFSET = 10**6
"""Round R asks for samples R * 10^6 and up, so that it buys new answers, and its children have
numbers from there on, so that they are new rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every call of one step shares: where it stands, whom it may ask."""

    step: str
    """The step's name in this pipeline."""
    folder: Path = Path()
    """The pipeline file's: relative paths in settings are looked for there too."""
    rank: int = 0
    seed: int = 0
    round: int = 0
    feedback: Feedback | None = None
    """Where the student of the last round is weak; None = there is none yet."""
    earlier: Iterable[Row] = ()
    """The rows that earlier rounds have kept."""
    teachers: Mapping[str, OpenTeacher] = field(default_factory=dict)
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    holdout: HoldoutConfig | None = None
    """What the source sets aside: whatever falls on such a side, nobody is shown."""
    work: Path = Path(".work")
    """A folder for scratch files."""
    vectors: Path = Path(".synthkd", "vectors")
    """Where vectors of local models are kept, for all runs of a project."""

    def rng(self, row_id: str) -> random.Random:
        """A generator of its own for each step and row: the same in every run and order."""
        seed = hashlib.sha256(canonical([self.seed, self.round, self.step, row_id])).digest()
        return random.Random(seed)  # noqa: S311  reproducible on purpose, not for secrets
