"""Taking entries out of a ledger: `prune` for room, `erase` for good.

Both need the ledger for themselves, because other processes know its dictionaries by heart, and a
log that they read from could not be emptied. Both end with a file that is written anew.

An erasure leaves nothing of an entry in the file: neither in free pages, nor in the log, nor in a
dictionary that was learnt from it. What it cannot reach is named instead: the datasets that rows
of it are in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthkd.errors import LedgerFailed, UserError
from synthkd.io.rows_file import rows_made_by
from synthkd.ledger.codec import NO_DICTIONARY, packer, train
from synthkd.ledger.faults import is_fault
from synthkd.ledger.upkeep import FROM, Store, opened
from synthkd.ledger.where import Where

ALONE_S = 5.0
"""How long to wait for others to close the ledger."""
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """What would be taken out; their ids stand in the temporary table `doomed`."""

    entries: int
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A dataset that was made of an entry."""

    folder: str
    rows: list[str]
    """Ids of the rows."""


@contextmanager
def alone(path: Path) -> Iterator[Store]:
    """Open a ledger that no other process has open, and keep it so.

    Raises:
        LedgerFailed: another process has it open.
    """
    with opened(path, busy_s=ALONE_S) as store:
        try:
            store.connection.execute("pragma journal_mode = delete")  # empties the log, too
        except sqlite3.OperationalError as error:
            if not is_fault(error, sqlite3.SQLITE_BUSY):
                raise
            raise LedgerFailed(
                f"the ledger {path} is open in another process, and entries can be taken out only "
                f"while none has it: wait for it or end it, then do this again. Nothing was changed"
            ) from error
        try:
            yield store
        finally:
            store.connection.execute("pragma journal_mode = wal")


def doom(store: Store, where: Where) -> Doomed:
    """Find what is meant; nothing is taken out yet."""
    connection = store.connection
    connection.execute("create temp table if not exists doomed (id integer primary key)")
    connection.execute("delete from doomed")
    count = stored_bytes = 0
    query = f"select answers.id, dictionary, reply, asked{FROM}{where.sql}"
    for row, dictionary, *bodies in connection.execute(query, where.values):
        if where.words:
            unpack = store.codec.unpack[dictionary]
            if not where.says(*(body and unpack(body) for body in bodies)):
                continue
        connection.execute("insert into doomed values (?)", (row,))
        count += 1
        stored_bytes += sum(len(body or b"") for body in bodies)
    return Doomed(entries=count, stored_bytes=stored_bytes)


def datasets_of(store: Store, folders: Iterable[Path]) -> tuple[list[Used], list[str]]:
    """The datasets that were made of what is doomed.

    Args:
        store: after `doom`.
        folders: run folders to look into, besides those that runs of this ledger write to.

    Returns:
        The datasets, and the folders of runs that are not there any more: moved, or removed.

    Raises:
        SourceError: a dataset cannot be read.
    """
    query = "select distinct key from answers where id in (select id from doomed)"
    keys = {key.hex() for (key,) in store.connection.execute(query)}
    noted = store.connection.execute("select folder from runs where folder is not null")
    places = {str(path.resolve()) for path in folders} | {folder for (folder,) in noted}
    used, gone = [], []
    for place in sorted(places):
        rows_file = Path(place) / "rows" / "rows.parquet"
        if rows_file.exists():
            if rows := rows_made_by(rows_file, keys):
                used.append(Used(folder=place, rows=rows))
        elif not Path(place).exists():
            gone.append(place)
    return used, gone


def remove(store: Store) -> int:
    """Take out what is doomed, and write the file anew; returns the bytes that this freed.

    Raises:
        UserError: not opened by `alone`.
    """
    connection = store.connection
    if connection.execute("pragma journal_mode").fetchone() == ("wal",):
        raise UserError(f"the ledger {store.path} must be opened alone to take entries out of it")
    before = store.path.stat().st_size
    connection.execute("pragma secure_delete = on")
    connection.execute("begin immediate")
    try:
        connection.execute("delete from answers where id in (select id from doomed)")
        for dictionary, first, last in _dictionaries_of_doomed(connection):
            _replace(store, dictionary, first, last)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    connection.execute("vacuum")
    return before - store.path.stat().st_size


def _dictionaries_of_doomed(connection: sqlite3.Connection) -> list[tuple[int, int, int]]:
    """The dictionaries that may hold pieces of what is doomed."""
    return connection.execute(
        "select id, first_answer, last_answer from dictionaries where exists"
        " (select 1 from doomed where doomed.id between first_answer and last_answer)"
    ).fetchall()


def _replace(store: Store, dictionary: int, first: int, last: int) -> None:
    """Learn the dictionary anew from what is left of its samples, and pack its entries with it."""
    connection, codec = store.connection, store.codec
    _, _, bodies = codec.samples(first, last)
    learnt = train(bodies)
    if learnt is not None:
        codec.keep(learnt, first, last)
    newest, pack = (NO_DICTIONARY, packer(None)) if learnt is None else (codec.newest, codec.pack)
    unpack = codec.unpack[dictionary]
    done = 0
    while rows := connection.execute(
        "select id, reply, asked from answers where dictionary = ? and id > ? order by id limit ?",
        (dictionary, done, BATCH),
    ).fetchall():
        connection.executemany(
            "update answers set dictionary = ?, reply = ?, asked = ? where id = ?",
            [
                (newest, pack(unpack(reply)), asked and pack(unpack(asked)), row)
                for row, reply, asked in rows
            ],
        )
        done = rows[-1][0]
    connection.execute("delete from dictionaries where id = ?", (dictionary,))
    codec.renew()
