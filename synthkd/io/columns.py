"""The Arrow type that every value of a field fits, whatever a million rows put into it.

    >>> kind = joined(joined(None, kind_of(1)), kind_of(2.5))
    >>> arrow_type(kind), fitted(1, kind)
    (DataType(double), 1.0)

Rows carry JSON, columns carry types. Values of one type keep it; objects and values of several
types become JSON text, so that nothing is lost and every reader can open the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from synthkd.rows import Json

if TYPE_CHECKING:
    import pyarrow as pa

Kind: TypeAlias = "str | tuple[str, Kind] | None"
"""`bool`, `int`, `wide` (an int that no double holds), `double`, `string`, `json`, ("list", Kind).

None = no value seen yet. `joined` is associative and commutative, so the order of rows is nothing.
"""


LISTS = 4
"""Lists inside each other that stay lists: readers of Parquet give up at 100 levels."""


def kind_of(value: Json, lists: int = LISTS) -> Kind:
    """The narrowest kind of one value; deeper than `lists` it is JSON text."""
    if value is None:
        return None
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if int(float(value)) == value else "wide"
    if isinstance(value, float):
        return "double"
    if isinstance(value, list | tuple) and lists > 0:
        items: Kind = None
        for item in value:
            items = joined(items, kind_of(item, lists - 1))
        return "json" if items == "json" else ("list", items)
    return "json"


def joined(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that holds the values of both without loss."""
    if one == other or other is None:
        return one
    if one is None:
        return other
    if isinstance(one, tuple) and isinstance(other, tuple):
        items = joined(one[1], other[1])
        return "json" if items == "json" else ("list", items)
    pair = {one, other}
    if pair == {"int", "wide"}:
        return "wide"
    return "double" if pair == {"int", "double"} else "json"


def arrow_type(kind: Kind) -> pa.DataType:
    """The column's type; a field that is null in every row counts as text."""
    import pyarrow as pa

    if isinstance(kind, tuple):
        return pa.list_(arrow_type(kind[1]))
    types = {"bool": pa.bool_, "int": pa.int64, "wide": pa.int64, "double": pa.float64}
    return types.get(kind or "string", pa.string)()


def stored(kind: pa.DataType) -> pa.DataType:
    """The type without marks such as that of JSON: what readers of JSON can make."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return stored(kind.storage_type)
    if pa.types.is_list(kind):
        return pa.list_(stored(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(stored(field.type)) for field in kind])
    return kind


def fitted(value: Json, kind: Kind) -> Any:  # Any: what pyarrow and orjson accept
    """The value as it stands in a column of that kind."""
    if value is None:
        return None
    if kind == "json":
        return json_text(value)
    if kind == "double":
        return float(value)  # type: ignore[arg-type]  # a double column holds numbers only
    if isinstance(kind, tuple) and isinstance(value, list | tuple):
        return [fitted(item, kind[1]) for item in value]
    return value


def json_text(value: Json) -> str:
    """The value as JSON text."""
    return orjson.dumps(value).decode()
