"""`label`: one label out of a fixed list, from one teacher or several, with confidence and reason.

All answers stay in one row, so that later steps can weigh the teachers against each other:

    answers: [{teacher, sample, text, label, confidence, key}]
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from synthkd.config import Samples
from synthkd.errors import MissingField, TeacherError
from synthkd.recipes.answers import before, named_choices
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.rows import Json, Row, clean
from synthkd.steps import Kit, StepSettings, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import equivalent

DEFAULT_STOP_AT = ("\n\nMessage:", "\nMessage:", "\nText:", "\n\nQ:")
"""How the next item begins where a model that does not stop invents one."""


class LabelSettings(StepSettings):
    """Settings of `label`."""

    teacher: str | None = None
    """The teacher to ask; or `teachers`."""
    teachers: list[str] | None = None
    """The teachers to ask, all of them about every row; the first wins a tie."""
    labels: list[str] | str
    """The labels; or the name of the field that holds the row's own list."""
    prompt: str = "label/classify"
    """The prompt; the shipped one reads the field `text` and asks for JSON with a confidence."""
    samples: Samples = 1
    """Answers per teacher. 3 is the least that can outvote one slip."""
    reason: bool = False
    """Whether to ask for a short reason, and to keep the winning answer's one as `reason`."""
    stop_at: tuple[str, ...] = DEFAULT_STOP_AT
    """Markers of an invented next item; the first one that occurs ends the reply."""
    into: str = "label"
    """The field for the label."""

    @model_validator(mode="after")
    def _somebody_to_ask(self) -> LabelSettings:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("must have exactly one of teacher, teachers")
        if self.teachers and len(set(self.teachers)) != len(self.teachers):
            raise ValueError("teachers must name each teacher once; `samples` asks one repeatedly")
        if isinstance(self.labels, list):
            if len(self.labels) < 2:
                raise ValueError("labels must name at least two labels")
            if len({equivalent(label) for label in self.labels}) != len(self.labels):
                raise ValueError("labels must differ in more than case, spaces and underscores")
        return self

    @property
    def asked(self) -> list[str]:
        """The teachers, however they were given."""
        return self.teachers or [self.teacher or ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one reply says."""

    label: str | None = None
    """One of the labels, spelled as in the list; None = there is a loss."""
    confidence: float | None = None
    """What the teacher claims, 0 to 1; None = it claims nothing that makes sense."""
    reason: str | None = None
    loss: Loss | None = None


def _needs(config: LabelSettings) -> Iterable[str]:
    return [config.labels] if isinstance(config.labels, str) else []


def _gives(config: LabelSettings) -> Iterable[str]:
    return [config.into, "agreement", "confidence", "answers", *(["reason"] * config.reason)]


@step("label", needs=_needs, gives=_gives, supplies=("labels", "reason"))
async def label(row: Row, kit: Kit, config: LabelSettings, /) -> AsyncIterator[Row]:
    """Ask for one of the labels; keep the one that most answers give.

    Gives the label (`into`), `agreement` (the share of all answers asked for that give it),
    `confidence` (the mean of what those answers claim, or `agreement` where none claims anything),
    all `answers`, and `reason` if asked for. An answer without a label stays among the answers
    with a null label. Rejects `refused`, `empty_answer`, `several_answers`, `bad_label`.
    """
    labels = _labels(row, config)
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, labels=labels, reason=config.reason)
    replies = await kit.ask_many(
        config.prompt, inputs, teachers=config.asked, samples=config.samples
    )
    said = [_said(reply, labels, config) for reply in replies]
    losses = [one.loss for one in said if one.loss is not None]
    if len(losses) == len(said):
        give_up(replies, losses)
    discard_all(kit, losses)
    # most_common keeps the order of first appearance among equals: the earliest answer wins a tie.
    winner, count = Counter(one.label for one in said if one.label is not None).most_common(1)[0]
    votes = [one for one in said if one.label == winner]
    agreement = count / len(said)
    claims = [one.confidence for one in votes if one.confidence is not None]
    fields: dict[str, Json] = {
        config.into: winner,
        "agreement": agreement,
        "confidence": math.fsum(claims) / len(claims) if claims else agreement,
        "answers": [
            _answer(config.asked[place // config.samples], place % config.samples, *pair)
            for place, pair in enumerate(zip(replies, said, strict=True))
        ],
    }
    if config.reason:
        fields["reason"] = next((one.reason for one in votes if one.reason), None)
    yield row.with_fields(**fields)


def read_label(text: str, labels: Sequence[str], stop_at: Iterable[str] = ()) -> Said:
    """The label in a reply: a JSON object with `label`, `confidence`, `reason`, or plain text.

    Plain text must name exactly one of the labels; case, and spaces against underscores, make no
    difference.
    """
    text = before(text, stop_at).strip()
    told = _json_object(text)
    stated = told.get("label")
    words = str(stated) if isinstance(stated, str | int) else text
    exact = {label for label in labels if equivalent(label) == equivalent(words)}
    named = list(exact) or named_choices(words, labels)
    if len(named) != 1:
        return Said(loss=Loss("several_answers" if named else "bad_label", text[:200]))
    reason = told.get("reason")
    return Said(
        label=named[0],
        confidence=_confidence(told.get("confidence")),
        reason=str(clean(reason, {})) if isinstance(reason, str) else None,
    )


def _labels(row: Row, config: LabelSettings) -> list[str]:
    if not isinstance(config.labels, str):
        return config.labels
    value = row.fields.get(config.labels)
    if not isinstance(value, list | tuple) or not value:
        raise MissingField(
            f"the field {config.labels!r} must hold a list of labels, got {value!r:.80}"
        )
    return [str(label) for label in value]


def _said(reply: Completion | TeacherError, labels: list[str], config: LabelSettings) -> Said:
    if isinstance(reply, Completion) and loss_of(reply) is None:
        return read_label(reply.text, labels, config.stop_at)
    return Said(loss=loss_of(reply))


def _answer(teacher: str, sample: int, reply: Completion | TeacherError, said: Said) -> Json:
    text, key = (reply.text, reply.key) if isinstance(reply, Completion) else (None, None)
    return {
        "teacher": teacher,
        "sample": sample,
        "text": text,
        "label": said.label,
        "confidence": said.confidence,
        "key": key,
    }


def _json_object(text: str) -> dict[str, Any]:
    """The first JSON object in the text, whatever stands around it; empty where there is none."""
    start = text.find("{")
    if start < 0:
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):  # cut, no JSON, or nested beyond any sense
        return {}
    return value if isinstance(value, dict) else {}


def _confidence(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
