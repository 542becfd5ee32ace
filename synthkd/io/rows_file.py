"""rows.parquet: the final rows of a run, in full and in order; written, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from synthkd.errors import SourceError
from synthkd.io.columns import json_text
from synthkd.io.exports import write_records
from synthkd.rows import Row


def write_rows(rows: Iterable[Row], path: Path) -> int:
    """Write rows in full to a Parquet file; returns their number.

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
    records = (
        {
            "id": row.id,
            "order": row.order,
            "roots": row.roots,
            "made_by": row.made_by,
            "fields": json_text(row.fields),
        }
        for row in rows
    )
    return write_records(path, schema, records)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows that `write_rows` wrote, batch by batch.

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
