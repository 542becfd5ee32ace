"""Which fields a step looks at, and their text: of one field, or of several as one text.

    field: question                       # or
    fields: [question, answer]            # one below the other

A row without it is rejected, `missing_field` or `no_text`: the other rows of the table can still be
compared.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, model_validator

from synthkd.errors import Rejected
from synthkd.rows import Fields, Row
from synthkd.steps import StepSettings, TableKit


class FieldOrFields(StepSettings):
    """The settings `field` and `fields`, of which exactly one is given."""

    field: str | None = None
    """One field ..."""
    fields: list[str] = Field(default=[])
    """... or several; where they are compared, they are one text together."""

    @property
    def all_fields(self) -> tuple[str, ...]:
        """The fields, whichever way they are given."""
        return tuple(self.fields) if self.field is None else (self.field,)

    @model_validator(mode="after")
    def _one_way(self) -> FieldOrFields:
        if (self.field is None) == (not self.fields):
            raise ValueError("must name exactly one of field, fields")
        return self


def text_of(fields: Fields, names: Iterable[str]) -> str:
    """The text of these fields: of several, one below the other.

    Raises:
        Rejected: `missing_field`, or `no_text`: a value is no text.
    """
    texts = []
    for name in names:
        if name not in fields:
            raise Rejected("missing_field", f"the row has no field {name!r}")
        value = fields[name]
        if not isinstance(value, str):
            raise Rejected("no_text", f"{name} must be text, got {value!r:.80}")
        texts.append(value)
    return "\n".join(texts)


def text_or_reject(row: Row, names: Iterable[str], kit: TableKit) -> str | None:
    """As `text_of`; None = the row had none and is rejected."""
    try:
        return text_of(row.fields, names)
    except Rejected as rejected:
        kit.reject(row, rejected.reason, rejected.detail)
        return None


def text_or_none(fields: Fields, names: Iterable[str]) -> str | None:
    """As `text_of`; None = a field is missing or holds no text."""
    try:
        return text_of(fields, names)
    except Rejected:
        return None
