"""`gate.answer`, `gate.gold`, `gate.votes`: is there an answer, is it right, do answers agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from synthkd.answers import AnswerSettings, choices_of, gold_of, read, same
from synthkd.config import Share
from synthkd.curate.fields import text_of, value_of
from synthkd.errors import Rejected, RowError
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import same_answer

ROUNDING = 1e-9
"""A share of votes is a quotient of small integers; it is not rejected for its last bit."""


class AnswerConfig(StepSettings):
    """A reply, and what its answer looks like."""

    field: str = "output"
    """The field with the reply."""
    answer: AnswerSettings = AnswerSettings()
    """How the answer is found, and its type."""
    into: str = "answer"
    """The field for the answer."""


def _reads(config: AnswerConfig) -> Iterable[str]:
    return [name for name in (config.field, config.answer.choices) if name is not None]


@step("gate.answer", needs=_reads, gives=lambda config: [config.into])
async def answer(row: Row, kit: Kit, config: AnswerConfig, /) -> AsyncIterator[Row]:
    """Gives the answer that stands in a reply, in the spelling of its type.

    Rejects a reply without one, by how it was read: `no_cue`, `several_cues`, `several_answers`,
    `bad_label`.
    """
    choices = choices_of(row.fields, config.answer)
    found = read(text_of(row, config.field), config.answer, choices=choices)
    if found.answer is None:
        raise Rejected(found.status, found.detail)
    yield row.with_fields(**{config.into: found.answer})


class GoldConfig(StepSettings):
    """An answer and the field that holds the right one."""

    field: str
    """The field with the answer."""
    gold: str
    """The field with the right answer."""
    answer: AnswerSettings | None = None
    """The type of both, such as `{type: number}`; by default they are texts or JSON."""


def _needs(config: GoldConfig) -> Iterable[str]:
    choices = None if config.answer is None else config.answer.choices
    return [name for name in (config.field, config.gold, choices) if name is not None]


@step("gate.gold", needs=_needs)
async def gold(row: Row, kit: Kit, config: GoldConfig, /) -> AsyncIterator[Row]:
    """Rejects a `wrong_answer`: one that is not equal to gold.

    As everywhere, case, spaces against underscores, outer punctuation and the spelling of a number
    make no difference, so "$4.00" is 4. Lists, objects and null are compared as JSON.

    With `answer`, what its type calls the same is equal, and gold that is no answer of the type is
    `bad_gold`.
    """
    given, right = value_of(row, config.field), value_of(row, config.gold)
    if config.answer is None:
        equal = same_answer(given, right)
    else:
        choices = choices_of(row.fields, config.answer)
        if gold_of(row.fields, config.gold, config.answer, choices) is None:
            raise Rejected("bad_gold", f"{config.gold} is null")
        equal = same(given, right, config.answer, choices)
    if not equal:
        raise Rejected(
            "wrong_answer", f"{config.field} is {given!r:.200}, {config.gold} is {right!r:.200}"
        )
    yield row


class VotesConfig(StepSettings):
    """How many of the answers must agree."""

    field: str = "agreement"
    """The field with a share from 0 to 1, as `aggregate`, `label` and `rationale` give it."""
    keep_at_least: Share
    """0.6 keeps a row on which 3 of 5 agree."""


@step("gate.votes", needs=lambda config: [config.field])
async def votes(row: Row, kit: Kit, config: VotesConfig, /) -> AsyncIterator[Row]:
    """Rejects rows on which too small a share of the answers agrees (`few_votes`)."""
    share = value_of(row, config.field)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise RowError(f"{config.field} must be a number from 0 to 1, got {share!r:.80}")
    least = config.keep_at_least
    if share < least - ROUNDING:
        raise Rejected("few_votes", f"{config.field} is {share:.4g}, keep_at_least is {least}")
    yield row
