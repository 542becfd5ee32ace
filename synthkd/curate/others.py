"""Texts of other files: datasets that rows are compared with, benchmarks that rows must not hold.

    against: [{jsonl: old.jsonl, field: question}, {parquet: test.parquet, fields: [q, options]}]

They are looked at when the plan is compiled, before anything is spent, and read as a stream when
their step runs. A record without the field is skipped; a file in which none has it is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pydantic import model_validator

from synthkd.config import SourceConfig
from synthkd.curate.texts import FieldOrFields, text_or_none
from synthkd.errors import SourceError, UserError
from synthkd.hints import near
from synthkd.io.sources import Source, SourceRow, Unreadable, open_source
from synthkd.rows import Fields

HEAD = 1_000
"""Records that are looked at for their fields, in a format that has no columns."""


class OtherData(FieldOrFields):
    """A file with texts, and which of its fields they are."""

    jsonl: str | None = None
    """A path; relative ones are looked for beside the pipeline file too, as `source` does."""
    csv: str | None = None
    """As `jsonl`; or .tsv."""
    parquet: str | None = None
    """As `jsonl`."""
    name: str | None = None
    """What details and figures call it; by default the file's name."""

    @property
    def called(self) -> str:
        """The name in details and figures."""
        return self.name or Path(self.jsonl or self.csv or self.parquet or "").name

    @model_validator(mode="after")
    def _one_of_each(self) -> OtherData:
        if sum(path is not None for path in (self.jsonl, self.csv, self.parquet)) != 1:
            raise ValueError("must name exactly one of jsonl, csv, parquet")
        return self

    def faults_at(self, setting: str, folder: Path) -> Iterator[str]:
        """What is wrong with the file as far as its head shows; see `StepSettings.faults`."""
        try:
            self._opened(folder)
        except UserError as error:
            yield f"{setting}: {error}"

    def texts(self, folder: Path) -> Iterator[tuple[int, str | None]]:
        """Each record's number, from 1, and its text; None = it has none.

        Args:
            folder: the pipeline file's; relative paths are looked for there too.

        Raises:
            SourceError: the file is missing or unreadable, or has no such field.
        """
        for number, fields in self.records(folder):
            yield number, text_or_none(fields, self.all_fields)

    def records(self, folder: Path) -> Iterator[tuple[int, Fields]]:
        """Each record's number, from 1, and its fields; none of one that cannot be read.

        Args:
            folder: as of `texts`.

        Raises:
            SourceError: as of `texts`.
        """
        for number, record in enumerate(self._opened(folder).read(), start=1):
            yield number, _fields(record)

    def _opened(self, folder: Path) -> Source:
        config = SourceConfig(jsonl=self.jsonl, csv=self.csv, parquet=self.parquet)
        source = open_source(config, base=folder)
        there = source.columns
        if there is None:
            head = [_fields(record) for record in islice(source.read(), HEAD)]
            there = tuple(dict.fromkeys(name for fields in head for name in fields))
        for name in self.all_fields:
            if name not in there:
                raise SourceError(
                    f"{self.called} has no field {name!r}{near(name, there)}; its fields are: "
                    f"{', '.join(there) or 'none, it is empty'}"
                )
        return source


def _fields(record: SourceRow | Unreadable) -> Fields:
    return record.row.fields if isinstance(record, SourceRow) else {}
