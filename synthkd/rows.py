"""Row: the one noun that flows. Its identity, its place in the order, and where it came from.

    >>> row = source_row("tickets.jsonl", ["42"], ordinal=7, fields={"text": "Where is my card?"})
    >>> row.with_fields(label="card_arrival").fields["label"]
    'card_arrival'
    >>> row.child("generate", 0).order
    (7, 0)

A row never changes: `with_fields` gives the same row (same id, same place) with more known about
it, `child` gives a new row that descends from it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Fields: TypeAlias = Mapping[str, Json]

INT64 = range(-(2**63), 2**63)
MAX_DEPTH = 200
"""Lists and objects inside each other: orjson writes 254 levels, and rows are wrapped in some."""


class Row(NamedTuple):
    """What flows from the source through the steps into the dataset.

    A named tuple, because a row is made anew several times at each step, and a frozen dataclass
    takes three times as long to make.
    """

    id: str
    """16 hex digits, the same in every run: see `source_row` and `child`."""
    order: tuple[int, ...]
    """The ordinal in the source, then the index at each fan-out: the order of the dataset."""
    roots: tuple[str, ...]
    """Ids of the source rows that this row descends from."""
    fields: Fields
    """What is known: JSON values only, see `clean`."""
    made_by: tuple[str, ...] = ()
    """Keys of the ledger entries that contributed, oldest first."""

    def with_fields(self, /, **fields: Json) -> Row:
        """The same row with more known about it."""
        row_id, order, roots, known, made_by = self
        return Row(row_id, order, roots, {**known, **fields}, made_by)

    def with_made_by(self, *keys: str) -> Row:
        """The same row, with the ledger entries that contributed to it."""
        row_id, order, roots, fields, made_by = self
        return Row(row_id, order, roots, fields, made_by + keys)

    def child(self, step: str, index: int) -> Row:
        """A new row that descends from this one: the index-th that `step` makes of it."""
        return self._replace(id=digest(self.id, step, index), order=(*self.order, index))


def digest(*parts: Json) -> str:
    """16 hex digits of the SHA-256 over the parts as canonical JSON."""
    return hashlib.sha256(canonical(parts)).hexdigest()[:16]


def canonical(value: Json) -> bytes:
    """JSON in one spelling: sorted keys, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def source_row(source: str, ids: Sequence[Json], *, ordinal: int, fields: Fields) -> Row:
    """A row as it enters.

    Args:
        source: the source's name; two sources may use the same ids.
        ids: the values of the id fields, in the order the pipeline names them.
        ordinal: the row's place in the source, from 0.
        fields: the row itself, already clean.
    """
    row_id = digest(source, list(ids))
    return Row(row_id, (ordinal,), (row_id,), fields)


def merged_roots(rows: Iterable[Row]) -> tuple[str, ...]:
    """The source rows of all of them, each once, in first-seen order."""
    return tuple(dict.fromkeys(root for row in rows for root in row.roots))


def clean(value: object, repairs: dict[str, int] | None = None) -> Json:
    """The value as JSON that every later reader understands the same way.

    Lone surrogates become U+FFFD and, in a source, NaN and infinities become null; each such repair
    is counted in `repairs` under `lone_surrogates` and `not_a_number`. Without `repairs` (a value
    that our own code made) a NaN is an error.

    Raises:
        ValueError: a NaN without `repairs`, an integer beyond 64 bits, a key that is no string,
            two keys that become one when they are mended, more than `MAX_DEPTH` levels, or a type
            that JSON does not have.
    """
    return _clean(value, repairs, MAX_DEPTH)


def _clean(value: object, repairs: dict[str, int] | None, levels: int) -> Json:
    # Ordered by frequency: nearly every field of a real row is a string.
    if isinstance(value, str):
        return value if value.isascii() else _without_surrogates(value, repairs)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in INT64:
            raise ValueError(f"the integer {value} does not fit into 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            _count_not_a_number(value, repairs)
            return None
        return value
    if not isinstance(value, Mapping | list | tuple):
        raise ValueError(f"{type(value).__name__} is not a JSON type: {value!r:.80}")
    if levels == 0:
        raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return _clean_object(value, repairs, levels)
    return [_clean(item, repairs, levels - 1) for item in value]


def _clean_object(
    value: Mapping[Any, object], repairs: dict[str, int] | None, levels: int
) -> dict[str, Json]:
    cleaned = {_key(key, repairs): _clean(item, repairs, levels - 1) for key, item in value.items()}
    if len(cleaned) < len(value):  # one value would be lost without a word
        raise ValueError(f"two names become one when mended, among {list(value)!r:.200}")
    return cleaned


def _key(key: object, repairs: dict[str, int] | None) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a field's name must be a string, got {key!r:.80}")
    return key if key.isascii() else _without_surrogates(key, repairs)


def _without_surrogates(text: str, repairs: dict[str, int] | None) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        if repairs is not None:
            repairs["lone_surrogates"] = repairs.get("lone_surrogates", 0) + 1
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _count_not_a_number(value: float, repairs: dict[str, int] | None) -> None:
    if repairs is None:
        raise ValueError(f"{value} is not JSON; leave the field out or use null")
    repairs["not_a_number"] = repairs.get("not_a_number", 0) + 1
