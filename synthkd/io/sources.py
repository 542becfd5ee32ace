"""Where rows come from: finds the file, reads records, filters them, gives ids and sides.

    source = open_source(config, base=pipeline_folder)
    for record in source.read():            # again from the beginning at each call
        match record:
            case SourceRow(row=row, split="train"): ...
            case Unreadable(message=message): ...

Every record has an ordinal, those that are filtered out included: ids by ordinal and the order
stay when `where` or `limit` change. Of a record go first `where`, then `limit`, then the holdout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from synthkd.config import HoldoutConfig, SourceConfig
from synthkd.errors import SourceChanged, SourceError
from synthkd.hints import near
from synthkd.io.beside import beside
from synthkd.io.formats import Reader, csv_reader, hf_reader, jsonl_reader, parquet_reader
from synthkd.io.paths import expanded, find_file, places
from synthkd.rows import Fields, Json, Row, canonical, digest, source_row
from synthkd.text import normalised

Split = Literal["train", "dev", "test"]


class SourceRow(NamedTuple):
    """A record that is a row."""

    row: Row
    split: Split
    """train, or the side that it is held out for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record that is no row: it fails, and the others go on."""

    ordinal: int
    id: str
    """Of its own kind: no row has it, readable or not."""
    message: str
    """The place, such as `tickets.jsonl line 17`, and what is wrong."""


class Source:
    """An input, opened; see `open_source`."""

    def __init__(self, config: SourceConfig, name: str, reader: Reader) -> None:
        self.name = name
        self.columns = reader.columns
        """Fields that every row has; None = known only by reading."""
        self.repairs: dict[str, int] = {}
        """Values that were mended by the latest `read`, see `synthkd.rows.clean`."""
        self.skipped = 0
        """Rows that `where` left out in the latest `read`."""
        self._config = config
        self._reader = reader
        self._state: tuple[int, ...] | None = None
        """What the file was like when it was first read."""
        by = config.holdout.by if config.holdout else []
        self._required = [("id", n) for n in config.id] + [("holdout.by", n) for n in by]
        """(setting, field) of what every row must have."""
        # CSV has only text, so numbers and booleans are compared as they are written there.
        self._where = {
            field: _as_cell(value) if config.kind == "csv" else value
            for field, value in config.where.items()
        }

    def read(self) -> Iterator[SourceRow | Unreadable]:
        """The records that `where` and `limit` leave, from the beginning.

        Raises:
            SourceError: the input is damaged or cut, or no record has a field that `where` names.
            SourceChanged: it is not what it was when it was first read.
        """
        self._check_unchanged()
        yield from self._read()
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        """Rows that are not those of the first look were not checked, and do not add up."""
        if self._reader.file is None:
            return
        try:
            now = self._reader.file.stat()
        except OSError as error:
            raise SourceChanged(
                f"{self._reader.file}: was there when the run began and cannot be read any more:"
                f" {error.strerror}. What was paid for is kept: put it back, then run again"
            ) from error
        state = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        if self._state not in {None, state}:
            raise SourceChanged(
                f"{self._reader.file}: was changed while the run read it, so its rows do not add"
                " up. What was paid for is kept: leave the file alone, or read a copy of it, and"
                " run again"
            )
        self._state = state

    def _read(self) -> Iterator[SourceRow | Unreadable]:
        self.repairs, self.skipped = {}, 0
        given, missing = 0, set(self._where)
        absent, known = {name for _, name in self._required}, set[str]()
        records = self._reader.records(self.repairs)
        for ordinal, (number, found) in enumerate(records):
            if isinstance(found, str):
                record: SourceRow | Unreadable = self._unreadable(ordinal, number, found)
            else:
                if absent:
                    absent.difference_update(found)
                    known.update(found)
                if self._where:
                    missing.difference_update(found)
                    if not self._matches(found):
                        self.skipped += 1
                        continue
                record = self._record(ordinal, number, found)
            yield record
            given += 1
            if given == self._config.limit:
                break
        if absent and known:
            name = min(absent)
            raise SourceError(
                f"{self.name}: no row has the field {name!r}, which source.id or source.holdout.by"
                f" names{near(name, known)}"
            )
        if missing and self.skipped and not given:
            names = ", ".join(map(repr, sorted(missing)))
            raise SourceError(f"{self.name}: no row has the field {names} that source.where names")

    def _matches(self, fields: Fields) -> bool:
        for field, wanted in self._where.items():
            value = fields.get(field)
            # Python holds True for equal to 1; JSON does not.
            if value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
                return False
        return True

    def _record(self, ordinal: int, number: int, fields: Fields) -> SourceRow | Unreadable:
        config = self._config
        for setting, name in self._required:
            if fields.get(name) is None:
                fault = f"has no {name!r}, which source.{setting} names"
                return self._unreadable(ordinal, number, fault)
        ids: Sequence[Json] = [fields[name] for name in config.id] or ["#", ordinal]
        row = source_row(self.name, ids, ordinal=ordinal, fields=fields)
        if config.holdout is None:
            return SourceRow(row, "train")
        return SourceRow(row, side_of([fields[n] for n in config.holdout.by], config.holdout))

    def _unreadable(self, ordinal: int, number: int, fault: str) -> Unreadable:
        place = f"{self.name} {self._reader.unit} {number}"
        # Ids of rows are made from a list: one made from an object is none of them.
        row_id = digest(self.name, {"unreadable": ordinal})
        return Unreadable(ordinal=ordinal, id=row_id, message=f"{place}: {fault}")


def open_source(config: SourceConfig, *, base: Path) -> Source:
    """Find the input and look at its head.

    Args:
        config: the `source` block.
        base: the pipeline file's folder, where relative paths are looked for after the current one.

    Raises:
        SourceError: it is missing, of another format, or lacks a column that the settings name.
    """
    if config.kind == "hf":
        place = _hf_place(config.path, base)
        name = config.name or (place.name if isinstance(place, Path) else place)
        reader = hf_reader(config, place)
    else:
        path = find_file(config.path, base)
        name = config.name or path.name
        readers = {"jsonl": jsonl_reader, "csv": csv_reader, "parquet": parquet_reader}
        reader = readers[config.kind](path)
    if config.beside:
        reader = beside(reader, name, config.beside, base)
    _check_columns(config, name, reader.columns)
    return Source(config, name, reader)


def side_of(values: Iterable[Json], holdout: HoldoutConfig | None) -> Split:
    """The side on which rows with these values fall: a function of nothing else, not even the seed.

    SHA-256 spreads them evenly over [0, 1): dev has the beginning, test follows, train the rest.
    Texts that differ in case or white space alone fall on one side, or the same message could be
    trained on and tested on.
    """
    if holdout is None:
        return "train"
    compared = [normalised(value) if isinstance(value, str) else value for value in values]
    hashed = hashlib.sha256(canonical(compared)).digest()
    share = int.from_bytes(hashed[:8]) / 2**64
    if share < holdout.dev:
        return "dev"
    return "test" if share < holdout.dev + holdout.test else "train"


def _hf_place(written: str, base: Path) -> Path | str:
    """A folder if there is one, else a name on the hub."""
    return next((path for path in places(written, base) if path.is_dir()), expanded(written))


def _check_columns(config: SourceConfig, name: str, columns: Sequence[str] | None) -> None:
    if columns is None:
        return
    by = config.holdout.by if config.holdout else []
    for setting, fields in (("id", config.id), ("where", config.where), ("holdout.by", by)):
        for field in fields:
            if field not in columns:
                hint = near(field, columns) or f"; it has {', '.join(columns)}"
                raise SourceError(
                    f"{name}: has no column {field!r}, which source.{setting} names{hint}"
                )


def _as_cell(value: str | float | bool | None) -> str:
    """How the value is written in CSV."""
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical(value).decode()
