"""`difficulty.residual`: a difficulty without what the length of the text explains.

    residual = difficulty - (a + b * log(characters)), plus the mean of all

Judges take long instructions for hard ones. Fitted by least squares over all rows, so that what is
left has no linear relation with the logarithm of the length. Where hard things really take more
words, that goes too: it is off by default, and the figures tell both correlations.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from synthkd.errors import RowError
from synthkd.io.spool import Table
from synthkd.recipes.instructions import asked_in
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EQUAL = 1e-9
"""Of the largest: numbers that spread less are the same but for rounding, and go with nothing."""


class ResidualSettings(StepSettings):
    """Settings of `difficulty.residual`."""

    field: str = "difficulty"
    """The field with the difficulty; a row without one stays as it is, with null."""
    question: str = "instruction"
    """The field with the text whose length counts."""
    input: str | None = "input"
    """The field with what the instruction is about; a row may lack it."""
    into: str = "difficulty"
    """The field for what is left; by default it takes the place of what was there."""


@table_step(
    "difficulty.residual",
    needs=lambda config: [config.field, config.question],
    gives=lambda config: [config.into],
)
def residual(table: Table, kit: TableKit, config: ResidualSettings, /) -> Iterator[Row]:
    """Take out of a difficulty what the logarithm of the text's length explains.

    Gives `into`. Figures: rows, points a doubling of the length, correlation before and after.
    Rejects `no_instruction`. Memory: 16 bytes a row.
    """
    import numpy as np

    lengths, values = array("d"), array("d")
    for row in table:
        lengths.append(_length(row, config))
        values.append(_number(row, config.field))
    x, y = np.frombuffer(lengths), np.frombuffer(values)
    known = np.isfinite(x) & np.isfinite(y)
    slope, before, after = 0.0, 0.0, 0.0
    left = y.copy()
    if known.any():
        apart = x[known] - x[known].mean()
        if (spread := float(apart @ apart)) > 0:
            slope = float(apart @ (y[known] - y[known].mean())) / spread
            left[known] = y[known] - slope * apart
        before, after = _correlation(x[known], y[known]), _correlation(x[known], left[known])
    for place, row in enumerate(table):
        if math.isnan(lengths[place]):
            kit.reject(row, "no_instruction", f"{config.question} is empty, or no text")
            continue
        value = float(left[place])
        made: dict[str, Json] = {config.into: None if math.isnan(value) else value}
        yield row.with_fields(**made)
    kit.note(
        {
            "rows": int(known.sum()),
            "points for twice the length": round(slope * math.log(2), 4),
            "correlation with log length, before": round(before, 3),
            "correlation with log length, after": round(after, 3) + 0.0,
        }
    )


def _length(row: Row, config: ResidualSettings) -> float:
    try:
        return math.log(len(asked_in(row, config.question, config.input)))
    except RowError:
        return math.nan


def _number(row: Row, field: str) -> float:
    value = row.fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    import numpy as np

    if any(each.std() <= EQUAL * np.abs(each).max() for each in (one, other)):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
