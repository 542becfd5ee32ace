"""`label`: one label out of a fixed list, from one teacher or several, with confidence and reason.

All answers stay in one row, so that later steps can weigh the teachers against each other:

    answers: [{teacher, sample, text, label, confidence, key}]
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from synthkd.answers import before, named_choices
from synthkd.errors import MissingField, TeacherError
from synthkd.recipes.asking import Asked, AskingSettings, ask_panel
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.recipes.votes import clusters
from synthkd.rows import Json, Row, clean
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import equivalent

DEFAULT_STOP_AT = ("\n\nMessage:", "\nMessage:", "\nText:", "\n\nQ:")
"""How the next item begins where a model that does not stop invents one."""


class LabelSettings(AskingSettings):
    """Settings of `label`."""

    labels: list[str] | str
    """The labels; or the name of the field that holds the row's own list."""
    prompt: str = "label/classify"
    """The prompt; the shipped one reads the field `text` and asks for JSON with a confidence."""
    reason: bool = False
    """Whether to ask for a short reason, and to keep the winning answer's one as `reason`."""
    stop_at: tuple[str, ...] = DEFAULT_STOP_AT
    """Markers of an invented next item; the first one that occurs ends the reply."""
    into: str = "label"
    """The field for the label."""

    @model_validator(mode="after")
    def _labels_that_differ(self) -> LabelSettings:
        if isinstance(self.labels, list):
            if len(self.labels) < 2:
                raise ValueError("labels must name at least two labels")
            if len({equivalent(label) for label in self.labels}) != len(self.labels):
                raise ValueError("labels must differ in more than case, spaces and underscores")
        return self


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
    asked = await ask_panel(
        kit,
        config.prompt,
        inputs,
        teachers=config.asked,
        samples=config.samples,
        until=config.until,
        answer_of=lambda reply: _said(reply, labels, config).label,
    )
    said = [_said(one.reply, labels, config) for one in asked]
    losses = [one.loss for one in said if one.loss is not None]
    if len(losses) == len(said):
        give_up([one.reply for one in asked], losses)
    discard_all(kit, losses)
    votes = [said[place] for place in clusters([one.label for one in said])[0].places]
    agreement = len(votes) / len(said)
    claims = [one.confidence for one in votes if one.confidence is not None]
    fields: dict[str, Json] = {
        config.into: votes[0].label,
        "agreement": agreement,
        "confidence": math.fsum(claims) / len(claims) if claims else agreement,
        "answers": [_answer(one, what) for one, what in zip(asked, said, strict=True)],
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


def _answer(asked: Asked, said: Said) -> Json:
    reply = asked.reply
    text, key = (reply.text, reply.key) if isinstance(reply, Completion) else (None, None)
    return {
        "teacher": asked.teacher,
        "sample": asked.sample,
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
