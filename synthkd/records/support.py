"""Where evidence stands in a document, and whether what stands there says the value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from synthkd.graphs.ground import Place, stands_in
from synthkd.graphs.spotting import occurrences
from synthkd.records.dates import dates_in
from synthkd.records.money import amounts_in, currencies_in
from synthkd.records.reading import LONGEST_EVIDENCE, Leaf
from synthkd.records.schema import RecordField
from synthkd.records.units import quantities_in
from synthkd.rows import Json, canonical

MOST_PLACES = 50
"""Of one quote in one document: so many are looked at for the value."""


def grounded(leaf: Leaf, field: RecordField, text: str, *, repair: bool = False) -> Leaf:
    """The leaf with the place of its evidence, or lost.

    Args:
        leaf: of a value; others stay as they are.
        field: its field.
        text: the document.
        repair: whether a value whose quote stands nowhere is looked for itself: where one line of
            the document alone says it, that line is its evidence.

    Returns:
        With `span` in code points of the text; or `lost` for `no_evidence`, `not_in_text` (the
        quote stands nowhere), or `evidence_lacks_value` (it stands there and does not say it).
    """
    if leaf.state != "value" or leaf.value == []:
        return leaf
    quote = (leaf.evidence or "").strip()
    found = occurrences(quote, text)[:MOST_PLACES]
    if not found and repair and field.is_literal:
        found = _lines_that_say(leaf.value, field, text)
    if not found:
        detail = quote or f"{leaf.value!r:.80} comes without a quote"
        return _lost(leaf, "not_in_text" if quote else "no_evidence", detail)
    place = next((one for one in found if _says(leaf.value, field, text, one)), None)
    if place is None:
        said = text[found[0].start : found[0].end]
        return _lost(leaf, "evidence_lacks_value", f"{leaf.value!r:.80} in {said!r:.100}")
    span: dict[str, Json] = {"start": place.start, "end": place.end, "how": place.how}
    return replace(leaf, span=span)


def says(value: Json, field: RecordField, passage: str) -> bool:
    """Whether a passage has the value of the field, in any way that it may be written.

    Of a number, a date or an amount one of those in the passage must be it, and an amount may have
    no other currency than the passage names; of a text and a choice the words must stand there.
    True where it cannot be looked for: see `RecordField.literal`.
    """
    if not field.is_literal:
        return True
    passage = passage[:LONGEST_EVIDENCE]
    if field.type == "date":
        return any(value in ways for ways in dates_in(passage, field.order))
    if field.type == "money" and isinstance(value, dict):
        return value.get("amount") in amounts_in(passage) and _may_be(value, passage)
    if field.type == "number":
        return _is_among(value, quantities_in(passage, field.unit, field.decimal))
    if field.type == "enum":
        names = [said for said, choice in field.spellings.items() if choice == value]
        return any(stands_in(name, passage) for name in names)
    return stands_in(str(value), passage)


def _may_be(money: Mapping[str, Json], passage: str) -> bool:
    """Whether the passage names the amount's currency, or none: that stands in the table's head."""
    named = currencies_in(passage)
    return money.get("currency") in named or not named


def _lines_that_say(value: Json, field: RecordField, text: str) -> list[Place]:
    """The one line that says the value; none where several do, or no line."""
    found: list[Place] = []
    at = 0
    for line in text.splitlines(keepends=True):
        if says(value, field, line):
            start = at + len(line) - len(line.lstrip())
            found.append(Place(start=start, end=at + len(line.rstrip()), how="value"))
        at += len(line)
    return found if len(found) == 1 else []


def _says(value: Json, field: RecordField, text: str, place: Place) -> bool:
    return says(value, field, text[place.start : place.end])


def _is_among(value: Json, values: Iterable[Json]) -> bool:
    return canonical(value) in map(canonical, values)


def _lost(leaf: Leaf, reason: str, detail: str) -> Leaf:
    return replace(leaf, state="lost", value=None, reason=reason, detail=detail[:200])
