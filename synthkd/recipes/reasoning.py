"""Reasoning and an answer in one reply: how it is asked for and read into candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from pydantic import model_validator

from synthkd.answers import AnswerSettings, Reading, choices_of, read
from synthkd.config import Count
from synthkd.errors import TeacherError
from synthkd.kit import Kit
from synthkd.recipes.asking import Asked, Until, ask_panel
from synthkd.recipes.pool import FAILED, OK, Candidate
from synthkd.recipes.replies import UNANSWERED, Loss, loss_of
from synthkd.rows import Row
from synthkd.steps import StepSettings, inputs_of
from synthkd.teachers.request import Completion

SUPPLIES = ("choices", "labels")
OF_THE_ANSWER = ("choices", "labels", "cue", "stop_at")
"""Settings of the answer that may also stand beside `answer`."""


class ReasoningSettings(StepSettings):
    """What is asked, and how the answer is read."""

    prompt: str = "rationale/question"
    """The prompt; also shipped: rationale/choices, rationale/nli, rationale/classify."""
    longer: Count | None = None
    """Tokens: an answer that was cut is asked for again, once, with this `max_tokens`."""
    choices: str | None = None
    """The field with the row's list of choices, in the order of their letters (a), (b), ..."""
    labels: list[str] | None = None
    """The choices, where they are the same for all rows."""
    cue: tuple[str, ...] | None = None
    """What the answer stands behind; capitalisation makes no difference."""
    stop_at: tuple[str, ...] | None = None
    """Markers of an invented next question; the first one that occurs ends the reply."""
    answer: AnswerSettings = AnswerSettings()
    """Its type, and what counts as the same; by default a choice where there are choices, else a
    text. The four settings above may stand in here instead."""

    @model_validator(mode="after")
    def _said_once(self) -> ReasoningSettings:
        twice = sorted(self.answer.model_fields_set & {*self._beside()})
        if twice:
            raise ValueError(f"{', '.join(twice)} must stand beside answer or in it, not in both")
        _ = self.reads
        return self

    @cached_property
    def reads(self) -> AnswerSettings:
        """All that is said of the answer, wherever it stands."""
        said = self.answer.model_dump(exclude_unset=True)
        return AnswerSettings.model_validate(said | self._beside())

    def _beside(self) -> dict[str, object]:
        named = {name: getattr(self, name) for name in OF_THE_ANSWER}
        return {name: value for name, value in named.items() if value is not None}


class Heard(NamedTuple):
    """A reply as a candidate, and why it is none that counts."""

    candidate: Candidate
    loss: Loss | None
    reply: Completion | TeacherError


async def reasoned(
    row: Row,
    kit: Kit,
    config: ReasoningSettings,
    *,
    teachers: Sequence[str],
    samples: int,
    until: Until | None,
) -> list[Heard]:
    """All replies to a row, read.

    Raises:
        MissingField: the row has no choices.
    """
    choices = choices_of(row.fields, config.reads)
    listed = {} if choices is None else {"choices": choices, "labels": choices}
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, **listed)

    def answer_of(reply: Completion | TeacherError) -> str | None:
        return heard(Asked("", 0, reply), choices, config).candidate.answer

    asked = await ask_panel(
        kit,
        config.prompt,
        inputs,
        teachers=teachers,
        samples=samples,
        until=until,
        longer=config.longer,
        config=config.reads,
        choices=choices,
        answer_of=answer_of,
    )
    return [heard(one, choices, config) for one in asked]


def heard(asked: Asked, choices: Sequence[str] | None, config: ReasoningSettings) -> Heard:
    """One reply as a candidate."""
    reply = asked.reply
    loss = loss_of(reply)
    reading: Reading | None = None
    if isinstance(reply, Completion) and loss is None:
        cut_short = reply.finish == "length"
        reading = read(reply.text, config.reads, choices=choices, cut_short=cut_short)
        if reading.answer is None:
            loss = Loss(reading.status, reading.detail)
    candidate = unread(asked, loss)
    if reading is not None:
        candidate = replace(
            candidate,
            rationale=reading.rationale,
            answer=reading.answer,
            status=reading.status,
        )
    return Heard(candidate, loss, reply)


def unread(asked: Asked, loss: Loss | None) -> Candidate:
    """A reply as it stands in the pool before anything is read.

    Args:
        asked: the reply, and whose.
        loss: why nothing can be read from it.
    """
    teacher, sample, reply = asked
    status = OK if loss is None else loss.reason
    came = reply if isinstance(reply, Completion) else None
    return Candidate(
        teacher=teacher,
        sample=sample,
        text=came and came.text,
        thought=came and came.reasoning,
        status=FAILED if status == UNANSWERED else status,
        finish=came and came.finish,
        logprob=came and mean_logprob(came),
        key=came and (came.key or None),
    )


def mean_logprob(reply: Completion) -> float | None:
    """The mean over the reply's tokens; None where the teacher does not say, or says nonsense."""
    told = [token.logprob for token in reply.logprobs]
    mean = math.fsum(told) / len(told) if told else math.nan
    return mean if math.isfinite(mean) else None
