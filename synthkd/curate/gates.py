"""Gates: a row passes or is rejected, with the value and the threshold that decided."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import NonNegativeInt, model_validator

from synthkd.config import Share
from synthkd.errors import MissingField, Rejected, RowError
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import same_answer

ROUNDING = 1e-9
"""A share of votes is a quotient of small integers; it is not rejected for its last bit."""


class LengthConfig(StepSettings):
    """How long a text must be. A limit that is not set does not limit."""

    field: str
    min_chars: NonNegativeInt | None = None
    """Characters as Python counts them: Unicode code points, without white space at the ends."""
    max_chars: NonNegativeInt | None = None
    min_words: NonNegativeInt | None = None
    """Words are what white space separates."""
    max_words: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _limits(self) -> LengthConfig:
        ranges = {
            "chars": (self.min_chars, self.max_chars),
            "words": (self.min_words, self.max_words),
        }
        if all(limit is None for pair in ranges.values() for limit in pair):
            raise ValueError("must set at least one of min_chars, max_chars, min_words, max_words")
        for unit, (least, most) in ranges.items():
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{unit} {least} must not be above max_{unit} {most}")
        return self


@step("gate.length", needs=lambda config: [config.field])
async def length(row: Row, kit: Kit, config: LengthConfig, /) -> AsyncIterator[Row]:
    """Rejects texts that are `too_short` or `too_long`, in characters or words."""
    text = _value(row, config.field)
    if not isinstance(text, str):
        raise RowError(f"{config.field} must be text, got {text!r:.80}")
    measured = (
        ("chars", len(text.strip()), config.min_chars, config.max_chars),
        ("words", len(text.split()), config.min_words, config.max_words),
    )
    for unit, found, least, most in measured:
        if least is not None and found < least:
            raise Rejected("too_short", f"{config.field} has {found} {unit}, min_{unit} is {least}")
        if most is not None and found > most:
            raise Rejected("too_long", f"{config.field} has {found} {unit}, max_{unit} is {most}")
    yield row


class GoldConfig(StepSettings):
    """An answer and the field that holds the right one."""

    field: str
    gold: str
    """The field with the right answer."""


@step("gate.gold", needs=lambda config: [config.field, config.gold])
async def gold(row: Row, kit: Kit, config: GoldConfig, /) -> AsyncIterator[Row]:
    """Rejects a `wrong_answer`: one that is not equal to gold.

    As everywhere, case, spaces against underscores, outer punctuation and the spelling of a number
    make no difference, so "$4.00" is 4. Lists, objects and null are compared as JSON.
    """
    answer, right = _value(row, config.field), _value(row, config.gold)
    if not same_answer(answer, right):
        raise Rejected(
            "wrong_answer", f"{config.field} is {answer!r:.200}, {config.gold} is {right!r:.200}"
        )
    yield row


class VotesConfig(StepSettings):
    """How many of the answers must agree."""

    field: str = "agreement"
    """The field with a share from 0 to 1, as `aggregate`, `label` and `rationale` give it."""
    at_least: Share
    """0.6 keeps a row on which 3 of 5 agree."""


@step("gate.votes", needs=lambda config: [config.field])
async def votes(row: Row, kit: Kit, config: VotesConfig, /) -> AsyncIterator[Row]:
    """Rejects rows on which too small a share of the answers agrees (`few_votes`)."""
    share = _value(row, config.field)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise RowError(f"{config.field} must be a number from 0 to 1, got {share!r:.80}")
    if share < config.at_least - ROUNDING:
        raise Rejected("few_votes", f"{config.field} is {share:.4g}, at_least is {config.at_least}")
    yield row


def _value(row: Row, field: str) -> Json:
    if field not in row.fields:
        raise MissingField(
            f"the row has no field {field!r}; it has {', '.join(sorted(row.fields))}"
        )
    return row.fields[field]
