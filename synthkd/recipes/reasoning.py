"""Reasoning and an answer in one reply: how it is asked for and read into candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import model_validator

from synthkd.config import Count
from synthkd.errors import MissingField, TeacherError
from synthkd.kit import Kit
from synthkd.recipes.answers import DEFAULT_CUES, Reading, read_answer
from synthkd.recipes.asking import Asked, Until, ask_panel
from synthkd.recipes.pool import Candidate
from synthkd.recipes.replies import UNANSWERED, Loss, loss_of
from synthkd.rows import Row
from synthkd.steps import StepSettings, inputs_of
from synthkd.teachers.request import Completion

DEFAULT_STOP_AT = ("\n\nQ:", "\nQ:", "\nQuestion:", "\nPremise:")
"""How the next example begins in the usual few-shot prompts, so that a run-on model writes it."""
SUPPLIES = ("choices", "labels")
STATUS: Mapping[str, str] = {
    "no_answer": "no_cue",
    "several_answers": "several_cues",
    UNANSWERED: "failed",
}
"""Reason of a loss -> status of a candidate, where they differ."""


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
    cue: tuple[str, ...] = DEFAULT_CUES
    """What the answer stands behind; capitalisation makes no difference."""
    stop_at: tuple[str, ...] = DEFAULT_STOP_AT
    """Markers of an invented next question; the first one that occurs ends the reply."""

    @model_validator(mode="after")
    def _one_list(self) -> ReasoningSettings:
        if self.choices is not None and self.labels is not None:
            raise ValueError("must have at most one of choices (a field), labels (a list)")
        if not any(self.cue):
            raise ValueError("cue must name at least one text that stands before the answer")
        return self


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
    choices = choices_of(row, config)
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
        answer_of=answer_of,
    )
    return [heard(one, choices, config) for one in asked]


def choices_of(row: Row, config: ReasoningSettings) -> list[str] | None:
    """What the answer is one of; None = any text.

    Raises:
        MissingField: the field that should list it does not.
    """
    if config.choices is None:
        return config.labels
    value = row.fields.get(config.choices)
    if not isinstance(value, list | tuple) or not value:
        raise MissingField(
            f"the field {config.choices!r} must hold a list of choices, got {value!r:.80}"
        )
    return [str(choice) for choice in value]


def heard(asked: Asked, choices: Sequence[str] | None, config: ReasoningSettings) -> Heard:
    """One reply as a candidate."""
    teacher, sample, reply = asked
    loss = loss_of(reply)
    reading = Reading(answer=None)
    if isinstance(reply, Completion) and loss is None:
        reading = read_answer(
            reply.text,
            choices=choices,
            cues=config.cue,
            stop_at=config.stop_at,
            cut_short=reply.finish == "length",
        )
        if reading.answer is None:
            loss = Loss(reading.fault or "no_answer", reading.detail)
    came = reply if isinstance(reply, Completion) else None
    candidate = Candidate(
        teacher=teacher,
        sample=sample,
        text=came and came.text,
        thought=came and came.reasoning,
        rationale=reading.rationale,
        answer=reading.answer,
        status="ok" if loss is None else STATUS.get(loss.reason, loss.reason),
        finish=came and came.finish,
        logprob=came and _logprob(came),
        key=came and (came.key or None),
    )
    return Heard(candidate, loss, reply)


def _logprob(reply: Completion) -> float | None:
    """The mean over the reply's tokens; None where the teacher does not say, or says nonsense."""
    told = [token.logprob for token in reply.logprobs]
    mean = math.fsum(told) / len(told) if told else math.nan
    return mean if math.isfinite(mean) else None
