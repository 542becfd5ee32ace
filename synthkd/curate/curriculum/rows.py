"""What the steps of a curriculum share: numbers and classes read off rows, and copies of rows."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from synthkd.curate.curriculum.shares import spread_out
from synthkd.desk import ROUND_OFFSET
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import TableKit

LARGEST = 1e280
"""Beyond it a number is none: sums over all rows must stay finite."""


def number_of(value: Json) -> float | None:
    """The value as a number; None = it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) <= LARGEST else None


def class_of(value: Json) -> str | None:
    """The value as the name of a class; None = there is none."""
    return None if value is None or value == "" else str(value)


class Places:
    """The places of a table's rows by class, in the order in which the classes come."""

    def __init__(self, table: Table, field: str) -> None:
        self.of: dict[str | None, list[int]] = {}
        for place, row in enumerate(table):
            self.of.setdefault(class_of(row.fields.get(field)), []).append(place)


def copies(row: Row, count: int, kit: TableKit) -> Iterator[Row]:
    """So many copies of a row, as rows of their own that descend from it."""
    first = kit.desk.round * ROUND_OFFSET
    for number in range(count):
        yield row.child(kit.desk.step, first + number)


def times_each(places: Sequence[int], wanted: int, rng: random.Random) -> dict[int, int]:
    """How often each row is taken so that `wanted` are: fewer by chance without replacement.

    More by whole copies of all, and the rest by chance.

    Args:
        places: of the rows; at least one unless `wanted` is 0.
        wanted: how many rows shall come of them.
        rng: where chance comes from.

    Returns:
        Place -> times, of those that are taken at least once.
    """
    shuffled = rng.sample(places, len(places))
    times = spread_out(wanted, len(shuffled)) if shuffled else []
    return {place: count for place, count in zip(shuffled, times, strict=True) if count}
