"""The schema of a record: its fields, their types, and what is made of them.

    fields:
      invoice_no: {type: text, required: true, description: the number of the invoice}
      date:       {type: date, order: dmy}
      total:      {type: money, currency: EUR}
      lines:      {type: record, many: true, fields: {item: {type: text}, pieces: {type: number}}}

Of it come the JSON Schema that goes out with the question, and the table of fields in its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synthkd.records.dates import DayFirst
from synthkd.records.money import CODES
from synthkd.records.numerals import Decimal
from synthkd.records.units import ANY, UNITS, unit_named
from synthkd.schemas import Schema
from synthkd.text import equivalent

FieldType = Literal["text", "enum", "date", "money", "number", "boolean", "record"]
MOST_FIELDS = 200
"""Of one record: what has more is no question that one reply could answer."""
OF_TYPE: Mapping[str, frozenset[str]] = {
    "text": frozenset({"longest"}),
    "enum": frozenset({"choices"}),
    "date": frozenset({"order"}),
    "money": frozenset({"currency"}),
    "number": frozenset({"unit", "decimal"}),
    "boolean": frozenset(),
    "record": frozenset({"fields"}),
}
"""The settings that only fields of one type have."""
VALUE, EVIDENCE = "value", "evidence"
WIRE: Mapping[str, Any] = {
    "boolean": {"type": ["boolean", "null"]},
    "money": {"type": ["string", "number", "null"]},
    "number": {"type": ["string", "number", "null"]},
}
"""Of a value in a reply; others are text, as the document has it."""


class RecordField(BaseModel):
    """One field of a record."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    type: FieldType = "text"
    description: str = ""
    """What the teacher is told of it."""
    required: bool = False
    """Whether a record without it is none."""
    many: bool = False
    """Whether it holds a list."""
    literal: bool | None = None
    """Whether the value itself must stand in its evidence (`extract.ground`); by default it must
    where it can be looked for: of text, dates, amounts and numbers."""
    longest: int = Field(default=500, ge=1, le=20_000)
    """Characters of a text."""
    choices: dict[str, list[str]] = {}
    """Of an enum: each choice with what else may be written for it; or a plain list of choices."""
    order: DayFirst | None = None
    """What 03/04/2024 is: the 3rd of April (dmy) or the 4th of March (mdy); null = it is lost."""
    currency: str | None = None
    """What an amount is in that names no currency, or a sign of several ("$"); ISO 4217."""
    unit: str | None = None
    """`any` = the value is a number with its unit; a unit = the value is the number of those."""
    decimal: Decimal | None = None
    """What stands before decimals where "1.234" does not tell; null = it is lost."""
    fields: dict[str, RecordField] = {}
    """Of a record inside of the record; records inside of that there are none."""

    @field_validator("choices", mode="before")
    @classmethod
    def _plain_choices(cls, value: Any) -> Any:
        return {str(one): [] for one in value} if isinstance(value, list) else value

    @field_validator("unit")
    @classmethod
    def _known_unit(cls, value: str | None) -> str | None:
        if value is None or value == ANY:
            return value
        if (unit := unit_named(value)) is None:
            known = ", ".join(sorted({one.name for one in UNITS.values()}))
            raise ValueError(f"no unit is called {value!r}; there are any, {known}")
        return unit.name

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, value: str | None) -> str | None:
        if value is not None and value not in CODES:
            raise ValueError(f"{value!r} is no currency of ISO 4217, such as EUR")
        return value

    @model_validator(mode="after")
    def _of_its_type(self) -> RecordField:
        usual = {name: one.default for name, one in type(self).model_fields.items()}
        own = frozenset().union(*OF_TYPE.values())
        given = {name for name in own if getattr(self, name) != usual[name]}
        if other := sorted(given - OF_TYPE[self.type]):
            kinds = [kind for kind, names in OF_TYPE.items() if other[0] in names]
            raise ValueError(f"{other[0]} is for type {kinds[0]}, not for {self.type}")
        if self.literal is not None and self.type in ("boolean", "record"):
            raise ValueError(f"literal: a {self.type} stands in no text as it is: leave it out")
        if self.type == "enum":
            _check_choices(self.choices)
        if self.type == "record":
            if not self.fields:
                raise ValueError("type record needs `fields`, at least one")
            if any(one.type == "record" for one in self.fields.values()):
                raise ValueError("a record inside of a record may hold no further record")
            _check_names(self.fields)
        return self

    @property
    def is_literal(self) -> bool:
        """Whether the value is looked for in its evidence."""
        usual = self.type in ("text", "date", "money", "number")
        return usual if self.literal is None else self.literal

    @cached_property
    def spellings(self) -> Mapping[str, str]:
        """Of an enum: what may be written -> the choice."""
        told = {equivalent(choice): choice for choice in self.choices}
        return told | {equivalent(x): choice for choice, all_ in self.choices.items() for x in all_}


