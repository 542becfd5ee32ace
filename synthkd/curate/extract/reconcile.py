"""`extract.reconcile`: what several teachers or samples say of a document, as one record.

readings: [a: total 5 EUR, b: total 5 EUR, c: total 50 EUR]
->  record: {total: {amount: 5, currency: EUR}}
support: {total: {support: 0.67, teachers: [a, b], spans: [{start: 40, end: 52, ...}]}}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Annotated

from pydantic import Field

from synthkd.config import Share, TeacherConfig
from synthkd.curate.extract.held import readings_of
from synthkd.errors import Rejected
from synthkd.hints import near
from synthkd.recipes.extract import RecordSettings
from synthkd.records.agreeing import Ties, agree
from synthkd.records.loading import load_schema
from synthkd.records.schema import RecordSchema
from synthkd.rows import Json, Row
from synthkd.steps import Kit, step


class ReconcileSettings(RecordSettings):
    """Settings of `extract.reconcile`."""

    weights: dict[str, Annotated[float, Field(gt=0, le=1e6)]] = Field(default={})
    """How much the votes of a teacher count; 1 for those that are not named."""
    ties: Ties = "first"
    """Of equally heavy values the one that was said first, or null (`abstain`)."""
    at_least: Share = 0.0
    """The least support of a value, by the weight of all readings; what has less is null."""
    support: str = "support"
    """The field for who says each value, and where it stands."""
    keep_incomplete: bool = False
    """Whether a row stays whose record lacks a required field."""

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """Who is weighed must be there; without teachers the readings are of another run."""
        for name in self.weights if teachers else ():
            if name not in teachers:
                hint = near(name, teachers) or f"; there are: {', '.join(teachers)}"
                yield f"weights: no teacher is named {name!r}{hint}"


@step(
    "extract.reconcile",
    needs=lambda config: [config.readings],
    gives=lambda config: [config.into, config.support],
)
async def reconcile(row: Row, kit: Kit, config: ReconcileSettings, /) -> AsyncIterator[Row]:
    """One record of all readings, field by field, with its support; counts where they differ.

    Rejects `incomplete_record`: a required field has no value.
    """
    schema = load_schema(config.record, kit.desk.folder)
    agreed = agree(
        readings_of(row, config.readings),
        schema,
        weights=config.weights,
        ties=config.ties,
        at_least=config.at_least,
    )
    for name, what in agreed.figures:
        kit.count(f"{name}: {what}")
    lacking = lacks(agreed.record, schema)
    if lacking and not config.keep_incomplete:
        raise Rejected("incomplete_record", f"no value for {', '.join(lacking)}")
    yield row.with_fields(**{config.into: agreed.record, config.support: agreed.support})


def lacks(record: Mapping[str, Json], schema: RecordSchema) -> list[str]:
    """The required fields that have no value; those of a record inside only where there is one."""
    found = []
    for name, one in schema.fields.items():
        value = record.get(name)
        if one.required and value is None:
            found.append(name)
        items = value if isinstance(value, list) else [value]
        for item in (item for item in items if isinstance(item, Mapping) and one.fields):
            inner = [part for part, sub in one.fields.items() if sub.required]
            found += [f"{name}.{part}" for part in inner if item.get(part) is None]
    return list(dict.fromkeys(found))
