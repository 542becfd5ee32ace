"""One look at the whole source before anything is spent: rows, fields, no id twice, gold."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from synthkd.account import Account, Side
from synthkd.config import SourceConfig
from synthkd.errors import Interrupted, UnreadableRow
from synthkd.flow import from_thread
from synthkd.io.sources import Source, SourceRow, Unreadable
from synthkd.manifest import Counts
from synthkd.rows import Row

BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the source holds."""

    columns: tuple[str, ...]
    """Every field that some row has."""
    sides: Mapping[str, int]
    """Rows to read (`train`), and held-out rows by `dev` and `test`."""
    unreadable: int
    """Records that are no rows; they count as read and failed."""
    skipped: int
    """Rows that `where` left out."""
    repairs: Mapping[str, int]
    """Values that had to be mended to be JSON."""

    @property
    def read(self) -> int:
        """Rows that the account starts from."""
        return self.sides.get("train", 0) + self.unreadable

    @property
    def held_out(self) -> dict[str, int]:
        """Rows set aside, by side."""
        return {side: n for side, n in sorted(self.sides.items()) if side != "train"}

    def complete(self, counts: Counts) -> Counts:
        """The account's counts, with what only the survey knows."""
        return counts.model_copy(update={"skipped": self.skipped, "repaired": dict(self.repairs)})


Check = Callable[[Row, Side], None]
"""Raises UserError for a row that cannot be used on its side."""


def survey(
    source: Source,
    config: SourceConfig,
    account: Account | None = None,
    check: Check | None = None,
    left: Callable[[], bool] = lambda: False,
) -> Survey:
    """Read the source to its end.

    Args:
        source: opened; reading it again later gives the same rows.
        config: its block of the pipeline file.
        account: written into, where there is one.
        check: shown every row.
        left: asked now and then whether the survey is still wanted.

    Raises:
        Interrupted: it is not.
        UserError: `check` says so.
        SourceError: it cannot be read, or two rows share an id.
        TooManyLost: too many records are no rows.
    """
    columns: dict[str, None] = dict.fromkeys(source.columns or ())
    sides: Counter[str] = Counter()
    unreadable = 0
    found = source.read()
    while batch := list(islice(found, BATCH)):
        if left():
            raise Interrupted("interrupted while the source was looked through")
        rows: list[tuple[int, str, Side]] = []
        for record in batch:
            if isinstance(record, Unreadable):
                unreadable += 1
                if account is not None:
                    account.unreadable(record.ordinal, record.id, UnreadableRow(record.message))
            else:
                row, side = record
                if check is not None:
                    check(row, side)
                if not columns.keys() >= row.fields.keys():
                    columns |= dict.fromkeys(row.fields)
                sides[side] += 1
                rows.append((row.order[0], row.id, side))
        if account is not None:
            account.enter(rows)
    if account is not None:
        account.close_entry(config.id)
    return Survey(
        columns=tuple(columns),
        sides=sides,
        unreadable=unreadable,
        skipped=source.skipped,
        repairs=dict(source.repairs),
    )


def rows_of(source: Source, side: Side) -> AsyncGenerator[list[Row], None]:
    """The rows of one side, in batches."""

    def read() -> Iterator[Row]:
        for record in source.read():
            if isinstance(record, SourceRow) and record.split == side:
                yield record.row

    return from_thread(read())
