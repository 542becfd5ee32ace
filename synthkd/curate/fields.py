"""The field that a row step looks at: there and of the right type, or the row fails.

A row without the field, or with another type in it, is a mistake in the pipeline and no verdict on
the row: it fails instead of being rejected. Table steps reject it (`synthkd.curate.texts`).
"""

from __future__ import annotations

from synthkd.errors import MissingField, RowError
from synthkd.rows import Json, Row


def value_of(row: Row, field: str) -> Json:
    """The field's value.

    Raises:
        MissingField: the row has no such field.
    """
    if field not in row.fields:
        raise MissingField(
            f"the row has no field {field!r}; it has {', '.join(sorted(row.fields))}"
        )
    return row.fields[field]


def text_of(row: Row, field: str) -> str:
    """The field's text.

    Raises:
        MissingField: the row has no such field.
        RowError: it holds no text.
    """
    text = value_of(row, field)
    if not isinstance(text, str):
        raise RowError(f"{field} must be text, got {text!r:.80}")
    return text


def excerpt(text: str, start: int = 0, length: int = 60) -> str:
    """A piece of the text for a detail: on one line, quoted."""
    return repr(text[start : start + length])
