"""`instruct.grid`: instructions made to measure: a persona, a task, a difficulty, a style.

    - use: instruct.grid
      with:
        teacher: main
        accept: 500
        attributes: {task: [explain, plan, compare], reader: [a child, an expert]}
        fields: [persona]           # every persona of the rows that came in is a value too

Diversity is planned here, and not left to the teacher (Persona-Hub, arXiv 2406.20094, asks for an
instruction of each of many personas). Which combinations are asked about: a cover of all values and
all pairs of values (`synthkd.recipes.instruct.cover`), or every combination. The figures say of
each value how many rows have it, and warn of values that none has.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, StringConstraints, model_validator

from synthkd.errors import UserError
from synthkd.io.spool import Table
from synthkd.recipes.instruct.cover import MOST_PAIRS, Cover, pairs_of
from synthkd.recipes.instruct.elimination import TEMPLATE_WORDS, eliminated, instruction_in
from synthkd.recipes.instruct.waves import (
    Candidate,
    GrowSettings,
    Pool,
    Question,
    grow,
    most_questions,
    new_rows,
)
from synthkd.recipes.instruct.written import Form, FormSettings
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Grid = Mapping[str, Sequence[str]]
SHOWN = 30
"""Values of an attribute that the figures show one by one; of more they say how many have rows."""


class GridSettings(GrowSettings):
    """Settings of `instruct.grid`."""

    attributes: dict[Text, Annotated[list[Text], Field(min_length=1)]] = Field(default={})
    """Name of an attribute -> its values, in words that the teacher understands."""
    fields: list[str] = Field(default=[])
    """Fields of the rows that came in, such as `persona`: each text in one is a value."""
    cover: Literal["pairs", "all"] = "pairs"
    """pairs: every value soon, then every pair of values; all: every combination, mixed."""
    into: str = "attributes"
    """The field for the combination, name -> value."""
    prompt: str = "grid/instruction"
    """The prompt; shows `attributes`, a list of `{name, value}`."""
    template_words: tuple[str, ...] = TEMPLATE_WORDS
    """Words of the prompt: an instruction with one of them is eliminated."""
    form: FormSettings = FormSettings()
    """What an instruction must look like."""
    seeds: Literal["keep", "drop"] = "drop"
    """The rows that came in are no instructions, unless they have some."""

    @model_validator(mode="after")
    def _some_attribute(self) -> GridSettings:
        if not self.attributes and not self.fields:
            raise ValueError("needs attributes, fields or both: what shall instructions differ in?")
        if twins := sorted(set(self.attributes) & set(self.fields)):
            raise ValueError(f"{twins[0]!r} is an attribute and a field: give one another name")
        if self.into in {self.instruction, "input", "origin"}:
            raise ValueError(f"into: the field {self.into!r} already holds something else of a row")
        for name, values in self.attributes.items():
            if len(set(values)) < len(values):
                raise ValueError(f"attributes.{name} has a value twice")
        return self

    @property
    def also_shown(self) -> list[str]:
        """The fields that the teacher sees, as values of attributes."""
        return self.fields

    def faults(self, folder: Path) -> Iterable[str]:
        """See `StepSettings.faults`."""
        if (fault := too_many(self.attributes, self.cover)) is not None:
            yield f"attributes: {fault}"


class Plan(Protocol):
    """Which combination comes next."""

    def take(self) -> dict[str, str]:
        """The next one."""
        ...

    def credit(self, combination: Mapping[str, str]) -> None:
        """A row of this one was accepted."""
        ...


class Every:
    """Every combination once, in a mixed order; then again those of which nothing came.

    Args:
        grid: name -> values.
        rng: mixes them.
    """

    def __init__(self, grid: Grid, rng: random.Random) -> None:
        self._grid = grid
        total = math.prod(map(len, grid.values()))
        self._order = rng.sample(range(total), total)
        self._next = 0
        self._credited: set[int] = set()

    def take(self) -> dict[str, str]:
        """The next one."""
        if self._next == len(self._order):
            without = [number for number in self._order if number not in self._credited]
            self._order, self._next = without or self._order, 0
        number = self._order[self._next]
        self._next += 1
        chosen = {}
        for name, values in self._grid.items():
            number, place = divmod(number, len(values))
            chosen[name] = values[place]
        return chosen

    def credit(self, combination: Mapping[str, str]) -> None:
        """A row of this one was accepted."""
        number = 0
        for name, values in reversed(list(self._grid.items())):
            number = number * len(values) + values.index(combination[name])
        self._credited.add(number)


class ToMeasure:
    """Asks for an instruction of each combination; a `Writer`."""

    per_question = 1

    def __init__(self, config: GridSettings, grid: Grid, plan: Plan, parents: Parents) -> None:
        self._config = config
        self._grid = grid
        self._plan = plan
        self._parents = parents
        self._seen = 0

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """See `Writer`."""
        for row in pool.made[self._seen :]:
            if (known := combination_of(row, self._config.into, self._grid)) is not None:
                self._plan.credit(known)
        self._seen = len(pool.made)
        return [self._question(self._plan.take()) for _ in range(count)]

    def _question(self, chosen: Mapping[str, str]) -> Question:
        listed: list[Json] = [{"name": name, "value": value} for name, value in chosen.items()]
        return Question(
            prompt=self._config.prompt,
            inputs={"attributes": listed},
            parents=[self._parents.of(chosen)],
            about={self._config.into: dict(chosen), "input": ""},
        )

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """See `Writer`."""
        found = instruction_in(reply)
        if isinstance(found, str):
            found = eliminated(found, (), self._config.template_words) or found
        yield found if isinstance(found, Loss) else Candidate(text=found)


class Parents:
    """From which row a combination comes: one that has its value of a field, else all by turns."""

    def __init__(self, rows: Sequence[Row], fields: Sequence[str]) -> None:
        self._rows = rows
        self._fields = fields
        self._having: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            for name in fields:
                if (value := value_in(row, name)) is not None:
                    self._having.setdefault((name, value), []).append(row)
        self._times: Counter[tuple[str, str]] = Counter()

    def of(self, chosen: Mapping[str, str]) -> Row:
        """The next row of those that it may come from."""
        key = (self._fields[0], chosen[self._fields[0]]) if self._fields else ("", "")
        rows = self._having.get(key, self._rows)
        row = rows[self._times[key] % len(rows)]
        self._times[key] += 1
        return row


@table_step(
    "instruct.grid",
    needs=lambda config: config.fields,
    gives=lambda config: (config.instruction, "input", config.into, "origin"),
    supplies=("attributes",),
    asks=lambda config, rows: most_questions(config, 1) if rows else 0,
    makes=new_rows,
)
def grid(table: Table, kit: TableKit, config: GridSettings, /) -> Iterator[Row]:
    """Instructions made to attributes, until there are `accept` of them.

    Gives the instruction, an empty input, the combination (`into`) and `origin`. Discards
    `no_instruction`, `several_instructions`, `cut`, `no_content`, `template_leak`, what `form`
    says, `held_out`, `too_similar`, `enough`, or for what is wrong with the reply. Figures: rows of
    each value, pairs with rows, and a warning of values without. Memory: all that is accepted.

    Raises:
        UserError: a field has no text in any row, or there are too many combinations.
    """
    rows = list(table)
    values = grid_of(rows, config, kit.desk.step)
    plan: Plan = Every(values, kit.rng) if config.cover == "all" else Cover(values, kit.rng)
    writer = ToMeasure(config, values, plan, Parents(rows, config.fields))
    made: list[Mapping[str, str]] = []
    try:
        for row in grow(table, kit, config, writer, [Form(config.form)], seed_fault=any_row):
            if (known := combination_of(row, config.into, values)) is not None:
                made.append(known)
            yield row
    finally:
        kit.note(coverage(values, made))


def grid_of(rows: Sequence[Row], config: GridSettings, place: str) -> Grid:
    """All attributes with their values, those of fields first.

    Raises:
        UserError: a field has no text in any row, or there are too many combinations.
    """
    found: dict[str, Sequence[str]] = {}
    for name in config.fields:
        texts = (value_in(row, name) for row in rows)
        found[name] = list(dict.fromkeys(text for text in texts if text is not None))
        if not found[name]:
            raise UserError(
                f"{place}: none of {len(rows)} rows has text in {name!r}, one of `fields`: name"
                " another field, or leave it out"
            )
    found.update(config.attributes)
    if (fault := too_many(found, config.cover)) is not None:
        raise UserError(f"{place}: {fault}")
    return found


def too_many(grid: Grid, cover: Literal["pairs", "all"]) -> str | None:
    """Why so many values cannot be covered; None = they can."""
    count = math.prod(map(len, grid.values())) if cover == "all" else pairs_of(grid)
    if count <= MOST_PAIRS:
        return None
    what = "combinations" if cover == "all" else "pairs of values"
    instead = "cover: pairs, or fewer values" if cover == "all" else "fewer values"
    return f"there are {count:,} {what}, and {MOST_PAIRS:,} are the most: take {instead}"


def any_row(row: Row) -> Loss | None:
    """The seed's fault: none, since what is asked is made of attributes."""
    return None


