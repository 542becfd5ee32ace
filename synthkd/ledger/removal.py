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
from dataclasses import dataclass, replace
from pathlib import Path

import zstandard

from synthkd.errors import LedgerFailed, UserError
from synthkd.io.rows_file import ROWS, rows_made_by
from synthkd.ledger.codec import NO_DICTIONARY, packer, train
from synthkd.ledger.faults import is_fault
from synthkd.ledger.upkeep import FROM, Store, opened
from synthkd.ledger.where import Where

ALONE_S = 5.0
"""How long to wait for others to close the ledger."""
BATCH = 1_000

# The conditions are on `answers`: a letter looks like one that has no outcome yet.
LETTERS = """
select id, batch, asked, body from (
  select id, key, teacher, created_s, batch, asked, body, 0 as status, '' as finish from outbox
) as answers left join (select id as teacher_id, served_by, model from teachers)
  on teacher_id = answers.teacher where
"""
SPEND_LETTERS = """
update runs set
  requests = runs.requests + lost.requests,
  prompt_tokens = runs.prompt_tokens + lost.prompt_tokens,
  completion_tokens = runs.completion_tokens + lost.completion_tokens,
  nano_usd = runs.nano_usd + lost.nano_usd
from (
  select run_id, count(*) as requests, sum(prompt_tokens) as prompt_tokens,
    sum(completion_tokens) as completion_tokens, sum(nano_usd) as nano_usd
  from outbox where batch is not null and id in (select id from doomed_letters) group by run_id
) as lost where runs.run_id = lost.run_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """What would be taken out; their ids stand in the temporary table `doomed`."""

    entries: int
    stored_bytes: int
    letters: int = 0
    """Questions in the outbox; their ids stand in `doomed_letters`."""
    under_way: int = 0
    """... of which a provider has them."""


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


def doom_letters(store: Store, where: Where, doomed: Doomed) -> Doomed:
    """Find what is meant among the questions that wait in the outbox, too."""
    connection = store.connection
    connection.execute("create temp table if not exists doomed_letters (id integer primary key)")
    connection.execute("delete from doomed_letters")
    count = under_way = stored_bytes = 0
    for letter, batch, *bodies in connection.execute(LETTERS + where.sql, where.values):
        if where.words and not where.says(*map(zstandard.decompress, bodies)):
            continue
        connection.execute("insert into doomed_letters values (?)", (letter,))
        count += 1
        under_way += batch is not None
        stored_bytes += sum(map(len, bodies))
    return replace(
        doomed,
        letters=count,
        under_way=under_way,
        stored_bytes=doomed.stored_bytes + stored_bytes,
    )


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
        rows_file = Path(place) / ROWS
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
        _remove_letters(connection)
        for dictionary, first, last in _dictionaries_of_doomed(connection):
            _replace(store, dictionary, first, last)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    connection.execute("vacuum")
    return before - store.path.stat().st_size


def _remove_letters(connection: sqlite3.Connection) -> None:
    """Those that a provider has may be billed, so what is held for them is spent."""
    if not connection.execute(
        "select 1 from temp.sqlite_master where name = 'doomed_letters'"
    ).fetchone():
        return
    connection.execute(SPEND_LETTERS)
    # What a provider said may quote a question.
    connection.execute(
        "update batches set said = '' where id in"
        " (select batch from outbox where id in (select id from doomed_letters))"
    )
    connection.execute("delete from outbox where id in (select id from doomed_letters)")


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
