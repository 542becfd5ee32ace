"""`triples.ground`: whether head and tail of a triple stand in the row's text.

What a model knows and what it read look the same in its answer. A name that does not stand in the
text was not read there: the triple may be true, but the text is no evidence of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from pydantic import Field

from synthkd.curate.fields import text_of
from synthkd.curate.triples.held import held, kept, lost
from synthkd.graphs.ground import Place, find
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step


class GroundSettings(StepSettings):
    """Settings of `triples.ground`."""

    triples: str = "triples"
    """The field with the triples."""
    text: str = "text"
    """The field with the text that they must stand in."""
    near: float | None = Field(default=None, ge=0.5, le=1)
    """The least similarity of a name that is nearly in the text; null = other spellings alone.
    Off by default: on Text2KGBench 0.85 brought one right triple among nine."""
    keep_empty: bool = False
    """Whether a row stays of which no triple is left."""


@step("triples.ground", needs=lambda config: [config.triples, config.text])
async def ground(row: Row, kit: Kit, config: GroundSettings, /) -> AsyncIterator[Row]:
    """Takes out triples whose head or tail the text does not have; says where the others stand.

    Each triple that stays has `evidence: {head: {start, end, how}, tail: {...}}`, in characters of
    the text. Discards `head_not_in_text`, `tail_not_in_text`; rejects `no_triples`.
    """
    text = text_of(row, config.text)
    triples = held(row, config.triples)
    found: list[Json] = []
    for one in triples:
        head = find(one.triple.head, text, near=config.near)
        tail = find(one.triple.tail, text, near=config.near)
        if head is None or tail is None:
            lost(kit, "head_not_in_text" if head is None else "tail_not_in_text", one.triple)
        else:
            known = one.more.get("evidence")
            more = known if isinstance(known, Mapping) else {}
            evidence: Json = {**more, "head": _place(head), "tail": _place(tail)}
            found.append(one.as_json(evidence=evidence))
    yield kept(row, config.triples, found, before=len(triples), keep_empty=config.keep_empty)


def _place(place: Place) -> Json:
    return {"start": place.start, "end": place.end, "how": place.how}
