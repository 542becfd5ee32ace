"""The readings that a row holds while they are filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthkd.curate.fields import value_of
from synthkd.errors import RowError
from synthkd.records.agreeing import Reading
from synthkd.records.reading import from_rows
from synthkd.rows import Row


def readings_of(row: Row, field: str) -> list[Reading]:
    """The readings in a field of a row, as `extract` gives them.

    Raises:
        RowError: it holds none; the message shows what it has.
    """
    value = value_of(row, field)
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence) or not value:
        raise RowError(f"{field} must be a list of readings, got {value!r:.80}")
    found = []
    for one in value:
        said = one if isinstance(one, Mapping) else {}
        teacher, sample = said.get("teacher"), said.get("sample", 0)
        if not isinstance(teacher, str) or not isinstance(sample, int):
            raise RowError(f"{field} must hold readings ({{teacher, leaves}}), got {one!r:.80}")
        try:
            leaves = list(from_rows(said.get("leaves")))
        except ValueError as error:
            raise RowError(f"{field}: leaves {error}") from error
        found.append(Reading(teacher=teacher, sample=sample, leaves=leaves))
    return found
