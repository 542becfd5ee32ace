"""The curriculum in the rows: columns `stage`, `weight` and `order`, which steps may write.

stage   a whole number; each epoch goes through the stages in order (the batch in which one ends may
        hold rows of the next)
order   a whole number; the place of a row in its stage, which is then not shuffled
weight  a number above 0; how much the loss of a row counts, against the mean of all rows

Weights are of the loss, not of sampling: every row is seen once an epoch, so nothing depends on
luck, and the learning rate means the same with and without them (their mean is made 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synthkd.errors import NothingToLearn
from synthkd.rows import Row

STAGE, WEIGHT, ORDER = "stage", "weight", "order"
WAY_OUT = "; mend it in a step, or set student.curriculum: false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """What the rows say about when, and how much, each counts; one entry a row."""

    stages: Sequence[int]
    orders: Sequence[int] | None
    weights: Sequence[float] | None
    """Their mean is 1."""
    says: str
    """In words, for the card."""


def curriculum(rows: Sequence[Row], *, obeyed: bool) -> Curriculum:
    """Read it off the rows.

    Args:
        rows: to learn from.
        obeyed: False = the columns are fields like any other.

    Raises:
        NothingToLearn: a column that only some rows have, or a value that is none.
    """
    stages = _column(rows, STAGE, _whole, "a whole number") if obeyed else None
    orders = _column(rows, ORDER, _whole, "a whole number") if obeyed else None
    weights = _column(rows, WEIGHT, _positive, "a number above 0") if obeyed else None
    said = []
    if stages is not None:
        _check_stages(set(stages))
        said.append(f"stages {min(stages)} to {max(stages)} one after another in each epoch")
    if orders is not None:
        said.append("rows in the order of `order`")
    if weights is not None:
        most = max(weights)  # first by it: a sum of the largest numbers is infinite
        mean = sum(weight / most for weight in weights) / len(weights)
        weights = [weight / most / mean for weight in weights]
        said.append(f"loss weights of {min(weights):.2g} to {max(weights):.2g} times the mean")
    return Curriculum(
        stages=stages or [0] * len(rows),
        orders=orders,
        weights=weights,
        says="; ".join(said) or "none: all rows count alike and are shuffled",
    )


def _column(rows: Sequence[Row], name: str, read: Any, what: str) -> list[Any] | None:
    there = [row for row in rows if row.fields.get(name) is not None]
    if not there:
        return None
    for row in rows:
        if read(row.fields.get(name)) is None:
            other = f", row {there[0].id} has {there[0].fields[name]!r:.80}"
            raise NothingToLearn(
                f"student: the curriculum needs {what} in {name!r} of every row: row {row.id} has"
                f" {row.fields.get(name)!r:.80}{other if row is not there[0] else ''}{WAY_OUT}"
            )
    return [read(row.fields[name]) for row in rows]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value > 0 and math.isfinite(value) else None


def _check_stages(found: set[int]) -> None:
    """Stages are counted from 0 or 1, and none may be empty.

    Raises:
        NothingToLearn: one is; mostly its rows were all rejected on the way.
    """
    first = min(1, min(found))
    empty = sorted(set(range(first, max(found) + 1)) - found) if max(found) < 10**6 else []
    if first < 0 or empty or max(found) >= 10**6:
        named = f"stage {empty[0]} has no rows" if empty else f"stages {sorted(found)[:5]}"
        raise NothingToLearn(
            f"student: {named}: stages are counted from 0 or 1 up to the last, {max(found)}, and"
            f" none may be empty{WAY_OUT}; `synthkd show` says where rows were lost"
        )


class Course:
    """The order in which examples are shown: by stage; in a stage by `orders`, or shuffled.

    A sampler that depends on nothing but seed and epoch, so that every process and every resumed
    training sees the same. Each epoch goes through all stages.

    Args:
        stages: of each example; all of one come before any of the next.
        seed: of the shuffling, with the epoch.
        orders: the place of each example in its stage; None = shuffled.
    """

    def __init__(
        self, stages: Sequence[int], seed: int, orders: Sequence[int] | None = None
    ) -> None:
        self.stages, self.seed, self.orders = stages, seed, orders
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.stages)

    def __iter__(self) -> Iterator[int]:
        import torch

        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        shuffled = torch.randperm(len(self.stages), generator=generator).tolist()
        within = self.orders
        if within is None:
            yield from sorted(shuffled, key=self.stages.__getitem__)
        else:
            yield from sorted(range(len(self)), key=lambda i: (self.stages[i], within[i]))
