"""What a run writes: the dataset in the shape that trainers expect, the rows in full, records.

    dataset/train.parquet, dataset/train.jsonl      `export_dataset`
    rows/...parquet                                 `write_rows`
    rejected.parquet, failed.parquet                `write_records`

Every file appears whole or not at all (`synthkd.io.atomic`), in fixed groups of rows, with the same
bytes for the same rows. Memory does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from synthkd.config import COLUMNS_OF_FORMAT, ExportConfig
from synthkd.errors import UserError
from synthkd.io.atomic import atomic_file
from synthkd.io.columns import Kind, arrow_type, fitted, joined, json_text, kind_of, stored
from synthkd.io.conversations import conversation_fault, conversation_types, conversation_values
from synthkd.io.spool import GROUP, RowSpool
from synthkd.rows import Json, Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

Record: TypeAlias = Mapping[str, Any]

GROUP_BYTES = 32 * 2**20
"""A row group ends early here, so that long documents do not fill the memory."""
CHUNK_BYTES = 128 * 2**10
"""Text that becomes columns at once: as lines, a whole group took 20 MB more."""


def export_dataset(
    rows: RowSpool, config: ExportConfig, folder: Path, also: Callable[[Row], None] | None = None
) -> dict[str, Any]:
    """Write train.parquet and train.jsonl, both with the same columns and values, in order.

    Where fields of the rows become columns, a pass over all rows finds the schema first
    (`synthkd.io.columns`). Column `id` is the row's own; a field of that name goes out as
    `source_id`.

    Args:
        rows: the final rows.
        config: the `export` block.
        folder: for the two files.
        also: shown each row as it is written: reading the spool twice costs as much as writing.

    Returns:
        `rows`, their number, and `columns`, name -> type.

    Raises:
        UserError: two columns share a name.
        ValueError: a row lacks a text that the format needs: `missing_text` says so beforehand.
    """
    import pyarrow as pa

    layout = _layout(rows, config)
    fields = [pa.field(name, kind) for name, kind in layout.types.items()]
    with (
        open_records(folder / "train.parquet", pa.schema(fields)) as parquet,
        atomic_file(folder / "train.jsonl") as jsonl,
    ):
        for row in rows:
            if fault := missing_text(row, config):
                raise ValueError(f"row {row.id} cannot be exported: {fault}")
            jsonl.write(parquet.add(layout.record(row)))
            if also is not None:
                also(row)
    return {"rows": len(rows), "columns": {name: str(kind) for name, kind in layout.types.items()}}


def missing_text(row: Row, config: ExportConfig) -> str | None:
    """Which text the format cannot do without and the row does not have; None = it has all.

    To be asked before a row is kept: what was bought must not be lost by one row without text.
    """
    if config.format == "rows":
        return None
    if config.messages is not None:
        return conversation_fault(row, config.messages, config.tools)
    answers = ("chosen", "rejected") if config.format == "preference" else ("completion",)
    for setting in ("prompt", *answers):
        field = getattr(config, setting)
        if row.fields.get(field) is None:
            state = "is null" if field in row.fields else "is missing"
            return f"{field!r}, which export.{setting} names for {config.format!r}, {state}"
    return None


def write_records(path: Path, schema: pa.Schema, records: Iterable[Record]) -> None:
    """Write records of JSON values to a Parquet file, as they come."""
    with open_records(path, schema) as file:
        for record in records:
            file.add(record)


class Records:
    """A Parquet file that is being written, record by record, in groups of a bounded size."""

    def __init__(self, writer: pq.ParquetWriter, parse: pj.ParseOptions) -> None:
        self._writer = writer
        self._is_marked = parse.explicit_schema != writer.schema
        self._parse = parse
        self._lines: list[bytes] = []
        self._line_bytes = 0
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._bytes = 0

    def add(self, record: Record) -> bytes:
        """Take one record of JSON values; returns it as a line of JSON."""
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        self._lines.append(line)
        self._line_bytes += len(line)
        self._rows += 1
        if self._line_bytes >= CHUNK_BYTES:
            self._convert()
        if self._rows == GROUP or self._bytes >= GROUP_BYTES:
            self.write_group()
        return line

    def _convert(self) -> None:
        """Lines into columns."""
        import pyarrow as pa
        import pyarrow.json as pj

        # Arrow's own reader of JSON costs what pa.array does, 5 microseconds a row, and spares
        # the 0.35 s and 40 MB of pandas, which pa.array imports.
        text = pa.BufferReader(b"".join(self._lines))
        whole = pj.ReadOptions(use_threads=False, block_size=text.size() + 1)
        table = pj.read_json(text, read_options=whole, parse_options=self._parse)
        self._tables.append(table.cast(self._writer.schema) if self._is_marked else table)
        self._bytes += self._line_bytes
        self._lines, self._line_bytes = [], 0

    def write_group(self) -> None:
        """Write what was gathered."""
        import pyarrow as pa

        if self._lines:
            self._convert()
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables))
            self._tables, self._rows, self._bytes = [], 0, 0


@contextmanager
def open_records(path: Path, schema: pa.Schema) -> Iterator[Records]:
    """Start a Parquet file; it appears when the body ends well."""
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    plain = pa.schema([field.with_type(stored(field.type)) for field in schema])
    parse = pj.ParseOptions(explicit_schema=plain, unexpected_field_behavior="error")
    with atomic_file(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        records = Records(writer, parse)
        yield records
        records.write_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The columns of a dataset, and how a row fills them."""

    types: Mapping[str, pa.DataType]
    record: Callable[[Row], Record]


