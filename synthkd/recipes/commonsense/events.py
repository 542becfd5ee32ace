"""`commonsense.events`: new events from some that are given, each question with others of them.

    head: "PersonX misses the last train"      ->  these rows, and new ones like them:
    head: "PersonX gives PersonY a puppy"          "PersonX forgets PersonY's birthday"

Every question shows events that are drawn anew, so that the teacher is led elsewhere each time.
Only given events are shown, never new ones: what goes wrong once does not go on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import Field

from synthkd.config import Count, Share
from synthkd.graphs.persons import respelt
from synthkd.graphs.relations import head_key
from synthkd.io.spool import Table
from synthkd.recipes.commonsense.listed import read_list
from synthkd.recipes.instruct.waves import (
    Candidate,
    GrowSettings,
    Pool,
    Question,
    grow,
    most_questions,
    new_rows,
)
from synthkd.recipes.replies import Loss
from synthkd.rows import Row
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion
from synthkd.text import tail

_ODD = re.compile(r"[^\w\s,.'\"\u2019$-]|\.\s")
"""What no event has: brackets, slashes, several sentences."""


class EventsSettings(GrowSettings):
    """Settings of `commonsense.events`."""

    prompt: str = "commonsense/events"
    """The prompt."""
    instruction: str = "head"
    """The field with an event."""
    shown: Annotated[int, Field(ge=1, le=100)] = 10
    """Given events in a question, drawn by chance; all where there are fewer. The paper's value."""
    per_question: Annotated[int, Field(ge=1, le=200)] = 20
    """New events that a question asks for."""
    max_similarity: Share | None = 0.95
    """Highest ROUGE-L with any other event: of two events of up to ten words one must differ."""
    begins: Annotated[str, Field(pattern=r"^\S+$")] = "PersonX"
    """The word that every event begins with."""
    most_words: Count = 12
    """Longer ones are a story."""


class EventsWriter:
    """Shows given events, and reads the list of new ones; a `Writer`."""

    def __init__(self, config: EventsSettings) -> None:
        self._config = config
        self.per_question = config.per_question

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """See `Writer`."""
        return [self._question(pool, rng) for _ in range(count)]

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """See `Writer`."""
        listed = read_list(reply.text, ended=reply.finish != "length")
        if listed.cut or not listed.is_list:
            yield Loss("cut" if listed.cut else "no_list", tail(reply.text))
        for item in listed.items:
            yield Candidate(text=respelt(item.rstrip(". ")))

    def gate(self, candidate: Candidate) -> Loss | None:
        """Why a text is no event."""
        first, _, rest = candidate.text.partition(" ")
        begins = self._config.begins
        fault = None
        if first not in (begins, f"{begins}'s") or not head_key(rest):
            fault = "not_begins"
        elif _ODD.search(candidate.text):
            fault = "odd_signs"
        elif len(candidate.text.split()) > self._config.most_words:
            fault = "too_long"
        return None if fault is None else Loss(fault, candidate.text[:200])

    def _question(self, pool: Pool, rng: random.Random) -> Question:
        shown: Sequence[Row] = rng.sample(pool.seeds, min(self._config.shown, len(pool.seeds)))
        heads = [" ".join(pool.text(row).split()) for row in shown]
        return Question(
            prompt=self._config.prompt,
            inputs={"examples": heads, "count": self.per_question},
            parents=shown,
        )


@table_step(
    "commonsense.events",
    needs=lambda config: [config.instruction],
    gives=lambda config: [config.instruction, "origin"],
    supplies=("examples", "count"),
    asks=lambda config, rows: most_questions(config, config.per_question) if rows else 0,
    makes=new_rows,
)
def events(table: Table, kit: TableKit, config: EventsSettings, /) -> Iterator[Row]:
    """The given events, and exactly `accept` new ones, each a row that has the event alone.

    Gives the event and its `origin`. Discards `not_begins`, `odd_signs`, `too_long`, `too_similar`,
    `no_list`, `cut`, and what else the waves lose (`synthkd.recipes.instruct.waves`). Memory: all
    given and new events.
    """
    writer = EventsWriter(config)
    return grow(table, kit, config, writer, [writer.gate])
