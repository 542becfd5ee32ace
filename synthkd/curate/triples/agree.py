"""`triples.agree`: triples that enough teachers, or enough of all replies, have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from synthkd.config import Share
from synthkd.curate.triples.held import Held, held, kept, lost
from synthkd.errors import RowError
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step

ROUNDING = 1e-9
"""A share of replies is a quotient of small integers; nothing goes for its last bit."""


class AgreeSettings(StepSettings):
    """Settings of `triples.agree`."""

    triples: str = "triples"
    """The field with the triples, as `triples` gives them."""
    keep_at_least: int = Field(default=2, ge=1)
    """How many different teachers must have said it."""
    support: Share = 0.0
    """The least share of all replies that must have said it."""
    keep_empty: bool = False
    """Whether a row stays of which no triple is left."""


@step("triples.agree", needs=lambda config: [config.triples])
async def agree(row: Row, kit: Kit, config: AgreeSettings, /) -> AsyncIterator[Row]:
    """Takes out triples that too few teachers or replies have.

    Discards `few_teachers`, `little_support`; rejects `no_triples`.
    """
    triples = held(row, config.triples)
    agreed: list[Json] = []
    for one in triples:
        if _teachers(one, config.triples) < config.keep_at_least:
            lost(kit, "few_teachers", one.triple)
        elif _support(one, config.triples) < config.support - ROUNDING:
            lost(kit, "little_support", one.triple)
        else:
            agreed.append(one.as_json())
    yield kept(row, config.triples, agreed, before=len(triples), keep_empty=config.keep_empty)


def _teachers(one: Held, field: str) -> int:
    teachers = one.more.get("teachers")
    if isinstance(teachers, str) or not isinstance(teachers, list | tuple):
        raise RowError(f"{field}: a triple must say which `teachers` have it, got {teachers!r:.80}")
    return len({str(teacher) for teacher in teachers})


def _support(one: Held, field: str) -> float:
    support = one.more.get("support", 1.0)
    if isinstance(support, bool) or not isinstance(support, int | float):
        raise RowError(f"{field}: support must be a number from 0 to 1, got {support!r:.80}")
    return support
