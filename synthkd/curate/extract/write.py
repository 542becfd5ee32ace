"""`extract.write`: a row's record as the JSON text that a student learns.

record: {total: {amount: 5, currency: EUR}, due: null}
->  completion: '{"total": {"amount": 5, "currency": "EUR"}, "due": null}'
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

from synthkd.curate.fields import value_of
from synthkd.errors import RowError
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step


class WriteSettings(StepSettings):
    """Settings of `extract.write`."""

    record: str = "record"
    """The field with the record."""
    into: str = "completion"
    """The field for the text."""
    nulls: bool = True
    """Whether fields without a value are written too, so that a student learns to say so."""


@step("extract.write", needs=lambda config: [config.record], gives=lambda config: [config.into])
async def write(row: Row, kit: Kit, config: WriteSettings, /) -> AsyncIterator[Row]:
    """Writes the record out on one line, its fields in the order of the schema."""
    record = value_of(row, config.record)
    if not isinstance(record, Mapping):
        raise RowError(f"{config.record} must be a record, got {record!r:.80}")
    told = {name: value for name, value in record.items() if config.nulls or value is not None}
    yield row.with_fields(**{config.into: json.dumps(told, ensure_ascii=False)})
