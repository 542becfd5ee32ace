"""`documents.questions`: questions that a document answers, and clean answers to them.

    document -> passages of whole sentences -> questions that each answers -> their answers, one by
    one -> what stands in the text and can be read without it

The two calls of MechGPT (arXiv 2310.10445), which asks for answers that stand alone and hopes for
the best: here each pair is held against its passage, and what points outside of it goes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import model_validator

from synthkd.kit import Kit
from synthkd.recipes.documents.pair import (
    DocumentSettings,
    Pair,
    Way,
    asked_wrongly,
    fault_of,
    told,
)
from synthkd.recipes.documents.reading import (
    ANSWER,
    QUESTIONS,
    Reading,
    borne_out,
    ended,
    gives,
    passage_replies,
    reading_of,
    usual_calls,
)
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, Row
from synthkd.steps import inputs_of, step
from synthkd.text import normalised

PROMPTS: Mapping[Way, str] = {"free": "documents/answer", "span": "documents/span"}


class _Asked(NamedTuple):
    passage: int
    question: str
    keys: tuple[str, ...]


class QuestionsSettings(DocumentSettings):
    """Settings of `documents.questions`."""

    prompt: str = "documents/questions"
    """Asks for questions; gets passage and count."""
    answer: Way = "free"
    """`span`: an answer is copied out of the passage; `free`: it is written, and most of its words,
    all its numbers and names must stand there."""
    answer_prompt: str = "documents/answer"
    """Asks for the answer; gets passage and question. For spans by default documents/span."""
    unanswered: str | None = None
    """The answer of a row whose question the passage does not answer, such as "The text does not
    say."; null = there is no such row. Only with `input: passage`."""

    @model_validator(mode="before")
    @classmethod
    def _prompt_of_the_way(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and raw.get("answer") == "span":
            return {"answer_prompt": PROMPTS["span"], **raw}
        return raw

    @model_validator(mode="after")
    def _somebody_sees_the_passage(self) -> QuestionsSettings:
        if self.unanswered is not None and self.input == "none":
            raise ValueError(
                "unanswered: without its passage no question is unanswerable: set `input: passage`"
            )
        return self

    @property
    def calls_a_row(self) -> int:
        """Questions about a usual document; for the forecast."""
        return usual_calls(self, 1 + self.count)


@step(
    "documents.questions",
    needs=lambda config: [config.text],
    gives=gives,
    supplies=("passage", "count", "question", "answer"),
    fans_out=True,
)
async def questions(row: Row, kit: Kit, config: QuestionsSettings, /) -> AsyncIterator[Row]:
    """Ask what a document answers, and for the answers; each pair that holds becomes a row.

    Gives `instruction`, `input`, `output`, `task`, `evidence` and `passage`. Discards
    `points_outside`, `not_of_the_document`, `repeated_question`, `unanswerable` and what
    `fault_of` and the judge find; rejects `no_text`, `no_questions`, and for the most frequent of
    those reasons a document that has no pair left.
    """
    reading = reading_of(row, kit, config)
    asked = await _asked(reading, config)
    answered = await _answered(reading, config, asked)
    pairs = [pair for pair in answered if not reading.lose(fault_of(pair, config))]
    kept = await borne_out(reading, config, pairs)
    ended(reading, kept, "no_questions")
    for pair in kept:
        yield row.with_fields(**told(pair, config)).with_made_by(*pair.keys)


async def _asked(reading: Reading, config: QuestionsSettings) -> list[_Asked]:
    """The questions that can be asked alone."""
    replies = await passage_replies(reading, config, config.prompt, QUESTIONS)
    found: list[_Asked] = []
    seen: set[str] = set()
    for number, reply in enumerate(replies):
        value, keys = reading.value(reply)
        for question in (value or {}).get("questions", ())[: config.count]:
            if normalised(question) in seen:
                reading.losses.append(Loss("repeated_question", question[:200]))
            elif not reading.lose(asked_wrongly(question, reading.document, config)):
                found.append(_Asked(number, question.strip(), keys))
            seen.add(normalised(question))
    reading.kit.count("questions", len(seen))
    return found


async def _answered(
    reading: Reading, config: QuestionsSettings, asked: Sequence[_Asked]
) -> list[Pair]:
    """The questions with their answers; those without one are lost, or have the settings' word."""
    if not asked:
        return []
    kit, names = reading.kit, reading.kit.prompts[config.answer_prompt].inputs
    inputs: list[dict[str, Json]] = []
    for number, question, _ in asked:
        start, end = reading.spans[number]
        text = reading.document[start:end]
        inputs.append(inputs_of(reading.row, names, passage=text, question=question))
    replies = await kit.ask_each(
        config.answer_prompt, inputs, teachers=[config.teacher], schema=ANSWER
    )
    pairs: list[Pair] = []
    for one, reply in zip(asked, replies, strict=True):
        value, keys = reading.value(reply)
        if value is None:
            continue
        answer: str | None = value["answer"]
        abstains = answer is None or not answer.strip()
        kit.count("unanswerable", int(abstains))
        said = config.unanswered if abstains else answer
        if said is None:
            reading.losses.append(Loss("unanswerable", one.question[:200]))
            continue
        pairs.append(
            Pair(
                instruction=one.question,
                answer=said.strip(),
                document=reading.document,
                passage=one.passage,
                span=reading.spans[one.passage],
                way=config.answer,
                keys=(*one.keys, *keys),
                abstains=abstains,
            )
        )
    return pairs
