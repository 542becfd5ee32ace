"""`curriculum.expand`: the new rows that `curriculum.quotas` wants, so many of each class.

    - use: curriculum.quotas
      with: {rows: 2000, by: generate}
    - use: curriculum.expand
      with: {teacher: main}

The teacher is shown instructions of one class, and asked for more like them, in waves: see
`synthkd.recipes.instruct.waves`. A class gets exactly as many new rows as its rows want together.
Where only hard rows come in, hard ones are what is shown, so that the difficulty rises from round
to round (TAPIR, arXiv 2405.13448).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from synthkd.curate.curriculum.rows import class_of
from synthkd.io.spool import Table
from synthkd.recipes.instruct.seeded import SUPPLIES, ExpandSettings, Lister
from synthkd.recipes.instruct.waves import (
    SEED,
    Candidate,
    Pool,
    Question,
    grow,
    has_instruction,
    most_questions,
)
from synthkd.recipes.instruct.written import Form
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion

MADE = "expanded"
"""The field that is true of what the step wrote."""
ODD = "wanted is no whole number"


class ByClassSettings(ExpandSettings):
    """Settings of `curriculum.expand`."""

    accept: Annotated[int, Field(ge=1, le=10**9)] = 10**9
    """At most so many new rows; how many there are is what the rows want."""
    shown_made: Literal[0] = 0
    """Always none: only rows that want new ones are shown, so that these are as hard as they."""
    wanted: str = "wanted"
    """The field with how many new rows are wanted of a row."""
    field: str = "task"
    """The field with the class."""
    copy_fields: list[str] = Field(default=["input"])
    """Fields that a new row has from the row that it was made like, if that one has them."""


class ByClass(Lister):
    """Asks for more of the classes that lack most; a `Writer` and a `Gate`.

    Args:
        config: of the step.
        wanted: class -> new rows.
    """

    def __init__(self, config: ByClassSettings, wanted: Mapping[str | None, int]) -> None:
        super().__init__(config)
        self._of = config
        self._wanted = wanted
        self._pool: Pool | None = None
        self._seen = 0
        self._has: Counter[str | None] = Counter()

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """See `Writer`: of each class no more than it may need."""
        if self._pool is None:
            self._pool, self._seen = pool, len(pool.made)  # those of earlier rounds
        seeds: dict[str | None, list[Row]] = {}
        for row in pool.seeds:
            if _number(row.fields.get(self._of.wanted)):
                seeds.setdefault(class_of(row.fields.get(self._of.field)), []).append(row)
        lacking = {
            name: -(-left // self.per_question) for name in seeds if (left := self._left(name)) > 0
        }
        asked: list[Question] = []
        while lacking and len(asked) < count:  # in turn, so that a wave has all classes
            for name in list(lacking):
                asked.append(self._question_of(seeds[name], rng))
                lacking[name] -= 1
                if not lacking[name]:
                    del lacking[name]
        return asked[:count]

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """See `Writer`: a new row has the class of those that were shown."""
        like = question.parents[0].fields
        known = {name: like[name] for name in self._of.copy_fields if name in like}
        fields: dict[str, Json] = {**known, self._of.field: like.get(self._of.field), MADE: True}
        for one in super().read(question, reply):
            yield Candidate(text=one.text, fields=fields) if isinstance(one, Candidate) else one

    def has_room(self, candidate: Candidate) -> Loss | None:
        """Whether its class still wants rows; a `Gate`."""
        name = class_of(candidate.fields.get(self._of.field))
        if self._left(name) > 0:
            return None
        return Loss("class_full", f"{name} has the {self._wanted.get(name, 0)} rows that it wants")

    def _left(self, name: str | None) -> int:
        made = [] if self._pool is None else self._pool.made
        for row in made[self._seen :]:
            self._has[class_of(row.fields.get(self._of.field))] += 1
        self._seen = len(made)
        return self._wanted.get(name, 0) - self._has[name]

    def _question_of(self, seeds: Sequence[Row], rng: random.Random) -> Question:
        shown = rng.sample(seeds, min(self._of.shown, len(seeds)))
        texts = [" ".join(str(row.fields[self._of.instruction]).split()) for row in shown]
        inputs: dict[str, Json] = {
            "instructions": texts,
            "first": len(shown) + 1,
            "last": len(shown) + self.per_question,
            "n": self.per_question,
        }
        return Question(prompt=self._of.prompt, inputs=inputs, parents=shown)


def _needs(config: ByClassSettings) -> Iterable[str]:
    return config.instruction, config.wanted, config.field


def _gives(config: ByClassSettings) -> Iterable[str]:
    return config.instruction, "origin", MADE


def _asks(config: ByClassSettings, rows: int) -> int:
    """As many new rows as rows at most: `curriculum.quotas` counts what it wants among its rows."""
    if not rows:
        return 0
    told = config.model_copy(update={"accept": min(rows, config.accept)})
    return most_questions(told, config.per_question)


def _warns(figures: Mapping[str, Json]) -> Iterator[str]:
    if odd := figures.get(ODD):
        yield f"rows whose number of wanted ones is no whole number, so that none came of it: {odd}"


@table_step(
    "curriculum.expand", needs=_needs, gives=_gives, supplies=SUPPLIES, asks=_asks, warns=_warns
)
def expand(table: Table, kit: TableKit, config: ByClassSettings, /) -> Iterator[Row]:
    """Have new rows written, of each class as many as its rows want; pass the others on.

    Gives the instruction, its `origin`, its class and `expanded: true`. Discards as
    `instruct.expand` does, and `class_full`. Memory: all rows.
    """
    wanted: Counter[str | None] = Counter()
    odd = 0
    for row in table:
        odd += _is_odd(row.fields.get(config.wanted))
        if has_instruction(row, config):  # the others are rejected, and nothing is like them
            wanted[class_of(row.fields.get(config.field))] += _number(row.fields.get(config.wanted))
    kit.note({ODD: odd} if odd else {})
    accept = min(config.accept, wanted.total())
    if not accept:
        for row in table:
            yield row.with_fields(origin=row.fields.get("origin") or SEED, **{MADE: False})
        return
    writer = ByClass(config, wanted)
    told = config.model_copy(update={"accept": accept})
    for row in grow(table, kit, told, writer, [Form(config.form), writer.has_room]):
        yield row if row.fields.get(MADE) is True else row.with_fields(**{MADE: False})


def _number(value: Json) -> int:
    """How many are wanted; none where the value is no whole number above 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_odd(value: Json) -> bool:
    """Whether the value says something else than how many are wanted, such as "3" in a CSV file."""
    return not (value is None or value == "" or value == 0 or _number(value))