def _layout(rows: RowSpool, config: ExportConfig) -> _Layout:
    """The columns; where fields become columns, all rows are read once to know their types."""
    import pyarrow as pa

    all_fields = config.format == "rows" and not config.keep
    kinds: dict[str, Kind] = dict.fromkeys(config.keep)
    for row in rows if all_fields or config.keep else ():
        for field in row.fields if all_fields else config.keep:
            kinds[field] = joined(kinds.get(field), kind_of(row.fields.get(field)))
    types = {"id": pa.string(), **_types_of_format(config)}
    names = _column_names(kinds, taken=types)
    types |= {column: arrow_type(kinds[field]) for field, column in names.items()}

    def record(row: Row) -> Record:
        kept = {
            column: fitted(row.fields.get(field), kinds[field]) for field, column in names.items()
        }
        return {"id": row.id, **_values_of_format(row, config), **kept}

    return _Layout(types=types, record=record)


def _column_names(fields: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Field -> column."""
    columns = {"id": "source_id"}
    names = {field: columns.get(field, field) for field in fields}
    while "id" in names and names["id"] in {*names} - {"id"}:
        names["id"] += "_"
    if twins := sorted({*names.values()} & {*taken}):
        raise UserError(
            f"export.keep: {twins[0]!r} is a column of the format already: leave it out, or keep "
            "it under another name by renaming the field"
        )
    return names


def _types_of_format(config: ExportConfig) -> dict[str, pa.DataType]:
    import pyarrow as pa

    def turns(*keys: str) -> pa.DataType:
        return pa.list_(pa.struct([pa.field(key, pa.string()) for key in keys]))

    if config.messages is not None:
        return conversation_types(with_tools=config.tools is not None)
    if config.format == "messages":
        return {"messages": turns("role", "content")}
    if config.format == "sharegpt":
        return {"conversations": turns("from", "value")}
    columns = [*COLUMNS_OF_FORMAT[config.format]]
    if columns and config.system is not None:
        columns.append("system")
    return dict.fromkeys(columns, pa.string())


def _values_of_format(row: Row, config: ExportConfig) -> dict[str, Any]:
    if config.format == "rows":
        return {}
    if config.messages is not None:
        return conversation_values(row, config.messages, config.tools)
    prompt, system = _text(row, config.prompt), _text(row, config.system)
    if config.format == "messages":
        turns = [("system", system), ("user", prompt), ("assistant", _text(row, config.completion))]
        return {"messages": [{"role": r, "content": text} for r, text in turns if text is not None]}
    if config.format == "sharegpt":
        turns = [("system", system), ("human", prompt), ("gpt", _text(row, config.completion))]
        return {
            "conversations": [{"from": r, "value": text} for r, text in turns if text is not None]
        }
    texts = {
        "prompt-completion": (prompt, _text(row, config.completion)),
        "alpaca": (prompt, _text(row, config.input) or "", _text(row, config.completion)),
        "preference": (prompt, _text(row, config.chosen), _text(row, config.rejected)),
    }[config.format]
    values = dict(zip(COLUMNS_OF_FORMAT[config.format], texts, strict=True))
    return values if config.system is None else {**values, "system": system}


def _text(row: Row, field: str | None) -> str | None:
    """The field as text; what is not text, as JSON."""
    value: Json = None if field is None else row.fields.get(field)
    return value if value is None or isinstance(value, str) else json_text(value)
