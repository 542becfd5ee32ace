"""rows.parquet: the final rows of a run, in full and in order; written, and read back.

What was lost on the way (rejected.parquet and its kin) is read here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from synthkd.errors import SourceError
from synthkd.io.columns import json_text
from synthkd.io.exports import open_records
from synthkd.rows import Row

ROWS = Path("rows", "rows.parquet")
"""In the folder of a run."""
REJECTED = Path("rejected.parquet")


@contextmanager
def open_rows(path: Path) -> Iterator[Callable[[Row], None]]:
    """Start a Parquet file for rows in full; yields what takes one row.

    Columns: id, order (list of int64), roots and made_by (lists of text), fields (JSON text).
    """
    import pyarrow as pa

    texts = pa.list_(pa.string())
    schema = pa.schema(
        {
            "id": pa.string(),
            "order": pa.list_(pa.int64()),
            "roots": texts,
            "made_by": texts,
            "fields": pa.string(),
        }
    )
    with open_records(path, schema) as file:

        def add(row: Row) -> None:
            file.add(
                {
                    "id": row.id,
                    "order": row.order,
                    "roots": row.roots,
                    "made_by": row.made_by,
                    "fields": json_text(row.fields),
                }
            )

        yield add


def read_rows(path: Path) -> Iterator[Row]:
    """The rows that `open_rows` wrote, batch by batch.

    Raises:
        SourceError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    yield Row(
                        id=record["id"],
                        order=tuple(record["order"]),
                        roots=tuple(record["roots"]),
                        fields=orjson.loads(record["fields"]),
                        made_by=tuple(record["made_by"]),
                    )
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: the rows of the run cannot be read: {error}") from error


def row_ids(path: Path) -> Iterator[str]:
    """The ids of the rows, in order; nothing else of them is read.

    Raises:
        SourceError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id"]):
                yield from batch.column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: the rows of the run cannot be read: {error}") from error


def rows_made_by(path: Path, keys: Set[str]) -> list[str]:
    """The ids of the rows that one of these ledger entries contributed to.

    Raises:
        SourceError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[str] = []
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id", "made_by"]):
                found += [
                    record["id"]
                    for record in batch.to_pylist()
                    if not keys.isdisjoint(record["made_by"])
                ]
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: the rows of the run cannot be read: {error}") from error
    return found


def read_losses(path: Path) -> Iterator[dict[str, Any]]:
    """The rows that a run rejected, say: each with row_id, roots, step and why.

    Raises:
        SourceError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: the losses of the run cannot be read: {error}") from error
