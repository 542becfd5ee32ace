"""`curriculum.mix`: TAPIR's mixture of hard rows and seeds, harder by the round.

    - use: curriculum.mix
      with: {field: difficulty, at_least: 2}
    rounds: 3

A share of what the student learns in a round is hard, the rest are seeds (TAPIR, arXiv 2405.13448).
The student of a round learns the rows of all rounds so far, so those that earlier rounds have kept
are counted; the share is met to the row as far as they allow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, PositiveInt

from synthkd.config import Share
from synthkd.curate.curriculum.rows import LARGEST, number_of
from synthkd.curate.curriculum.shares import mixture
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step


class MixSettings(StepSettings):
    """Settings of `curriculum.mix`."""

    field: str = "difficulty"
    """What says that a row is hard: a number, or true; rows with neither are seeds."""
    at_least: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] = 2.0
    """The number from which on a row is hard. Of a judge's points from 1 to 10."""
    start: Share = 0.3
    """The share of hard rows in the first round that mixes."""
    rise: Share = 0.2
    """How much larger it is in each later one; at most 1."""
    warm_up: Annotated[int, Field(ge=0, le=100)] = 1
    """Rounds before that, in which every row is learnt: there is no student yet that could say
    what is hard."""
    rows: PositiveInt | None = None
    """At most so many in all, those of earlier rounds too; null = as many as the share allows."""

    def share(self, number: int) -> float | None:
        """The share of hard rows in a round; None = all rows are taken."""
        if number < self.warm_up:
            return None
        # Rounded: 0.3 + 0.2 + 0.2 is the decimal number that it looks like.
        return min(1.0, round(self.start + self.rise * (number - self.warm_up), 9))


@table_step("curriculum.mix", needs=lambda config: [config.field])
def mix(table: Table, kit: TableKit, config: MixSettings, /) -> Iterator[Row]:
    """Keep as many rows as make a share of hard ones, by chance. Rejects `not_in_mixture`.

    A row that an earlier round has kept, and that comes again, is in the mixture anyway. Figures:
    the share wanted and met, rows of each kind. Memory: some 100 bytes a row of all rounds.
    """
    known: dict[str, bool] = {row.id: _is_hard(row, config) for row in table.kept}
    new: dict[bool, list[int]] = {True: [], False: []}
    for place, row in enumerate(table):
        if row.id in known:
            known[row.id] = _is_hard(row, config)
        else:
            new[_is_hard(row, config)].append(place)
    fixed_hard = sum(known.values())
    fixed_seeds = len(known) - fixed_hard
    share = config.share(kit.desk.round)
    if share is None:
        taken = {True: len(new[True]), False: len(new[False])}
        is_exact = True
    else:
        found = mixture(
            share,
            hard=len(new[True]),
            seeds=len(new[False]),
            fixed_hard=fixed_hard,
            fixed_seeds=fixed_seeds,
            most=config.rows,
        )
        taken, is_exact = {True: found.hard, False: found.seeds}, found.is_exact
    chosen = {place for kind in (True, False) for place in kit.rng.sample(new[kind], taken[kind])}
    hard, seeds = fixed_hard + taken[True], fixed_seeds + taken[False]
    told: dict[str, Json] = {
        "hard": hard,
        "seeds": seeds,
        "new hard": taken[True],
        "new seeds": taken[False],
        "share": round(hard / (hard + seeds), 6) if hard + seeds else None,
        "share wanted": share,
        "exact": is_exact,
    }
    kit.note(told)
    for place, row in enumerate(table):
        if place in chosen or row.id in known:
            yield row
        else:
            kind = "hard" if _is_hard(row, config) else "seed"
            kit.reject(row, "not_in_mixture", f"{kind}: the mixture has {hard} hard, {seeds} seeds")


def _is_hard(row: Row, config: MixSettings) -> bool:
    value = row.fields.get(config.field)
    if isinstance(value, bool):
        return value
    number = number_of(value)
    return number is not None and number >= config.at_least
