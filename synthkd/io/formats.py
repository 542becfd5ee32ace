"""How each format yields records: JSONL, CSV, Parquet, Hugging Face datasets. Streams, never whole.

A `Record` is a number and either the record's fields, as clean JSON, or the text of what is wrong
with it: one bad record is not the end of the others. The number is what a person looks for in the
file: the line where the record begins (JSONL, CSV) or the row (Parquet, hf), both from 1.

What JSON does not have becomes text: dates and times in ISO 8601, decimals and UUIDs as written,
durations as Python prints them, bytes as base64. CSV cells are always text, an empty one is "".
"""

from __future__ import annotations

import base64
import csv
import datetime
import decimal
import io
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import orjson

from synthkd.config import SourceConfig
from synthkd.errors import SourceError
from synthkd.rows import MAX_DEPTH, Fields, Json, clean

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LINE_BYTES = 64 * 2**20
"""A longer line or cell is no row but a file of another format, and memory must stay bounded."""
BATCH = 256
"""Rows that are taken from Arrow at once: enough to be cheap, few enough for long documents."""

Record: TypeAlias = "tuple[int, Fields | str]"
Repairs: TypeAlias = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A source's records, as often as wanted."""

    columns: tuple[str, ...] | None
    """The fields of every record; None = each record has its own."""
    unit: str
    """What the records' numbers count: line or row."""
    records: Callable[[Repairs], Iterator[Record]]
    """Starts from the beginning; counts what it mends."""
    file: Path | None
    """The file that is read; None = it is none of its own."""


def jsonl_reader(path: Path) -> Reader:
    """One JSON object a line; blank lines are nothing."""

    def records(repairs: Repairs) -> Iterator[Record]:
        with _opened(path) as file:
            for number, line in enumerate(_lines(path, file), start=1):
                if line := line.rstrip():
                    yield number, _parsed(line, repairs)

    with _opened(path) as file:
        _refuse_utf16(path, file.read(2))
    return Reader(columns=None, unit="line", records=records, file=path)


def _parsed(line: bytes, repairs: Repairs) -> Fields | str:
    """The line's object, or what is wrong with it."""
    try:
        value = loaded(line, repairs)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        return f"not JSON: {what} at column {error.colno}; {_start_of(line)}"
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start + 1} of the line; {_start_of(line)}"
    except RecursionError:
        return f"nested too deeply; {_start_of(line)}"
    except ValueError as error:
        return f"{error}; {_start_of(line)}"
    if not isinstance(value, dict):
        return f"not a JSON object but {_json_type(value)}; {_start_of(line)}"
    return value


# orjson reads integers beyond 64 bits as floats; the reader of the standard library keeps them,
# so that `clean` can refuse them instead of their being changed.
_LONG_NUMBER = re.compile(rb"\d{19}")


def loaded(line: bytes, repairs: Repairs) -> Json:
    """The fast reader where it is right, else the slow one and `clean`."""
    if not _LONG_NUMBER.search(line) and line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        try:
            value: Json = orjson.loads(line)
        except orjson.JSONDecodeError:
            pass  # NaN and lone surrogates can be mended; what cannot is an error of the slow one
        else:
            return value
    return clean(json.loads(line.decode("utf-8", "surrogatepass")), repairs)


def _json_type(value: Json) -> str:
    if value is None:
        return "null"
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "a list (in JSONL each object has a line of its own)")


def _start_of(line: bytes) -> str:
    text = line[:160].decode("utf-8", "replace").strip()
    return f"the line starts with {text[:40]!r}"


def csv_reader(path: Path) -> Reader:
    """A header and cells between commas, or tabs where the name says .tsv; always text."""

    def records(repairs: Repairs) -> Iterator[Record]:
        with _opened(path) as file:
            reader, header = _csv_header(path, file)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if str(error) == "unexpected end of data":
                        raise SourceError(
                            f"{path.name} line {line}: a quote is opened that never closes, so all"
                            " that follows is one value: close or double it"
                        ) from None
                    yield line, f"not CSV: {error}"
                else:
                    if cells:  # else a blank line
                        yield line, _cells(header, cells)

    with _opened(path) as file:
        _refuse_utf16(path, file.read(2))
    with _opened(path) as file:
        _, header = _csv_header(path, file)
    return Reader(columns=tuple(header), unit="line", records=records, file=path)


def _csv_header(path: Path, file: BinaryIO) -> tuple[Any, list[str]]:
    """The reader, past the header, and the header. Any: csv does not name its reader's type."""
    csv.field_size_limit(MAX_LINE_BYTES)  # of the whole process; the default is 128 KiB
    # Bytes that are no UTF-8 become lone surrogates, which `_cells` finds in their row.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    # Strict: else a quote that is never closed swallows the rest of the file without a word.
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise SourceError(f"{path} line 1: the header is not CSV: {error}") from error
    if not header:
        raise SourceError(f"{path}: no header in line 1: the first line must name the columns")
    _refuse_twins(path, header)
    return reader, header


