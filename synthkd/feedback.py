"""What a round learns from the round before: where its student is weak on the dev rows.

It comes from rows held out as `dev`, never from `test`: those only the evaluation sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A dev row and what the student said to it."""

    text: str
    gold: str
    said: str | None
    """None = it gave no answer that could be read."""
    confidence: float | None = None
    """The probability that the student gave its answer; None = it gives none."""
    domain: str | None = None
    """What the row has in the field `rounds.domain`; None = nothing, or no field is named."""

    @property
    def is_right(self) -> bool:
        """Whether the answer is gold."""
        return self.said == self.gold


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """How the student does on one label of gold; shares from 0 to 1."""

    precision: float
    recall: float
    f1: float
    support: int
    """Dev rows with this label."""


class Domain(NamedTuple):
    """How the student does on one domain."""

    accuracy: float
    support: int
    """Dev rows of this domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What the student of the last round does on the dev rows."""

    round: int
    """The round that the student was trained in."""
    scores: Mapping[str, float]
    """accuracy and macro_f1."""
    report: Mapping[str, LabelReport]
    """Label -> how the student does on it, in the order of the labels."""
    examples: tuple[Example, ...]
    """Every dev row, in the order of the source."""

    @property
    def domains(self) -> dict[str, Domain]:
        """Domain (`rounds.domain`) -> how the student does on its dev rows; by name."""
        right: dict[str, list[bool]] = {}
        for example in self.examples:
            if example.domain is not None:
                right.setdefault(example.domain, []).append(example.is_right)
        return {
            name: Domain(sum(each) / len(each), len(each)) for name, each in sorted(right.items())
        }

    @property
    def right(self) -> list[Example]:
        """Rows that the student has right."""
        return [example for example in self.examples if example.is_right]

    @property
    def wrong(self) -> list[Example]:
        """Rows that it has wrong; those that it is surest of come first (hard negatives)."""
        wrong = [example for example in self.examples if not example.is_right]
        return sorted(wrong, key=lambda example: -(example.confidence or 0.0))
