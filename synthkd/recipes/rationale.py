"""`rationale`: reasoning and answer, several times, put to the vote.

Distilling Step-by-Step (arXiv 2305.02301) with self-consistency (arXiv 2203.11171): the student
learns from the teacher's reasoning as well as from its answer, and how many samples agree says how
sure the teacher is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable

from pydantic import model_validator

from synthkd.config import Count, Samples
from synthkd.errors import MissingField, Rejected
from synthkd.recipes.answers import DEFAULT_CUES, Reading, read_answer
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import equivalent, same_answer

DEFAULT_STOP_AT = ("\n\nQ:", "\nQ:", "\nQuestion:", "\nPremise:")
"""How the next example begins in the usual few-shot prompts, so that a run-on model writes it."""


class RationaleSettings(StepSettings):
    """Settings of `rationale`."""

    teacher: str
    """The teacher to ask."""
    prompt: str = "rationale/question"
    """The prompt; also shipped: rationale/choices, rationale/nli, rationale/classify."""
    samples: Samples = 1
    """Answers per row that vote. The paper uses 1; votes of 5 and more tell sure from unsure."""
    longer: Count | None = None
    """Tokens: an answer that was cut is asked for again, once, with this `max_tokens`."""
    gold: str | None = None
    """The field with the right answer; a row whose vote differs from it is rejected. A row where
    it is null is not checked."""
    choices: str | None = None
    """The field with the row's list of choices, in the order of their letters (a), (b), ..."""
    labels: list[str] | None = None
    """The choices, where they are the same for all rows."""
    cue: tuple[str, ...] = DEFAULT_CUES
    """What the answer stands behind; capitalisation makes no difference."""
    stop_at: tuple[str, ...] = DEFAULT_STOP_AT
    """Markers of an invented next question; the first one that occurs ends the reply."""

    @model_validator(mode="after")
    def _one_list(self) -> RationaleSettings:
        if self.choices is not None and self.labels is not None:
            raise ValueError("must have at most one of choices (a field), labels (a list)")
        if not any(self.cue):
            raise ValueError("cue must name at least one text that stands before the answer")
        return self


def _needs(config: RationaleSettings) -> Iterable[str]:
    return [name for name in (config.gold, config.choices) if name is not None]


@step(
    "rationale",
    needs=_needs,
    gives=("rationale", "answer", "agreement", "finish"),
    supplies=("choices", "labels"),
)
async def rationale(row: Row, kit: Kit, config: RationaleSettings, /) -> AsyncIterator[Row]:
    """Ask for reasoning and an answer; keep the answer that most samples give.

    Gives the `answer`, the `rationale` and `finish` of the first sample that gave it, and
    `agreement`, the share of all samples asked that gave it. Rejects `refused`, `empty_answer`,
    `truncated`, `no_answer`, `several_answers`, `bad_label`, `wrong_answer`.
    """
    choices = _choices(row, config)
    listed = {} if choices is None else {"choices": choices, "labels": choices}
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, **listed)
    replies = await kit.ask_many(
        config.prompt,
        inputs,
        teachers=[config.teacher],
        samples=config.samples,
        longer=config.longer,
    )
    votes: list[tuple[str, Reading, Completion]] = []
    losses: list[Loss] = []
    for reply in replies:
        if isinstance(reply, Completion) and loss_of(reply) is None:
            reading = _read(reply, choices, config)
            if reading.answer is not None:
                votes.append((equivalent(reading.answer), reading, reply))
            else:
                losses.append(Loss(reading.fault or "no_answer", reading.detail))
        elif loss := loss_of(reply):
            losses.append(loss)
    if not votes:
        give_up(replies, losses)
    # most_common keeps the order of first appearance among equals: the earliest sample wins a tie.
    winner, count = Counter(vote for vote, _, _ in votes).most_common(1)[0]
    reading, reply = next((reading, reply) for vote, reading, reply in votes if vote == winner)
    _check_gold(row, reading.answer or "", config.gold)
    discard_all(kit, losses)
    yield row.with_fields(
        rationale=reading.rationale,
        answer=reading.answer,
        agreement=count / len(replies),
        finish=reply.finish,
    )


def _choices(row: Row, config: RationaleSettings) -> list[str] | None:
    if config.choices is None:
        return config.labels
    value = row.fields.get(config.choices)
    if not isinstance(value, list | tuple) or not value:
        raise MissingField(
            f"the field {config.choices!r} must hold a list of choices, got {value!r:.80}"
        )
    return [str(choice) for choice in value]


def _read(reply: Completion, choices: list[str] | None, config: RationaleSettings) -> Reading:
    return read_answer(
        reply.text,
        choices=choices,
        cues=config.cue,
        stop_at=config.stop_at,
        cut_short=reply.finish == "length",
    )


def _check_gold(row: Row, answer: str, field: str | None) -> None:
    if field is None:
        return
    if field not in row.fields:
        raise MissingField(f"the row has no field {field!r}, which `gold` names")
    gold = row.fields[field]
    if gold is not None and not same_answer(answer, gold):
        raise Rejected("wrong_answer", f"answered {answer}, gold {gold}")