def _cells(header: list[str], cells: list[str]) -> Fields | str:
    if len(cells) != len(header):
        return f"{len(cells)} cells where the header has {len(header)}; it begins {cells[0]!r:.40}"
    for name, cell in zip(header, cells, strict=True):
        if not cell.isascii() and any("\ud800" <= char <= "\udfff" for char in cell):
            return f"not UTF-8 in column {name!r}"
    return dict(zip(header, cells, strict=True))


def parquet_reader(path: Path) -> Reader:
    """A Parquet file, in batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def records(repairs: Repairs) -> Iterator[Record]:
        with _readable(path, pa.ArrowException), pq.ParquetFile(path) as file:
            yield from _arrow_records(file.iter_batches(batch_size=BATCH), repairs)

    with _readable(path, pa.ArrowException), pq.ParquetFile(path) as file:
        columns = tuple(file.schema_arrow.names)
    _refuse_twins(path, columns)
    return Reader(columns=columns, unit="row", records=records, file=path)


def hf_reader(config: SourceConfig, place: Path | str) -> Reader:
    """A Hugging Face dataset, memory-mapped.

    Args:
        config: its block of the pipeline file.
        place: a folder, or a name on the hub.
    """
    import pyarrow as pa

    dataset = _hf_dataset(config, place)
    arrow = dataset.with_format("arrow")  # as stored: nothing is decoded

    def records(repairs: Repairs) -> Iterator[Record]:
        with _readable(place, pa.ArrowException):
            yield from _arrow_records(arrow.iter(batch_size=BATCH), repairs)

    columns = tuple(dataset.column_names)
    return Reader(columns=columns, unit="row", records=records, file=None)


def _hf_dataset(config: SourceConfig, place: Path | str) -> Any:  # Any: datasets has no types
    import datasets

    try:
        if isinstance(place, Path) and _is_saved(place):
            loaded = datasets.load_from_disk(str(place))
        else:
            loaded = datasets.load_dataset(
                str(place), config.config, split=config.split, revision=config.revision
            )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(
            f"source.hf {config.hf!r} cannot be loaded: {error}; check the name, config "
            f"{config.config!r}, split {config.split!r} and revision {config.revision!r}"
        ) from error
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    if config.split not in loaded:
        splits = ", ".join(map(str, loaded))
        raise SourceError(f"{place}: has no split {config.split!r}; source.split may be {splits}")
    return loaded[config.split]


def _is_saved(folder: Path) -> bool:
    """Whether save_to_disk wrote it: any other folder is one of data files."""
    return any((folder / name).exists() for name in ("state.json", "dataset_dict.json"))


def _arrow_records(batches: Iterable[pa.RecordBatch], repairs: Repairs) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for value in _values(batch):
            number += 1
            if isinstance(value, str):
                yield number, value
                continue
            try:
                yield number, {name: clean(_plain(v), repairs) for name, v in value.items()}
            except ValueError as error:
                yield number, str(error)


def _values(batch: pa.RecordBatch) -> Iterable[Mapping[str, Any] | str]:
    """Each row of the batch, or what is wrong with it."""
    try:
        return cast(list[Mapping[str, Any]], batch.to_pylist())
    except (ValueError, OverflowError):  # text that is no UTF-8, dates beyond the year 9999
        return [_value(batch.slice(index, 1)) for index in range(batch.num_rows)]


def _value(row: pa.RecordBatch) -> Mapping[str, Any] | str:
    try:
        return cast(Mapping[str, Any], row.to_pylist()[0])
    except (ValueError, OverflowError) as error:
        return f"holds a value that Python cannot: {error}"


def _plain(value: Any) -> Any:
    """The value with text in place of what JSON does not have; see the module's docstring."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta | uuid.UUID):
        return str(value)
    return value  # `clean` says what it is


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed where the name ends in .gz, .bz2 or .zst."""
    if path.suffix in {".gz", ".bz2", ".zst"}:
        import pyarrow as pa

        # Arrow tells a cut archive from a whole one; the reader of the package zstandard does not.
        with _readable(path, pa.ArrowException), pa.input_stream(path) as stream:
            yield cast(BinaryIO, io.BufferedReader(stream))
    else:
        with _readable(path), path.open("rb") as file:
            yield file


@contextmanager
def _readable(place: Path | str, *faults: type[Exception]) -> Iterator[None]:
    """Say which source it was that could not be read on, for OSError and these faults."""
    expected: tuple[type[Exception], ...] = (OSError, *faults)
    try:
        yield
    except expected as error:
        raise SourceError(
            f"{place}: cannot be read: {error}; check that the file is whole and of the format "
            "that `source` names"
        ) from error


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; the byte order mark is gone."""
    first = True
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise SourceError(
                f"{path}: has a line of more than {MAX_LINE_BYTES >> 20} MiB: in JSONL each object "
                "has a line of its own"
            )
        yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _refuse_utf16(path: Path, head: bytes) -> None:
    if head in {b"\xff\xfe", b"\xfe\xff"}:
        raise SourceError(f"{path}: is UTF-16: save it as UTF-8")


def _refuse_twins(path: Path, columns: Iterable[str]) -> None:
    names = list(columns)
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{path}: two columns are called {twins[0]!r}: rename one")
