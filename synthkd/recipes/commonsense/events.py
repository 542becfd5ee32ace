"""`commonsense.events`: new events from some that are given, each question with others of them.

    head: "PersonX misses the last train"      ->  these rows, and new ones like them:
    head: "PersonX gives PersonY a puppy"          "PersonX forgets PersonY's birthday"

Every question shows events that are drawn anew, so that the teacher is led elsewhere each time.
Only given events are shown, never new ones: what goes wrong once does not go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from synthkd.config import Count
from synthkd.desk import ROUND_OFFSET
from synthkd.errors import RowError
from synthkd.graphs.persons import respelt
from synthkd.graphs.relations import head_key
from synthkd.io.spool import Table
from synthkd.recipes.commonsense.listed import read_list
from synthkd.recipes.replies import loss_of
from synthkd.rows import Json, Row, merged_roots
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.teachers.request import Completion

AT_ONCE = 200
"""Questions whose answers are in memory at once."""
_ODD = re.compile(r"[^\w\s,'\"\u2019$-]|_(?!_)")
"""What no event has: brackets, slashes, several sentences."""


class EventsSettings(StepSettings):
    """Settings of `commonsense.events`."""

    teacher: str
    """Whom to ask."""
    prompt: str = "commonsense/events"
    """The prompt."""
    head: str = "head"
    """The field with a given event, and for a new one."""
    questions: Count = 10
    """So many questions are asked in all."""
    shown: Annotated[int, Field(ge=1, le=100)] = 10
    """Given events in a question, drawn by chance; all where there are fewer. The paper's value."""
    per_question: Annotated[int, Field(ge=1, le=200)] = 20
    """New events that a question asks for."""
    begins: str = "PersonX"
    """What every event begins with."""
    most_words: Count = 12
    """Longer ones are a story."""


@dataclass(slots=True, kw_only=True)
class _Events:
    """The events so far, and what a new one is a child of."""

    given: list[Row] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    children: dict[str, int] = field(default_factory=dict)
    """Id of a given row -> how many children it has."""


@table_step(
    "commonsense.events",
    gives=lambda config: [config.head],
    needs=lambda config: [config.head],
    supplies=("examples", "count"),
    asks=lambda config, rows: config.questions,
)
def events(table: Table, kit: TableKit, config: EventsSettings, /) -> Iterator[Row]:
    """Hand on the given events, each once, and then new ones with the event alone.

    A new row descends from all events that its question showed. Rejects given rows without text
    (`no_event`) and those that say what an earlier one says (`known_event`). Figures: new events,
    and what was thrown away: `known_event`, `not_begins`, `odd_signs`, `too_long`, `cut`,
    `no_list`, questions without an answer. Where none has one, the given rows fail. Memory: the
    given rows, and a key for each event.
    """
    so_far = _given(table, kit, config)
    if not so_far.given:
        return
    kit.note({"given events": len(so_far.given), "new events": 0})
    lost: list[RowError] = []
    for start in range(0, config.questions, AT_ONCE):
        size = min(AT_ONCE, config.questions - start)
        shown = [_drawn(so_far.given, kit, config) for _ in range(size)]
        replies = kit.ask_all(
            config.prompt,
            [{"examples": _heads(rows, config), "count": config.per_question} for rows in shown],
            teacher=config.teacher,
        )
        for rows, reply in zip(shown, replies, strict=True):
            if isinstance(reply, RowError):
                lost.append(reply)
                kit.count("unanswered")
            else:
                yield from _new(reply, rows, so_far, kit, config)
    if len(lost) == config.questions:
        for row in so_far.given:
            kit.fail(row, lost[0])
    else:
        yield from so_far.given


def _given(table: Table, kit: TableKit, config: EventsSettings) -> _Events:
    so_far = _Events()
    for row in table:
        event = row.fields.get(config.head)
        if not isinstance(event, str) or not head_key(event):
            kit.reject(row, "no_event", f"{config.head} is {event!r:.80}")
        elif head_key(event) in so_far.known:
            kit.reject(row, "known_event", event[:200])
        else:
            so_far.known.add(head_key(event))
            so_far.given.append(row)
    return so_far


def _drawn(given: Sequence[Row], kit: TableKit, config: EventsSettings) -> list[Row]:
    return kit.rng.sample(given, min(config.shown, len(given)))


def _heads(rows: Sequence[Row], config: EventsSettings) -> list[Json]:
    return [" ".join(str(row.fields[config.head]).split()) for row in rows]


def _new(
    reply: Completion,
    shown: Sequence[Row],
    so_far: _Events,
    kit: TableKit,
    config: EventsSettings,
) -> Iterator[Row]:
    """The rows of the new events in a reply."""
    if (loss := loss_of(reply)) is not None:
        kit.count(loss.reason)
        return
    listed = read_list(reply.text)
    if listed.cut or not listed.is_list:
        kit.count("cut" if listed.cut else "no_list")
    parent = shown[0]
    for text in listed.items:
        event = respelt(text.rstrip(". "))
        fault = event_fault(event, config) or (head_key(event) in so_far.known and "known_event")
        if fault:
            kit.count(fault)
            continue
        so_far.known.add(head_key(event))
        number = so_far.children.setdefault(parent.id, 0)
        so_far.children[parent.id] += 1
        kit.count("new events")
        child = parent.child(kit.desk.step, kit.desk.round * ROUND_OFFSET + number)
        yield child._replace(
            roots=merged_roots(shown), fields={config.head: event}, made_by=reply.keys
        )


def event_fault(event: str, config: EventsSettings) -> str | None:
    """Why a text is no event: a lower_snake code; None = it is one."""
    first, _, rest = event.partition(" ")
    if first not in (config.begins, f"{config.begins}'s") or not head_key(rest):
        return "not_begins"
    if _ODD.search(event):
        return "odd_signs"
    return "too_long" if len(event.split()) > config.most_words else None