class RecordSchema(BaseModel):
    """The fields of a record."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(default="record", min_length=1, max_length=64)
    """What the record is, in a word, such as `invoice`; the teacher is told."""
    fields: dict[str, RecordField] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> RecordSchema:
        _check_names(self.fields)
        many = sum(1 for _ in leaf_fields(self))
        if many > MOST_FIELDS:
            raise ValueError(f"fields: {many} are too many, {MOST_FIELDS} are the most")
        return self

    @cached_property
    def json_schema(self) -> Schema:
        """The JSON Schema of a reply, in which each value has its evidence beside it."""
        return Schema.of(self.name, _object(self.fields))

    @property
    def table(self) -> list[str]:
        """The fields in words, a line each, as a prompt shows them."""
        return [line for name, one in self.fields.items() for line in _lines(name, one)]


def key_of(name: str) -> str:
    """One spelling of a field's name: `invoice_no`, `Invoice No.` and `invoiceNo` are the same."""
    return re.sub(r"[\W_]+", "", name.casefold())


def leaf_fields(schema: RecordSchema) -> Iterator[tuple[str, RecordField]]:
    """The fields that hold values, by their names: `total`, `lines.item`."""
    for name, one in schema.fields.items():
        if one.type == "record":
            yield from ((f"{name}.{inner}", each) for inner, each in one.fields.items())
        else:
            yield name, one


def _check_names(fields: Mapping[str, RecordField]) -> None:
    seen: dict[str, str] = {}
    for name in fields:
        key = key_of(name)
        if not key or len(name) > 64 or "." in name:
            raise ValueError(f"fields: {name!r} is no name: letters, digits and _, 64 at most")
        if key in (VALUE, EVIDENCE):
            raise ValueError(f"fields: {name!r} is what each field's answer has: name it otherwise")
        if key in seen:
            raise ValueError(f"fields: {seen[key]!r} and {name!r} are the same but for their case")
        seen[key] = name


def _check_choices(choices: Mapping[str, list[str]]) -> None:
    if not choices:
        raise ValueError("type enum needs `choices`, at least one")
    seen: dict[str, str] = {}
    for choice, others in choices.items():
        for said in (choice, *others):
            key = equivalent(said)
            if not said.strip():
                raise ValueError("choices: one is blank")
            if seen.get(key, choice) != choice or (said == choice and key in seen):
                raise ValueError(f"choices: {said!r} is of {seen[key]!r} and of {choice!r}")
            seen[key] = choice


def _object(fields: Mapping[str, RecordField]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _wire(one) for name, one in fields.items()},
        "required": [*fields],
        "additionalProperties": False,
    }


def _wire(field: RecordField) -> dict[str, Any]:
    if field.type == "record":
        one = _object(field.fields)
    else:
        value = WIRE.get(field.type, {"type": ["string", "null"]})
        if field.type == "enum":
            value = {"type": ["string", "null"], "enum": [*field.choices, None]}
        said = {VALUE: dict(value), EVIDENCE: {"type": ["string", "null"]}}
        one = _object({}) | {"properties": said, "required": [VALUE, EVIDENCE]}
    told = {"description": field.description} if field.description else {}
    return {"type": "array", "items": one, **told} if field.many else {**one, **told}


def _lines(name: str, field: RecordField, indent: str = "") -> Iterator[str]:
    kind = {"enum": "one of " + ", ".join(field.choices), "money": "an amount with its currency"}
    said = kind.get(field.type, field.type)
    if field.type == "number" and field.unit is not None:
        said = "number with its unit"
    if field.many:
        said = f"a list; each is {said}" if field.type != "record" else "a list of records"
    needed = ", required" if field.required else ""
    colon = ", with" if field.type == "record" else ""
    about = f": {field.description}" if field.description else ""
    yield f"{indent}- {name} ({said}{needed}{colon}){about}"
    for inner, one in field.fields.items():
        yield from _lines(inner, one, indent + "  ")
