"""`extract.ground`: whether the document says what a record says.

Each value's quote is looked for in the document; what stands there (not the quote, which may have
other digits) must have the value, where that can be looked for. Offsets that a teacher gives are
not believed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from synthkd.curate.extract.held import readings_of
from synthkd.curate.fields import text_of
from synthkd.recipes.extract import RecordSettings, readings_as_json
from synthkd.records.agreeing import agree
from synthkd.records.loading import load_schema
from synthkd.records.reading import Leaf
from synthkd.records.schema import leaf_fields
from synthkd.records.support import grounded
from synthkd.rows import Json, Row
from synthkd.steps import Kit, step


class GroundSettings(RecordSettings):
    """Settings of `extract.ground`."""

    text: str = "text"
    """The field with the document."""
    repair: bool = False
    """Whether a value whose quote stands nowhere is looked for itself: where one line alone says
    it, that line is its evidence (`how: value`). Off: what it brings was measured on a simulated
    teacher only."""


@step(
    "extract.ground",
    needs=lambda config: [config.readings, config.text],
    gives=lambda config: [config.into, config.readings],
)
async def ground(row: Row, kit: Kit, config: GroundSettings, /) -> AsyncIterator[Row]:
    """Takes the values out whose evidence the document does not have; says where the others stand.

    Discards `no_evidence`, `not_in_text`, `evidence_lacks_value`, and makes the record anew of what
    is left; a row whose record is empty stays, since that is an answer.
    """
    schema = load_schema(config.record, kit.desk.folder)
    text, fields = text_of(row, config.text), dict(leaf_fields(schema))

    def looked_up(leaf: Leaf) -> Leaf:
        if leaf.name not in fields:
            return leaf
        found = grounded(leaf, fields[leaf.name], text, repair=config.repair)
        if found.state == "lost" and leaf.state == "value":
            kit.discard(found.reason, f"{leaf.name}: {found.detail}")
        return found

    readings = [
        replace(one, leaves=[looked_up(leaf) for leaf in one.leaves])
        for one in readings_of(row, config.readings)
    ]
    told: dict[str, Json] = {config.into: agree(readings, schema).record}
    yield row.with_fields(**told, **{config.readings: readings_as_json(readings)})
