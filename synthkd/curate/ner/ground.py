"""`ner.ground`: where the mentions of a row stand in its text.

    mentions: [{text: Ada, type: person}]
    ->  mentions: [{text: Ada, type: person, start: 0, end: 3, how: exact}, ...], one a place
        spans: [{start: 0, end: 3, label: person}, ...], as the encoder student learns them

A mention that the text does not have was invented, and goes. Offsets that a mention brings along
are not believed: models count badly, so the places are looked for anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from synthkd.curate.fields import text_of, value_of
from synthkd.errors import Rejected, RowError
from synthkd.graphs.spotting import apart, occurrences
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step


class GroundSettings(StepSettings):
    """Settings of `ner.ground`."""

    mentions: str = "mentions"
    """The field with the mentions, as `ner` gives them; also replaced."""
    text: str = "text"
    """The field with the text that they must stand in."""
    spans: str = "spans"
    """The field for the spans."""
    every: bool = True
    """Whether each place of a mention counts, or the first alone."""
    exact: bool = False
    """Whether another spelling ("LONDON" for "London") counts as none."""
    overlaps: Literal["longest", "all"] = "longest"
    """Of mentions that overlap the longest stays, of equally long ones the one with more support,
    then the first; or all do."""
    keep_empty: bool = False
    """Whether a row stays that had mentions and of which none is left."""


@step(
    "ner.ground",
    needs=lambda config: [config.mentions, config.text],
    gives=lambda config: [config.spans],
)
async def ground(row: Row, kit: Kit, config: GroundSettings, /) -> AsyncIterator[Row]:
    """Gives each mention its places in the text; takes out those that it does not have.

    Discards `not_in_text` and `overlap` (each of its places is within longer mentions); rejects
    `no_mentions`.
    """
    text = text_of(row, config.text)
    mentions = mentions_of(row, config.mentions)
    placed: dict[tuple[int, int, str], tuple[int, str]] = {}
    lost: set[int] = set()
    for at in sorted(range(len(mentions)), key=lambda at: -_support(mentions[at])):
        mention = mentions[at]
        found = occurrences(mention["text"], text, exact=config.exact)
        if not found:
            _lose(kit, "not_in_text", mention)
        for one in found if config.every else found[:1]:
            placed.setdefault((one.start, one.end, mention["type"]), (at, one.how))
    kept = list(placed)
    if config.overlaps == "longest":
        kept = [kept[n] for n in apart([(start, end) for start, end, _ in kept], len(text))]
        lost = {at for at, _ in placed.values()} - {placed[one][0] for one in kept}
    for at in sorted(lost):
        _lose(kit, "overlap", mentions[at])
    if mentions and not kept and not config.keep_empty:
        raise Rejected("no_mentions", f"none of the {len(mentions)} in {config.mentions} is left")
    kept.sort(key=lambda one: (one[0], -one[1]))
    grounded: list[Json] = []
    spans: list[Json] = []
    for start, end, kind in kept:
        at, how = placed[start, end, kind]
        said: dict[str, Json] = {"text": text[start:end], "start": start, "end": end, "how": how}
        grounded.append({**mentions[at], **said})
        spans.append({"start": start, "end": end, "label": kind})
    yield row.with_fields(**{config.mentions: grounded, config.spans: spans})


def _support(mention: Mapping[str, Any]) -> float:
    """The share of replies that have it, where that is known."""
    share = mention.get("support")
    return float(share) if isinstance(share, int | float) else 0.0


def _lose(kit: Kit, reason: str, mention: Mapping[str, Any]) -> None:
    kit.discard(reason, f"{mention['text']} | {mention['type']}"[:200])


def mentions_of(row: Row, field: str) -> list[dict[str, Any]]:
    """The mentions in a field of a row, each once.

    Raises:
        RowError: it holds no list of mentions; the message shows what it has.
    """
    value = value_of(row, field)
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise RowError(f"{field} must be a list of mentions, got {value!r:.80}")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in value:
        said = one if isinstance(one, Mapping) else {}
        name, kind = said.get("text"), said.get("type")
        if not (isinstance(name, str) and isinstance(kind, str) and name.strip() and kind.strip()):
            raise RowError(f"{field} must hold mentions ({{text, type}}), got {one!r:.80}")
        found.setdefault((name, kind), dict(said))
    return list(found.values())
