"""`ner.conversation`: a talk about a text, one question a type; `ner.questions`: each one alone.

    mentions: [{text: Ada, type: person}]
    ->  messages: [user: Text: ..., assistant: I have read it.,
                   user: What describes person in the text?, assistant: ["Ada"],
                   user: What describes river in the text?, assistant: []]
        questions: [{type: person, mentions: [Ada]}, {type: river, mentions: []}]

Without questions about types that the text does not have a student learns that there is always an
answer. Which ones are asked is drawn by how often a type is mentioned in all rows, after
UniversalNER (arXiv 2308.03279).
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import orjson
from pydantic import Field, field_validator

from synthkd.curate.fields import text_of, value_of
from synthkd.curate.ner.ground import mentions_of
from synthkd.errors import RowError
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, TableKit, step, table_step

READ = "I have read it."
ASK = "What describes {type} in the text?"
TRIES = 20
"""Draws for each type that is wanted, before those that are left are weighed one by one."""


class _Asking(StepSettings):
    text: str = "text"
    """The field with the text."""
    ask: str = ASK
    """The question; `{type}` is the type or its definition."""
    dataset: str | None = None
    """A field with the name of the data set, told before the text, where sets that mean different
    things by one type are mixed."""

    @field_validator("ask")
    @classmethod
    def _names_the_type(cls, ask: str) -> str:
        if "{type}" not in ask:
            raise ValueError("must say {type}, where the type goes")
        return ask

    @property
    def needed(self) -> list[str]:
        """The fields that are read, besides those of a subclass."""
        return [self.text, *([self.dataset] if self.dataset else [])]

    def told(self, row: Row) -> str:
        """How the row's text is put before a student."""
        text = f"Text: {text_of(row, self.text)}"
        return f"Dataset: {text_of(row, self.dataset)}\n{text}" if self.dataset else text

    def question(self, kind: str) -> str:
        """The question about a type."""
        return self.ask.replace("{type}", kind)


class ConversationSettings(_Asking):
    """Settings of `ner.conversation`."""

    mentions: str = "mentions"
    """The field with the mentions, as `ner` and `ner.ground` give them."""
    by: Literal["type", "definition"] = "type"
    """What is asked for: a type, or the definition that came with each mention."""
    negatives: Literal["frequency", "uniform", "none"] = "frequency"
    """Questions about types that the text does not have: drawn by how often all rows mention them,
    all alike, or none."""
    per_question: float = Field(default=1.0, gt=0, le=100)
    """So many of them for each question that has an answer, rounded up ..."""
    at_least: int = Field(default=1, ge=0, le=1_000)
    """... at least so many, also where the text speaks of nothing ..."""
    at_most: int = Field(default=20, ge=1, le=1_000)
    """... and at most so many."""
    into: str = "messages"
    """The field for the talk."""
    questions: str = "questions"
    """The field for the questions with their answers, as `mention_f1` takes them."""


class QuestionsSettings(_Asking):
    """Settings of `ner.questions`."""

    questions: str = "questions"
    """The field with the questions, as `ner.conversation` gives them."""
    into: str = "prompt"
    """The field for the text and the question."""
    completion: str = "completion"
    """The field for the answer: a JSON list of mentions."""


