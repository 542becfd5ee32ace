"""`choose.strongest` and `choose.random`: what every cleverer choice has to beat.

Both choose from the same pool as the others, so they cost what the others cost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Annotated

from pydantic import Field, model_validator

from synthkd.curate.choose.chosen import GIVES
from synthkd.curate.choose.eligible import ChoosingSettings, eligible, with_choice
from synthkd.errors import Rejected
from synthkd.recipes.pool import pool_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, step

ROWS, WITHOUT = "rows", "rows without a candidate of "


class StrongestSettings(ChoosingSettings):
    """Settings of `choose.strongest`."""

    order: Annotated[list[str], Field(min_length=1)]
    """The teachers, the strongest first; one that is not named is never chosen."""

    @model_validator(mode="after")
    def _once_each(self) -> StrongestSettings:
        if len(set(self.order)) != len(self.order):
            raise ValueError("order must name each teacher once")
        return self


def _warns(figures: Mapping[str, Json]) -> Iterable[str]:
    for name, times in figures.items():
        if name.startswith(WITHOUT) and times == figures.get(ROWS):
            yield (
                f"no row has a candidate of {name.removeprefix(WITHOUT)!r}, which `order` names:"
                " look at its spelling, or leave it out"
            )


@step("choose.strongest", needs=lambda config: config.needed, gives=GIVES, warns=_warns)
async def strongest(row: Row, kit: Kit, config: StrongestSettings, /) -> AsyncIterator[Row]:
    """Take the first answer of the strongest teacher that has one; with `gold`, a right one.

    Gives `answer`, `rationale`, `finish`, `agreement` (the share of the pool with that answer) and
    `chosen: {teacher, sample, key}`; `candidates` stays. Rejects `no_candidate`, `wrong_answer`.
    """
    kit.count(ROWS)
    there = {one.teacher for one in pool_of(row, config.candidates)}
    for teacher in config.order:
        if teacher not in there:
            kit.count(f"{WITHOUT}{teacher}")
    left = eligible(row, config)
    rank = {teacher: place for place, teacher in enumerate(config.order)}
    named = [one for one in left if one.teacher in rank]
    if not named:
        others = ", ".join(dict.fromkeys(one.teacher for one in left))
        raise Rejected("no_candidate", f"only of {others}, which `order` does not name")
    best = min(named, key=lambda one: (rank[one.teacher], one.sample))
    kit.count(f"chosen of {best.teacher}")
    yield with_choice(row, best, config)


@step("choose.random", needs=lambda config: config.needed, gives=GIVES)
async def by_chance(row: Row, kit: Kit, config: ChoosingSettings, /) -> AsyncIterator[Row]:
    """Take any answer, each as likely as the others: the control of every other choice.

    Gives and rejects what `choose.strongest` does.
    """
    yield with_choice(row, kit.rng.choice(eligible(row, config)), config)
