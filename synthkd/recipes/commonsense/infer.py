"""`commonsense.infer`: what an event comes with, asked of one teacher or of several, by relation.

    head: "PersonX misses the last train"
    ->  {head: ..., relation: xWant, tail: "to call a taxi", support: 0.5, teachers: [a],
         statement: "Alex misses the last train. Afterwards, Alex wants to call a taxi."}

Each question shows worked examples of its relation and then the event, broken off where its tail
would begin. All have names, others in each example, and what comes back has PersonX and PersonY.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from synthkd.config import Count, Samples, Teachers
from synthkd.errors import Rejected, TeacherError
from synthkd.graphs.persons import (
    NAMES,
    PERSONS,
    drawn_names,
    name_fault,
    respelt,
    with_names,
    with_persons,
)
from synthkd.graphs.relations import Relation, head_key, known_relations
from synthkd.graphs.spotting import occurrences
from synthkd.recipes.commonsense.listed import read_list
from synthkd.recipes.replies import Loss, discard_all, give_up, readable
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.teachers.request import Completion

LEAST_CHARACTERS = 3
"""Of a tail; the paper's value."""
NOTHING = frozenset({"none", "nothing", "na", "no", "unknown", "null"})
"""Letters of what stands for no inference."""
_POSSESSIVE = re.compile(r"(Person[XYZ])['\u2019](?![\w'\u2019])")
"""Of a name that ends in s."""


