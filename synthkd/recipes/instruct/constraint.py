"""What all constraints on an answer have in common, and how words are found in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthkd.text import is_unspaced, normalised

Number = Annotated[int, Field(ge=0, le=100_000)]


class Constraint(BaseModel):
    """One constraint: data, a sentence and a check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def holds(self, answer: str) -> bool:
        """Whether an answer keeps to it; a blank one keeps to nothing."""
        return bool(answer.strip()) and self._holds(answer)

    def sentence(self) -> str:
        """How the teacher is told."""
        return self._sentence()

    @property
    def demands(self) -> Sequence[str]:
        """Texts that an answer must have to keep to it."""
        return self._demands

    @property
    def forbids(self) -> Sequence[str]:
        """Words that an answer must not have, or not more often than so many times."""
        return self._forbids

    def _holds(self, answer: str) -> bool:
        raise NotImplementedError

    def _sentence(self) -> str:
        raise NotImplementedError

    @property
    def _demands(self) -> Sequence[str]:
        return ()

    @property
    def _forbids(self) -> Sequence[str]:
        return ()


class Counted(Constraint):
    """So many of something: `min`, `max` or both."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> Counted:
        if self.min is None and self.max is None:
            raise ValueError("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    def allows(self, found: int) -> bool:
        """Whether so many are right."""
        return found >= (self.min or 0) and (self.max is None or found <= self.max)

    def amount(self, unit: str) -> str:
        """The limits in words, such as `at least 3 bullets`; the unit is in the plural."""
        last = self.min if self.max is None else self.max
        unit = unit.removesuffix("s") if last == 1 else unit
        if self.min == self.max:
            return f"exactly {self.min} {unit}"
        if self.max is None:
            return f"at least {self.min} {unit}"
        if not self.min:
            return f"at most {self.max} {unit}"
        return f"between {self.min} and {self.max} {unit}"


def times_in(text: str, phrase: str) -> int:
    """How often whole words stand in a text, whatever their case.

    In scripts without spaces they may stand inside of others.
    """
    wanted = normalised(phrase)
    left = "" if is_unspaced(wanted[:1] or " ") else r"(?<!\w)"
    right = "" if is_unspaced(wanted[-1:] or " ") else r"(?!\w)"
    return len(re.findall(f"{left}{re.escape(wanted)}{right}", normalised(text)))


def loose(answer: str) -> tuple[str, ...]:
    """The answer as IFEval's loose measure takes it, the answer itself first.

    Without its first line, its last line or both (a word of introduction or of goodbye), each of
    them also without asterisks.
    """
    lines = answer.split("\n")
    cut = (lines, lines[1:], lines[:-1], lines[1:-1])
    texts = ["\n".join(part).strip() for part in cut]
    return tuple(dict.fromkeys([*texts, *(text.replace("*", "") for text in texts)]))
