"""`instruct.self` and `instruct.expand`: new instructions like those that are there.

`instruct.self` is Self-Instruct (arXiv 2212.10560): the teacher sees a numbered list, mostly of
seeds and some of its own, and goes on with it; its own are shown so that later waves move away from
the seeds. `instruct.expand` is the expansion of the augmentation family (arXiv 2412.04871): a few
are shown, and some new ones of a like kind are asked for.

They write instructions alone; `instruct.instances` writes what belongs to them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from synthkd.io.spool import Table
from synthkd.recipes.instruct.waves import (
    Candidate,
    GrowSettings,
    Pool,
    Question,
    grow,
    most_questions,
    new_rows,
)
from synthkd.recipes.instruct.written import Form, FormSettings, items_of
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion
from synthkd.text import tail

SUPPLIES = ("instructions", "first", "last", "n")


class SeededSettings(GrowSettings):
    """What both generators have in common; what each setting means stands with its figure."""

    prompt: str
    shown: Annotated[int, Field(ge=1, le=100)]
    shown_made: Annotated[int, Field(ge=0, le=100)]
    per_question: Annotated[int, Field(ge=1, le=100)]
    form: FormSettings = FormSettings()
    """What an instruction must look like."""

    @property
    def also_shown(self) -> list[str]:
        """The field that the teacher sees, of some rows at a time."""
        return [self.instruction]

    @model_validator(mode="after")
    def _shows_a_seed(self) -> SeededSettings:
        if self.shown_made >= self.shown:
            raise ValueError(
                f"shown_made is {self.shown_made} of {self.shown} shown: leave room for a seed, so"
                " that what is written stays with the task"
            )
        return self


class SelfSettings(SeededSettings):
    """Settings of `instruct.self`; the figures are Self-Instruct's."""

    prompt: str = "instruct/self"
    """The prompt: shows `instructions`, and asks for `n` more, numbered `first` to `last`."""
    shown: Annotated[int, Field(ge=1, le=100)] = 8
    """Instructions shown with each question."""
    shown_made: Annotated[int, Field(ge=0, le=100)] = 2
    """How many of them are new ones, once there are so many."""
    per_question: Annotated[int, Field(ge=1, le=100)] = 8
    """New instructions asked for with each question."""


class ExpandSettings(SeededSettings):
    """Settings of `instruct.expand`; the figures are those of the augmentation family."""

    prompt: str = "instruct/expand"
    """The prompt: shows `instructions`, and asks for `n` more, numbered `first` to `last`."""
    shown: Annotated[int, Field(ge=1, le=100)] = 2
    """Instructions shown with each question."""
    shown_made: Annotated[int, Field(ge=0, le=100)] = 0
    """How many of them are new ones, once there are so many."""
    per_question: Annotated[int, Field(ge=1, le=100)] = 3
    """New instructions asked for with each question."""


class Lister:
    """Asks for a list like the one shown; a `Writer`."""

    def __init__(self, config: SeededSettings) -> None:
        self._config = config
        self.per_question = config.per_question

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """See `Writer`."""
        return [self._question(pool, rng) for _ in range(count)]

    def _question(self, pool: Pool, rng: random.Random) -> Question:
        config = self._config
        made = rng.sample(pool.made, min(config.shown_made, len(pool.made)))
        seeds = rng.sample(pool.seeds, min(config.shown - len(made), len(pool.seeds)))
        shown = [*seeds, *made]
        rng.shuffle(shown)
        inputs: dict[str, Json] = {
            "instructions": [" ".join(pool.text(row).split()) for row in shown],
            "first": len(shown) + 1,
            "last": len(shown) + config.per_question,
            "n": config.per_question,
        }
        return Question(prompt=config.prompt, inputs=inputs, parents=seeds)

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """See `Writer`."""
        items = list(items_of(reply.text))
        if not items:
            yield Loss("no_list", tail(reply.text))
            return
        cut = reply.finish == "length"
        for place, item in enumerate(items):
            if not item:
                yield Loss("empty_item", f"item {place + 1} of {len(items)}")
            elif cut and place == len(items) - 1:
                yield Loss("cut", tail(item))
            else:
                yield Candidate(text=item)


def _asks(config: SeededSettings, rows: int) -> int:
    return most_questions(config, config.per_question) if rows else 0


def _gives(config: SeededSettings) -> Iterable[str]:
    return config.instruction, "origin"


def _needs(config: SeededSettings) -> Iterable[str]:
    return (config.instruction,)


@table_step(
    "instruct.self", needs=_needs, gives=_gives, supplies=SUPPLIES, asks=_asks, makes=new_rows
)
def self_instruct(table: Table, kit: TableKit, config: SelfSettings, /) -> Iterator[Row]:
    """Self-Instruct: new instructions like the seeds, and unlike each other.

    Gives the instruction and its `origin`. Discards candidates as `no_list`, `empty_item`, `cut`,
    `not_given`, `too_short`, `too_long`, `blacklisted`, `starts_with_punctuation`, `not_ascii`,
    `program`, `held_out`, `too_similar`, `repeated`, `enough`, or for what is wrong with
    the reply. Memory: all seeds and all that is accepted.
    """
    return grow(table, kit, config, Lister(config), [Form(config.form)])


@table_step(
    "instruct.expand", needs=_needs, gives=_gives, supplies=SUPPLIES, asks=_asks, makes=new_rows
)
def expand(table: Table, kit: TableKit, config: ExpandSettings, /) -> Iterator[Row]:
    """Expansion: a few instructions are shown, and some of a like kind are asked for.

    Gives and discards as `instruct.self` does.
    """
    return grow(table, kit, config, Lister(config), [Form(config.form)])