class InferSettings(StepSettings):
    """Settings of `commonsense.infer`."""

    teachers: Teachers
    """Whom to ask; each tail says who has it, and in which share of the replies."""
    prompt: str = "commonsense/infer"
    """The prompt."""
    head: str = "head"
    """The field with the event; it keeps it."""
    relations: list[Relation | str] = Field(default=[*known_relations()], min_length=1)
    """Which are asked for: names of those that come along, or blocks of your own (`name`, `asks`,
    `states`, `examples`)."""
    shown: Annotated[int, Field(ge=1, le=8)] = 5
    """Worked examples in a question, drawn by chance; the paper's value."""
    samples: Samples = 2
    """Replies of each teacher to each question."""
    per_reply: Annotated[int, Field(ge=1, le=100)] = 5
    """Tails that a reply is to have; what it has beyond them is discarded."""
    names: list[str] = Field(default=[*NAMES])
    """First names for PersonX and the others; at least three for each example and the event."""
    most_words: Count = 12
    """Longer tails are discarded."""

    @field_validator("relations")
    @classmethod
    def _known_and_once(cls, relations: list[Relation | str]) -> list[Relation | str]:
        names = [one if isinstance(one, str) else one.name for one in relations]
        for one in relations:
            if isinstance(one, str) and one not in known_relations():
                raise ValueError(
                    f"there is no relation {one!r}: name one of {', '.join(known_relations())}, or"
                    " give a block with name, asks, states and examples"
                )
        if len(set(names)) < len(names):
            raise ValueError(f"names a relation twice: {', '.join(names)}")
        return relations

    @model_validator(mode="after")
    def _enough_names(self) -> InferSettings:
        for name in self.names:
            if (fault := name_fault(name)) is not None:
                raise ValueError(f"names: {name!r} {fault}")
        needed = len(PERSONS) * (self.shown + 1)
        if len(set(self.names)) < needed:
            raise ValueError(
                f"names: {len(set(self.names))} are too few for {self.shown} examples: give at"
                f" least {needed}, or lower `shown`"
            )
        return self

    @property
    def asked(self) -> list[Relation]:
        """The relations in full."""
        return [known_relations()[one] if isinstance(one, str) else one for one in self.relations]

    @property
    def calls_a_row(self) -> int:
        """Questions to each teacher about a row; for the forecast."""
        return self.samples * len(self.relations)

    @property
    def rows_a_row(self) -> int:
        """Rows that come of one, at most; for the forecast."""
        return self.calls_a_row * len(self.teachers) * self.per_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about one relation of an event."""

    relation: Relation
    head: str
    names: Mapping[str, str]
    """Of the event: person -> name."""
    inputs: Mapping[str, Json]
    others: tuple[str, ...]
    """Names of the examples, which no tail has a use for."""


@dataclass(slots=True, kw_only=True)
class _Found:
    """A tail, and who has it."""

    tail: str
    teachers: list[str] = field(default_factory=list)
    replies: int = 0
    keys: list[str] = field(default_factory=list)


@step(
    "commonsense.infer",
    needs=lambda config: [config.head],
    gives=lambda config: [config.head, "relation", "tail", "statement", "support", "teachers"],
    supplies=("asks", "examples", "opening", "count"),
    fans_out=True,
)
async def infer(row: Row, kit: Kit, config: InferSettings, /) -> AsyncIterator[Row]:
    """One row for each tail, which stands once for its event and relation however it is spelt.

    Gives `relation`, `tail`, `statement` (both in words, with names), `support` (the share of the
    replies that have it) and `teachers`. Discards `cut`, `no_list`, `too_short`, `too_long`,
    `no_inference` ("none"), `other_name` (of an example), `says_the_event`, `more_than_asked`;
    rejects `no_event`, `names_taken`, and `no_list` or `no_tails` where no question has an answer
    or a tail.
    """
    event = row.fields.get(config.head)
    if not isinstance(event, str) or not head_key(event):
        raise Rejected("no_event", f"{config.head} is {event!r:.80}")
    head = " ".join(event.split()).rstrip(". ")
    questions = _questions(head, kit, config)
    replies = await kit.ask_each(
        config.prompt,
        [one.inputs for one in questions],
        teachers=config.teachers,
        samples=config.samples,
    )
    each = len(config.teachers) * config.samples
    losses: list[Loss] = []
    found: list[tuple[Question, _Found]] = []
    read = 0
    for place, question in enumerate(questions):
        mine = replies[place * each : (place + 1) * each]
        tails, lists = _tails(question, mine, losses, config)
        found += [(question, one) for one in tails]
        read += lists
    if not read:
        give_up(replies, losses)
    discard_all(kit, losses)
    if not found:
        raise Rejected("no_tails", f"of {read} lists none has a tail")
    for question, one in found:
        known: dict[str, Json] = {
            config.head: head,
            "relation": question.relation.name,
            "tail": one.tail,
            "statement": _said(question, one.tail),
            "support": one.replies / each,
            "teachers": [*one.teachers],
        }
        yield row.with_fields(**known).with_made_by(*one.keys)


def _questions(head: str, kit: Kit, config: InferSettings) -> list[Question]:
    """One a relation, in the order of the settings; the event has the same names in all."""
    try:
        names = drawn_names(kit.rng, config.names, [head])
        return [_question(head, names, relation, kit, config) for relation in config.asked]
    except ValueError as error:
        raise Rejected("names_taken", f"{head[:160]}: {error}") from error


def _question(
    head: str, names: Mapping[str, str], relation: Relation, kit: Kit, config: InferSettings
) -> Question:
    examples: list[Json] = []
    taken = [*names.values()]
    for one in kit.rng.sample(relation.examples, min(config.shown, len(relation.examples))):
        theirs = drawn_names(kit.rng, config.names, [head, *one], leave=taken)
        taken += theirs.values()
        examples.append(with_names(relation.statement(*one), theirs))
    return Question(
        relation=relation,
        head=head,
        names=names,
        others=tuple(taken[len(names) :]),
        inputs={
            "asks": relation.asks,
            "examples": examples,
            "opening": with_names(relation.opening(head), names),
            "count": config.per_reply,
        },
    )


def _tails(
    question: Question,
    replies: Sequence[Completion | TeacherError],
    losses: list[Loss],
    config: InferSettings,
) -> tuple[Iterable[_Found], int]:
    """The tails in the replies to a question, each once; and how many replies are lists."""
    found: dict[str, _Found] = {}
    lists = 0
    for place, reply in readable(replies, losses):
        listed = read_list(reply.text, ended=reply.finish != "length")
        if listed.cut or not listed.is_list:
            losses.append(Loss("cut" if listed.cut else "no_list", reply.text[-200:]))
        lists += listed.is_list
        if more := len(listed.items) - config.per_reply:
            losses += [Loss("more_than_asked", reply.text[-200:])] * max(0, more)
        fresh: set[str] = set()
        for text in listed.items[: config.per_reply]:
            tail = tail_of(text, question)
            fault = tail_fault(tail, question, config.most_words)
            if fault is not None:
                losses.append(Loss(fault, text[:200]))
                continue
            key = head_key(tail)
            one = found.setdefault(key, _Found(tail=tail))
            if key not in fresh:
                fresh.add(key)
                one.replies += 1
                one.keys += reply.keys
                teacher = config.teachers[place // config.samples]
                if teacher not in one.teachers:
                    one.teachers.append(teacher)
    return found.values(), lists


def tail_of(text: str, question: Question) -> str:
    """A tail as it is kept: without the opening and a full stop, with persons in place of names."""
    opening = str(question.inputs["opening"])
    # "Alex misses the train. Afterwards, Alex wants", or less of it.
    for before in (opening, opening.rpartition(". ")[2], opening.rpartition(", ")[2]):
        if text.casefold().startswith(f"{before.casefold()} "):
            text = text[len(before) :]
            break
    text = respelt(with_persons(text.strip(" \"'.,;\u201c\u201d"), question.names))
    return _POSSESSIVE.sub(r"\1's", text)


def tail_fault(tail: str, question: Question, most_words: int) -> str | None:
    """Why a text is no tail: a lower_snake code; None = it is one."""
    key = head_key(tail)
    if key in NOTHING:
        return "no_inference"
    if len(tail) < LEAST_CHARACTERS or not key:
        return "too_short"
    if len(tail.split()) > most_words:
        return "too_long"
    if any(occurrences(name, tail, exact=True) for name in question.others):
        return "other_name"
    return "says_the_event" if key == head_key(question.head) else None


def _said(question: Question, tail: str) -> str:
    return with_names(question.relation.statement(question.head, tail), question.names)
