"""rows.parquet read back: the final rows of a run, in full and in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from synthkd.errors import SourceError
from synthkd.rows import Row


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
