"""Values that stand beside a source by their position alone: shards of JSON arrays.

    source: {jsonl: cqa_train.json, beside: {completion: llm/train_CoT_*.json}}

So Distilling Step-by-Step (arXiv 2305.02301) lays out what its teacher wrote: the k-th value of all
shards together belongs to the k-th record of the dataset. Shards are in the order of the numbers in
their names. Nothing but the count says that they belong together: too few or too many end the
reading, and `import.audit` looks whether they agree with gold. One shard at a time is in memory.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from synthkd.errors import SourceChanged, SourceError
from synthkd.hints import near
from synthkd.io.formats import Reader, Record, Repairs, loaded
from synthkd.io.paths import places
from synthkd.rows import Json

MAX_SHARD_BYTES = 256 * 2**20
"""A shard is read whole; those of the published dumps have a few MB."""
_END = object()


def beside(reader: Reader, name: str, fields: Mapping[str, str], base: Path) -> Reader:
    """The reader, with a field more for each pattern of shards.

    Args:
        reader: of the dataset.
        name: of the source, for messages.
        fields: field -> path of a JSON array, or of several, with `*`.
        base: the pipeline file's folder.

    Raises:
        SourceError: no file has such a name, or the dataset has the field already.

    Reading raises SourceChanged where a shard is not what it was now.
    """
    shards = {field: find_shards(written, base) for field, written in fields.items()}
    _refuse_twins(name, fields, reader.columns or ())
    known = {path: _state(path) for paths in shards.values() for path in paths}

    def records(repairs: Repairs) -> Iterator[Record]:
        _check_unchanged(known)
        columns = {field: _values(paths, repairs) for field, paths in shards.items()}
        count = 0
        for number, record in reader.records(repairs):
            there = {field: next(values, _END) for field, values in columns.items()}
            for field, value in there.items():
                if value is _END:
                    raise _uneven(name, fields[field], shards[field], count, "more records")
            count += 1
            if isinstance(record, str):  # its place is taken all the same
                yield number, record
                continue
            _refuse_twins(name, there, record)
            yield number, {**record, **there}  # type: ignore[dict-item]  # none is _END
        for field, values in columns.items():
            if more := sum(1 for _ in values):
                told = f"{count:,} records"
                raise _uneven(name, fields[field], shards[field], count + more, told)

    columns = None if reader.columns is None else (*reader.columns, *fields)
    return replace(reader, columns=columns, records=records)


def _uneven(
    name: str, written: str, paths: Sequence[Path], values: int, records: str
) -> SourceError:
    files = f"{len(paths)} file{'s' * (len(paths) > 1)}"
    return SourceError(
        f"{name}: {written} ({files}) has {values:,} values in all, and the dataset has {records}:"
        " the k-th value is for the k-th record. Give the dataset that the dump was made of,"
        " unshuffled, and all of its shards"
    )


def find_shards(written: str, base: Path) -> list[Path]:
    """The files of a pattern, by the numbers in their names: 2 comes before 10.

    Raises:
        SourceError: there are none.
    """
    tried = places(written, base)
    for path in tried:
        if "*" not in path.name and path.is_file():
            return [path]
        if found := sorted(path.parent.glob(path.name), key=_by_number):
            return found
    siblings = [p.name for t in tried if t.parent.is_dir() for p in t.parent.iterdir()]
    hint = near(tried[0].name, siblings)
    raise SourceError(f"source.beside: {written}: no such file; looked for {_list(tried)}{hint}")


def _state(path: Path) -> tuple[int, ...] | None:
    """What the file is like; None = it is gone."""
    try:
        now = path.stat()
    except OSError:
        return None
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(number or -1), word) for number, word in re.findall(r"(\d+)|(\D+)", path.name)]


def _values(paths: Sequence[Path], repairs: Repairs) -> Iterator[Json]:
    return chain.from_iterable(_shard(path, repairs) for path in paths)


def _shard(path: Path, repairs: Repairs) -> Sequence[Json]:
    try:
        size = path.stat().st_size
        if size > MAX_SHARD_BYTES:
            raise SourceError(
                f"{path}: has {size >> 20} MiB, and a shard is read whole: divide it into files of"
                f" at most {MAX_SHARD_BYTES >> 20} MiB"
            )
        found = loaded(path.read_bytes().removeprefix(codecs.BOM_UTF8), repairs)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: is no JSON array in UTF-8: byte {error.start + 1:,} is none of it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is no JSON array: {error}") from error
    if not isinstance(found, list):
        raise SourceError(
            f"{path}: is no JSON array but {type(found).__name__}: source.beside reads"
            " [value, value, ...], one value for each record"
        )
    return found


def _refuse_twins(
    name: str, fields: Iterable[str], record: Mapping[str, Json] | Sequence[str]
) -> None:
    for field in fields:
        if field in record:
            raise SourceError(
                f"{name}: has a field {field!r} already: give source.beside another name for it"
            )


def _check_unchanged(known: Mapping[Path, tuple[int, ...] | None]) -> None:
    for path, state in known.items():
        if _state(path) != state:
            raise SourceChanged(
                f"{path}: was changed while the run read it, so its values do not add up. What was"
                " paid for is kept: leave the file alone, and run again"
            )


def _list(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
