r"""What a row teaches a student that writes text, and how its answer is read.

    for exchange in exchanges(config, row): ...
    asked = question(config, "Where is my card?")
    answer = answer_in(config, "A card can be traced.\nThe answer is card_arrival")

target          the student sees        it learns to write
completion      prompt                  completion
rationale_first prompt                  rationale, a new line, cue, completion
two_task        predict: prompt         completion
                explain: prompt         rationale
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synthkd.config import DpoConfig, TaskConfig
from synthkd.errors import NothingToLearn
from synthkd.rows import Json, Row

PREDICT, EXPLAIN = "predict: ", "explain: "
"""The prefixes of Distilling Step-by-Step (arXiv 2305.02301, section 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One thing to learn: a prompt and what is to be written after it."""

    prompt: str
    completion: str
    explains: bool = False
    """Whether it is the rationale task of `two_task`."""


def text_of(row: Row, field: str) -> str:
    """The text that a row has in a field.

    Raises:
        NothingToLearn: it has none.
    """
    return text_in(row.id, row.fields.get(field), field)


def text_in(row_id: str, value: Json, field: str) -> str:
    """The value, if it is text.

    Raises:
        NothingToLearn: it is not.
    """
    if not isinstance(value, str):
        raise NothingToLearn(
            f"student: row {row_id} has no text in {field!r}, got {value!r:.80}: a student learns"
            " from text; choose another field, or reject such rows by a step"
        )
    return value


def exchanges(config: TaskConfig, row: Row) -> Iterator[Exchange]:
    """What the row teaches: one exchange, or two of `two_task`.

    Raises:
        NothingToLearn: a value is no text.
    """
    assert config.prompt is not None  # noqa: S101  the caller has no `messages`
    assert config.completion is not None  # noqa: S101
    prompt, completion = text_of(row, config.prompt), text_of(row, config.completion)
    rationale = None if config.rationale is None else text_of(row, config.rationale)
    yield from taught(config.target, prompt, completion, rationale, config.cue)


def taught(
    target: str, prompt: str, completion: str, rationale: str | None, cue: str
) -> Iterator[Exchange]:
    """What texts teach by a target; without a rationale, the completion."""
    if rationale is None:
        yield Exchange(prompt=prompt, completion=completion)
    elif target == "rationale_first":
        yield Exchange(prompt=prompt, completion=in_one(rationale, cue, completion))
    else:
        yield Exchange(prompt=PREDICT + prompt, completion=completion)
        yield Exchange(prompt=EXPLAIN + prompt, completion=rationale, explains=True)


def in_one(rationale: str, cue: str, answer: str) -> str:
    """Rationale and answer in one sequence, as `rationale_first` has them."""
    return f"{rationale}\n{cue} {answer}"


def question(config: TaskConfig | DpoConfig, text: str) -> str:
    """What a trained student is asked with for a text."""
    two = isinstance(config, TaskConfig) and config.target == "two_task"
    return PREDICT + text if two else text


def answer_in(config: TaskConfig | DpoConfig, written: str) -> str | None:
    """The answer in what a student wrote; None = it never came to the cue."""
    if isinstance(config, DpoConfig) or config.target != "rationale_first":
        return written.strip()
    _, cue, answer = written.rpartition(config.cue)
    return answer.strip() or None if cue else None