def value_in(row: Row, field: str) -> str | None:
    """The text of a field; None = it has none."""
    value = row.fields.get(field)
    return value.strip() or None if isinstance(value, str) else None


def combination_of(row: Row, field: str, grid: Grid) -> dict[str, str] | None:
    """The combination that a row was made to; None = to none of this grid."""
    value = row.fields.get(field)
    if not isinstance(value, Mapping):
        return None
    chosen = {name: str(value[name]) for name in grid if name in value}
    known = len(chosen) == len(grid) and all(chosen[name] in grid[name] for name in grid)
    return chosen if known else None


def coverage(grid: Grid, made: Sequence[Mapping[str, str]]) -> dict[str, Json]:
    """How many rows each value has, how many pairs have any, and which values have none."""
    rows = Counter((name, chosen[name]) for chosen in made for name in grid)
    told: dict[str, Json] = {}
    for name, values in grid.items():
        if len(values) <= SHOWN:
            told[name] = {value: rows[name, value] for value in values}
        else:
            having = sum(rows[name, value] > 0 for value in values)
            told[name] = {"values": len(values), "with_rows": having}
    pairs = {pair for chosen in made for pair in combinations([(n, chosen[n]) for n in grid], 2)}
    without = [f"{n}: {v}" for n, values in grid.items() for v in values if not rows[n, v]]
    figures: dict[str, Json] = {"coverage": told}
    if len(grid) > 1:
        figures |= {"pairs": pairs_of(grid), "pairs_with_rows": len(pairs)}
    if without:
        more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
        figures["warning"] = f"no row was accepted with {'; '.join(without[:SHOWN])}{more}"
    return figures
