"""Where evidence stands in a document, and whether what stands there says the value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from synthkd.graphs.ground import Place, stands_in
from synthkd.graphs.spotting import occurrences
from synthkd.records.dates import dates_in
from synthkd.records.money import amounts_in
from synthkd.records.reading import LONGEST_EVIDENCE, Leaf
from synthkd.records.schema import RecordField
from synthkd.records.units import quantities_in
from synthkd.rows import Json, canonical

MOST_PLACES = 50
"""Of one quote in one document: so many are looked at for the value."""


def grounded(leaf: Leaf, field: RecordField, text: str) -> Leaf:
    """The leaf with the place of its evidence, or lost.

    Args:
        leaf: of a value; others stay as they are.
        field: its field.
        text: the document.

    Returns:
        With `span` in code points of the text; or `lost` for `no_evidence`, `not_in_text` (the
        quote stands nowhere), or `evidence_lacks_value` (it stands there and does not say it).
    """
    if leaf.state != "value" or leaf.value == []:
        return leaf
    if leaf.evidence is None or not leaf.evidence.strip():
        return _lost(leaf, "no_evidence", f"{leaf.value!r:.80} comes without a quote")
    found = occurrences(leaf.evidence, text)[:MOST_PLACES]
    if not found:
        return _lost(leaf, "not_in_text", leaf.evidence)
    place = next((one for one in found if _says(leaf.value, field, text, one)), None)
    if place is None:
        said = text[found[0].start : found[0].end]
        return _lost(leaf, "evidence_lacks_value", f"{leaf.value!r:.80} in {said!r:.100}")
    span: dict[str, Json] = {"start": place.start, "end": place.end, "how": place.how}
    return replace(leaf, span=span)


def says(value: Json, field: RecordField, passage: str) -> bool:
    """Whether a passage has the value of the field, in any way that it may be written.

    Of a number, a date or an amount one of those in the passage must be it; of a text and a choice
    the words must stand there. True where it cannot be looked for: see `RecordField.literal`.
    """
    if not field.is_literal:
        return True
    passage = passage[:LONGEST_EVIDENCE]
    if field.type == "date":
        return any(value in ways for ways in dates_in(passage, field.order))
    if field.type == "money" and isinstance(value, dict):
        return value.get("amount") in amounts_in(passage)
    if field.type == "number":
        return _is_among(value, quantities_in(passage, field.unit, field.decimal))
    if field.type == "enum":
        names = [said for said, choice in field.spellings.items() if choice == value]
        return any(stands_in(name, passage) for name in names)
    return stands_in(str(value), passage)


def _says(value: Json, field: RecordField, text: str, place: Place) -> bool:
    return says(value, field, text[place.start : place.end])


def _is_among(value: Json, values: Iterable[Json]) -> bool:
    return canonical(value) in map(canonical, values)


def _lost(leaf: Leaf, reason: str, detail: str) -> Leaf:
    return replace(leaf, state="lost", value=None, reason=reason, detail=detail[:200])