@table_step(
    "ner.conversation",
    needs=lambda config: [config.mentions, *config.needed],
    gives=lambda config: [config.into, config.questions],
)
def conversation(table: Table, kit: TableKit, config: ConversationSettings, /) -> Iterator[Row]:
    """Gives each row a talk about its text, one question a type, in an order of chance.

    Rejects `unreadable_mentions` and `no_questions`. Figures: types, questions, and how many have
    no answer. Memory: some 200 bytes a type.
    """
    counts: Counter[str] = Counter()
    for row in table:
        try:
            known = _by_type(mentions_of(row, config.mentions), config.by)
        except RowError:
            continue  # the second pass says why
        counts.update({kind: len(names) for kind, names in known.items()})
    drawing = Drawing(counts, uniform=config.negatives == "uniform")
    kit.note({"types": len(counts), "questions": 0, "without_answer": 0})
    for row in table:
        try:
            mentions = mentions_of(row, config.mentions)
            told = config.told(row)
        except RowError as error:
            kit.reject(row, "unreadable_mentions", str(error))
            continue
        known = _by_type(mentions, config.by)
        absent: list[str] = []
        if config.negatives != "none":
            wanted = max(math.ceil(len(known) * config.per_question), config.at_least)
            absent = drawing.draw(kit.rng, known, min(wanted, config.at_most))
        if not known and not absent:
            kit.reject(row, "no_questions", f"no {config.by} to ask for")
            continue
        asked = [*known, *absent]
        kit.rng.shuffle(asked)
        kit.count("questions", len(asked))
        kit.count("without_answer", len(absent))
        answers = {kind: known.get(kind, []) for kind in asked}
        questions: list[Json] = [{"type": k, "mentions": [*names]} for k, names in answers.items()]
        talk = [("user", told), ("assistant", READ)]
        for kind, names in answers.items():
            talk += [("user", config.question(kind)), ("assistant", _written(names))]
        messages: list[Json] = [{"role": role, "content": said} for role, said in talk]
        yield row.with_fields(**{config.into: messages, config.questions: questions})


@step(
    "ner.questions",
    needs=lambda config: [config.questions, *config.needed],
    gives=lambda config: [config.into, config.completion],
    fans_out=True,
)
async def questions(row: Row, kit: Kit, config: QuestionsSettings, /) -> AsyncIterator[Row]:
    """One row a question: the text with the question, and the answer as a JSON list."""
    told = config.told(row)
    for kind, names in _questions_of(value_of(row, config.questions), config.questions):
        prompt = f"{told}\n\n{config.question(kind)}"
        yield row.with_fields(**{config.into: prompt, config.completion: _written(names)})


class Drawing:
    """Types drawn without putting back, by their counts or all alike.

    Args:
        counts: how often each is mentioned.
        uniform: whether all count alike.
    """

    def __init__(self, counts: Mapping[str, int], *, uniform: bool = False) -> None:
        self._weights = {kind: 1 if uniform else count for kind, count in counts.items()}
        self._kinds = list(self._weights)
        self._sums = list(accumulate(self._weights.values()))

    def draw(self, rng: random.Random, present: Iterable[str], count: int) -> list[str]:
        """So many types that are not present; all of them, where there are fewer."""
        out = set(present)
        count = min(count, len(self._kinds) - len(out & self._weights.keys()))
        drawn: dict[str, None] = {}
        for _ in range(TRIES * count):
            if len(drawn) == count:
                break
            kind = rng.choices(self._kinds, cum_weights=self._sums)[0]
            if kind not in out:
                drawn[kind] = None
        if len(drawn) < count:  # the frequent ones are all in the text: weigh the rest one by one
            left = [kind for kind in self._kinds if kind not in out and kind not in drawn]
            lots = {kind: rng.expovariate(self._weights[kind]) for kind in left}
            drawn.update(
                dict.fromkeys(heapq.nsmallest(count - len(drawn), left, key=lots.__getitem__))
            )
        return list(drawn)


def _by_type(mentions: Iterable[Mapping[str, Any]], by: str) -> dict[str, list[str]]:
    """Each type with its mentions, each once; what has no definition is left out by definition."""
    known: dict[str, list[str]] = {}
    for one in mentions:
        kind = one.get(by)
        if isinstance(kind, str) and kind.strip():
            names = known.setdefault(" ".join(kind.split()), [])
            if one["text"] not in names:
                names.append(one["text"])
    return known


def _questions_of(value: Json, field: str) -> Iterator[tuple[str, list[str]]]:
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for one in listed:
        said = one if isinstance(one, Mapping) else {}
        kind, names = said.get("type"), said.get("mentions")
        if not (isinstance(kind, str) and isinstance(names, Sequence)) or isinstance(names, str):
            raise RowError(f"{field} must be a list of {{type, mentions}}, got {one!r:.80}")
        yield kind, [str(name) for name in names]


def _written(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()
