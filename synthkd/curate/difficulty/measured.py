"""What all measures of difficulty have in common: settings, the field and its parts, the figures.

    difficulty: 4.5                                 # higher = harder; null = not measured
    difficulty_parts: {by: difficulty.mfd, teacher: 9.0, student: 4.5, ...}

Each measure has a scale of its own, which `difficulty_parts.by` tells: compare numbers of one
measure alone, as a curriculum by quantiles does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from synthkd.curate.gates.answers import ROUNDING
from synthkd.errors import Rejected, RowError
from synthkd.recipes.instructions import asked_in
from synthkd.recipes.spread import count_spread
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings

NO_STUDENT = "no student yet"


class DifficultySettings(StepSettings):
    """Settings of every measure."""

    question: str = "instruction"
    """The field with what is asked."""
    input: str | None = "input"
    """The field with what the instruction is about; a row may lack it."""
    into: str = "difficulty"
    """The field for the number; `<into>_parts` has what it is made of."""
    keep_at_least: float | None = None
    """Rejects a row that is less difficult (`too_easy`); null = all stay. A row that was not
    measured stays."""

    @property
    def gives(self) -> list[str]:
        """The fields that are written."""
        return [self.into, self.parts]

    @property
    def parts(self) -> str:
        """The field with what the number is made of."""
        return f"{self.into}_parts"

    @property
    def may_show(self) -> list[str]:
        """Fields that whoever is asked is shown where a row has them."""
        return [self.input] if self.input is not None else []

    def asked_in(self, row: Row) -> str:
        """What the row asks: see `synthkd.recipes.instructions`."""
        return asked_in(row, self.question, self.input)


def fields_of(config: DifficultySettings) -> Iterable[str]:
    """The fields that every measure reads."""
    return [config.question]


def measured(
    row: Row,
    kit: Kit,
    config: DifficultySettings,
    difficulty: float,
    *,
    by: str,
    width: float,
    parts: dict[str, Json],
) -> Row:
    """The row with its difficulty; the figures get a histogram and the correlation with length.

    Args:
        row: it.
        kit: of the row.
        config: of the step.
        difficulty: higher = harder.
        by: the measure.
        width: of a bin of the histogram, on the measure's scale.
        parts: what the number is made of.

    Raises:
        RowError: the number is none.
        Rejected: `too_easy`.
    """
    if not math.isfinite(difficulty):
        raise RowError(f"{config.into} by {by} is {difficulty}: its parts are {parts!r:.200}")
    count_spread(kit, config.into, difficulty, width=width, text=config.asked_in(row))
    if config.keep_at_least is not None and difficulty < config.keep_at_least - ROUNDING:
        raise Rejected(
            "too_easy",
            f"{config.into} is {difficulty:.4g}, keep_at_least is {config.keep_at_least:g}",
        )
    made: dict[str, Json] = {config.into: difficulty, config.parts: {"by": by, **parts}}
    return row.with_fields(**made)


def no_student(row: Row, kit: Kit, config: DifficultySettings, *, by: str) -> Row:
    """The row as it goes on in round 0, where there is no student to be measured: with null.

    It stays, whatever `keep_at_least` says: it is what the first student is warmed up on.
    """
    kit.count(NO_STUDENT)
    parts: dict[str, Json] = {"by": by, "why_not": NO_STUDENT}
    return row.with_fields(**{config.into: None, config.parts: parts})
