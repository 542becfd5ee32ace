"""Which rows are shown: drawn uniformly, without replacement, the same for every reviewer.

The order is that of SHA-256(seed, id): a random order that nobody has chosen, in which each
reviewer goes as far as he likes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from synthkd.audit.labels import Side
from synthkd.config import SourceConfig
from synthkd.errors import SourceError
from synthkd.io.rows_file import REJECTED, ROWS, read_losses, read_rows, row_ids
from synthkd.io.sources import SourceRow, open_source
from synthkd.manifest import Manifest
from synthkd.rows import Fields, canonical

AT_ONCE = 200
"""Rows that are fetched from the file in one pass: more than anybody labels at a sitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A row as a reviewer sees it."""

    side: Side
    key: str
    fields: Fields
    why: str = ""
    """Of a rejected row: by which step and for what."""


class Sample:
    """The rows of a run in the order in which they are drawn."""

    def __init__(self, folder: Path, manifest: Manifest, seed: int) -> None:
        self._folder = folder
        self._manifest = manifest
        self.kept = _drawn(row_ids(folder / ROWS), seed)
        """Ids of the kept rows, as drawn."""
        self._losses = {_key(loss): loss for loss in read_losses(folder / REJECTED)}
        self.rejected = _drawn(self._losses, seed)
        """Keys of the rejected rows, as drawn."""

    def kept_rows(self, skip: Set[str] = frozenset()) -> Iterator[Shown]:
        """The kept rows as drawn, without those that are skipped; fetched when they are wanted.

        Raises:
            SourceError: the rows cannot be read any more, or are others by now.
        """
        left = (row_id for row_id in self.kept if row_id not in skip)
        while wanted := list(islice(left, AT_ONCE)):
            places = set(wanted)
            found = {
                row.id: row.fields for row in read_rows(self._folder / ROWS) if row.id in places
            }
            if len(found) < len(places):
                raise SourceError(f"{self._folder}: was run again meanwhile: audit the new rows")
            yield from (Shown(side="kept", key=key, fields=found[key]) for key in wanted)

    def rejected_rows(self, skip: Set[str] = frozenset()) -> Iterator[Shown]:
        """The rejected rows as drawn: what the source had, and why it was not kept.

        Raises:
            SourceError: the source cannot be read any more.
        """
        left = (key for key in self.rejected if key not in skip)
        while wanted := list(islice(left, AT_ONCE)):
            losses = {key: self._losses[key] for key in wanted}
            source = self._source_fields({loss["roots"][0] for loss in losses.values()})
            for key, loss in losses.items():
                detail = f" ({loss['detail']})" if loss["detail"] else ""
                yield Shown(
                    side="rejected",
                    key=key,
                    fields=source.get(loss["roots"][0], {}),
                    why=f"{loss['step']}: {loss['reason']}{detail}",
                )

    def _source_fields(self, wanted: set[str]) -> dict[str, Fields]:
        config = SourceConfig.model_validate(self._manifest.config["source"])
        source = open_source(config, base=Path(self._manifest.pipeline).parent)
        found: dict[str, Fields] = {}
        for record in source.read():
            if isinstance(record, SourceRow) and record.row.id in wanted:
                found[record.row.id] = record.row.fields
        return found


def _drawn(keys: Iterator[str] | Mapping[str, Any], seed: int) -> list[str]:
    def place(key: str) -> bytes:
        return hashlib.sha256(canonical([seed, key])).digest()

    return sorted(keys, key=place)


def _key(loss: Mapping[str, Any]) -> str:
    return f"{loss['row_id']} {loss['step']}"
