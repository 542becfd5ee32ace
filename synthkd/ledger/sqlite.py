"""The default ledger: one SQLite file that serves all runs of a project, and several processes.

Three tables. `answers` is what was bought, `runs` what each run has spent, `holds` what is set
aside for the attempts that a run has in the air right now, as one sum for each process. Settling an
attempt takes it from that sum and adds to the run's totals in one transaction, so a kill at any
moment leaves either the hold or what was spent.

Writes are gathered into groups: whoever writes appends to a list and waits, one task takes the list
every few milliseconds and commits it in a thread. Reads are point look-ups on a connection of their
own and need no thread.

    ledger = open_ledger(".synthkd/ledger.sqlite")
    await ledger.store(entry)            # returns once it is durable
    ledger.find(entry.key)               # [entry]
    await ledger.close()
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import zstandard

from synthkd.errors import LedgerFailed, SynthkdError, UserError
from synthkd.ledger import Cost, Entry

SCHEMA_VERSION = 1
APPLICATION_ID = 0x73796E6B  # "synk": tells our file from any other SQLite file

GATHER_S = 0.005
"""How long a group of writes gathers. A request takes far longer, so nobody notices; each commit
costs about 0.2 ms, so at most a twentieth of the time goes into them."""

NO_LIMIT = -1
"""Stands for max_tokens = None, because NULLs never equal each other in a unique index."""

# `answers` keeps its rowid: WITHOUT ROWID was three times slower with bodies of 3 kB (0.058 ms a
# row against 0.019), because the bodies then live in the tree that is searched.
SCHEMA = """
create table answers (
  key blob not null,
  max_tokens integer not null,          -- -1 = no limit was given
  status integer not null,
  finish text not null,
  completion_tokens integer,            -- null = the provider did not say
  reply blob not null                   -- zstd
);
create unique index answers_by_question on answers (key, max_tokens);
create table runs (
  run_id text primary key,
  requests integer not null default 0,
  prompt_tokens integer not null default 0,
  completion_tokens integer not null default 0,
  nano_usd integer not null default 0,
  wall_s real not null default 0
);
create table holds (
  id integer primary key,
  run_id text not null,
  requests integer not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  nano_usd integer not null
);
"""

FIND = """
select rowid, max_tokens, status, finish, completion_tokens, reply from answers where key = ?
"""
# A refusal that is replaced goes to the end, so that no answer ever comes before one that was used.
STORE = "insert or replace into answers values (?, ?, ?, ?, ?, ?)"
HOLD = """
insert into holds values (?, ?, ?, ?, ?, ?) on conflict (id) do update set
  requests = requests + excluded.requests,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  nano_usd = nano_usd + excluded.nano_usd
"""
SPEND = """
insert into runs values (?, ?, ?, ?, ?, ?) on conflict (run_id) do update set
  requests = requests + excluded.requests,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  nano_usd = nano_usd + excluded.nano_usd,
  wall_s = wall_s + excluded.wall_s
"""
LEFT_OVER = """
select coalesce(sum(requests), 0), coalesce(sum(prompt_tokens), 0),
  coalesce(sum(completion_tokens), 0), coalesce(sum(nano_usd), 0) from holds where run_id = ?
"""
SPENT = "select requests, prompt_tokens, completion_tokens, nano_usd from runs where run_id = ?"

NOTHING = Cost()
T = TypeVar("T")


def open_ledger(url: str, durable: Literal["process", "power"] = "process") -> SqliteLedger:
    """Open the ledger that `--ledger` names: a path, or `sqlite:///path`.

    Raises:
        UserError: another kind of URL, or a file that cannot be used; the message says why.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return SqliteLedger(Path(url), durable)
    if scheme == "sqlite":
        return SqliteLedger(Path(rest.removeprefix("/")), durable)
    if scheme in {"postgres", "postgresql"}:
        raise UserError("a PostgreSQL ledger is not in this version: give the path of a file")
    raise UserError(f"{scheme}:// is no ledger: give the path of a file, or sqlite:///path")


@dataclass(slots=True)
class _Answer:
    """An answer to be stored; afterwards, the one that is."""

    entry: Entry


@dataclass(slots=True)
class _Group:
    """Writes that go into one transaction. Sums, so that a hundred attempts cost as much as one."""

    answers: list[_Answer] = field(default_factory=list)
    held: dict[str, Cost] = field(default_factory=dict)
    """Run id -> what to add to its holds; less than nothing when more is settled than held."""
    spent: dict[str, Cost] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.answers or self.held or self.spent or self.wall_s)


class SqliteLedger:
    """A ledger in one file. Many tasks of one event loop at a time may use it.

    Args:
        path: the file; it and its folder are made when missing, readable by the owner only.
        durable: what a returned write has survived: the death of the `process`, or a loss of
            `power` (a disk flush for every group of writes).
        busy_s: seconds to wait for another process that is writing.

    Raises:
        UserError: the file is no ledger, is broken, or was written by a newer synthkd.
    """

    def __init__(
        self,
        path: Path,
        durable: Literal["process", "power"] = "process",
        *,
        busy_s: float = 30.0,
    ) -> None:
        self.path = path
        self._busy_s = busy_s
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._writer = self._connect(durable)
            self._reader = self._connect(durable)
        except OSError as error:
            raise UserError(
                f"the ledger {path} cannot be opened: {error.strerror}. "
                f"Name another file with --ledger, or mend its permissions."
            ) from error
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._compress = zstandard.ZstdCompressor(level=3).compress
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._group = _Group()
        self._holders: dict[str, int] = {}
        """Run id -> its row of `holds` that is ours: several processes hold at once."""
        self._committing: asyncio.Task[None] | None = None
        self._broken: SynthkdError | None = None

    # ----------------------------------------------------------------------------- opening

    def _connect(self, durable: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
            connection.execute(f"pragma synchronous = {'full' if durable == 'power' else 'normal'}")
        except sqlite3.Error as error:
            connection.close()
            raise self._explain(error, UserError) from error
        except UserError:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables, unless they are there; refuse what is not ours."""
        if self._version_seen_at_once(connection) == 0:
            self._enter_wal(connection)
            connection.execute("begin immediate")  # of several processes, one makes the tables
            if self._version(connection) == 0:
                for statement in SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"pragma application_id = {APPLICATION_ID}")
                connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
            connection.execute("commit")
        version = self._version_seen_at_once(connection)
        if version > SCHEMA_VERSION:
            raise UserError(
                f"the ledger {self.path} has version {version}, this synthkd reads up to "
                f"{SCHEMA_VERSION}: update synthkd, or name another file with --ledger"
            )

    def _version_seen_at_once(self, connection: sqlite3.Connection) -> int:
        """The version, while another process may be making the tables.

        In one transaction: read one by one, the first mark may be from before and the second from
        after, and the file looks like somebody else's.
        """
        connection.execute("begin")
        try:
            return self._version(connection)
        finally:
            connection.execute("rollback")

    def _version(self, connection: sqlite3.Connection) -> int:
        application: int = connection.execute("pragma application_id").fetchone()[0]
        version: int = connection.execute("pragma user_version").fetchone()[0]
        tables: int = connection.execute("select count(*) from sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and (version or tables or application):
            raise UserError(
                f"{self.path} is an SQLite file, but no synthkd ledger: "
                f"name another file with --ledger"
            )
        return version

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging; it stays in the file.

        SQLite does not wait for others here, whatever the timeout, so we do.
        """
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                connection.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                if not _is(error, sqlite3.SQLITE_BUSY) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    # ----------------------------------------------------------------------------- reading

    def find(self, key: str) -> Sequence[Entry]:
        """Every stored answer to this question, oldest first, at whatever lengths it was asked."""
        try:
            return self._find(self._reader, key)
        except (sqlite3.Error, zstandard.ZstdError) as error:
            raise self._explain(error, LedgerFailed) from error

    def _find(self, connection: sqlite3.Connection, key: str) -> list[Entry]:
        rows = connection.execute(FIND, (bytes.fromhex(key),)).fetchall()
        if len(rows) > 1:  # rare: sorted here, it spares every query a sorter
            rows.sort()
        return [
            Entry(
                key=key,
                max_tokens=None if max_tokens == NO_LIMIT else max_tokens,
                status=status,
                finish=finish,
                completion_tokens=completion_tokens,
                reply=self._decompress(reply),
            )
            for _, max_tokens, status, finish, completion_tokens, reply in rows
        ]

    def knows(self, run_id: str) -> bool:
        """Whether the run was ever opened here."""
        try:
            query = "select 1 from runs where run_id = ?"
            return self._reader.execute(query, (run_id,)).fetchone() is not None
        except sqlite3.Error as error:
            raise self._explain(error, LedgerFailed) from error

    def wall_s(self, run_id: str) -> float:
        """Seconds that the run has taken over all its restarts, as far as they are durable."""
        try:
            query = "select wall_s from runs where run_id = ?"
            row = self._reader.execute(query, (run_id,)).fetchone()
        except sqlite3.Error as error:
            raise self._explain(error, LedgerFailed) from error
        return float(row[0]) if row else 0.0

    # ----------------------------------------------------------------------------- writing

    async def store(self, entry: Entry) -> Entry:
        """Keep an answer unless another would be found in its place; returns what will be found."""
        answer = _Answer(entry)
        self._group.answers.append(answer)
        await self._durable()
        return answer.entry

    async def open_run(self, run_id: str) -> Cost:
        """What this run has spent. Holds that a killed process left count as spent, for good."""
        await self.flush()
        return await self._in_thread(lambda: self._open_run(run_id))

    async def hold(self, run_id: str, worst: Cost) -> None:
        """Set aside the worst cost of an attempt; cancelled, nothing is set aside."""
        held = self._group.held
        held[run_id] = held.get(run_id, NOTHING) + worst
        try:
            await self._durable()
        except asyncio.CancelledError:
            self.settle(run_id, worst, NOTHING)  # the attempt never left
            raise

    def settle(self, run_id: str, worst: Cost, cost: Cost) -> None:
        """Release what was held and spend what it cost; queued, not awaited."""
        group = self._group
        group.held[run_id] = group.held.get(run_id, NOTHING) - worst
        group.spent[run_id] = group.spent.get(run_id, NOTHING) + cost
        self._start()

    def add_wall(self, run_id: str, seconds: float) -> None:
        """Add to the run's wall time; queued, not awaited."""
        self._group.wall_s[run_id] = self._group.wall_s.get(run_id, 0.0) + seconds
        self._start()

    async def flush(self) -> None:
        """Return once everything queued is durable.

        Raises:
            LedgerFailed: a write failed, now or before: what came after it is not kept.
        """
        if self._broken is not None or self._committing is not None:
            await self._durable()

    async def close(self) -> None:
        """Flush, and release the file."""
        try:
            await self.flush()
        finally:
            self._thread.shutdown()
            self._writer.close()
            self._reader.close()

    # ----------------------------------------------------------------------------- group commit

    def _start(self) -> None:
        if self._committing is None and self._broken is None:
            self._committing = asyncio.get_running_loop().create_task(self._commit_groups())

    async def _durable(self) -> None:
        """Return once everything queued up to now is committed."""
        if self._broken is not None:
            raise self._broken
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._group.waiters.append(waiter)
        self._start()
        await waiter

    async def _commit_groups(self) -> None:
        """Commit group after group until nothing is queued; a failed write reaches everyone."""
        try:
            while not self._group.empty or self._group.waiters:
                await asyncio.sleep(GATHER_S)
                group, self._group = self._group, _Group()
                await self._commit_one(group)
        except LedgerFailed as error:
            self._broken = error
        finally:
            self._committing = None

    async def _commit_one(self, group: _Group) -> None:
        try:
            await self._in_thread(functools.partial(self._commit, group))
        except BaseException as error:
            for waiter in group.waiters + self._group.waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            raise
        for waiter in group.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, zstandard.ZstdError) as error:
            raise self._explain(error, LedgerFailed) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("begin immediate")
        try:
            yield
            self._writer.execute("commit")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("rollback")
            raise

    def _commit(self, group: _Group) -> None:
        """In the writer's thread."""
        if group.empty:
            return
        if not self.path.exists():  # SQLite would go on writing into a file without a name
            raise LedgerFailed(
                f"the ledger {self.path} was taken away while it was in use: put it back; what was"
                " bought since cannot be kept"
            )
        with self._transaction():
            for answer in group.answers:
                self._keep(answer)
            write = self._writer.executemany
            write(HOLD, [(self._holder(run), run, *_columns(c)) for run, c in group.held.items()])
            write(SPEND, [(run, *_columns(cost), 0.0) for run, cost in group.spent.items()])
            write(SPEND, [(run, 0, 0, 0, 0, wall_s) for run, wall_s in group.wall_s.items()])

    def _keep(self, answer: _Answer) -> None:
        """In a transaction, so that of several processes one comes first."""
        entry = answer.entry
        for kept in self._find(self._writer, entry.key):
            if kept.status == 200 and kept.answers(entry.max_tokens):
                answer.entry = kept
                return
        values = (
            bytes.fromhex(entry.key),
            NO_LIMIT if entry.max_tokens is None else entry.max_tokens,
            entry.status,
            entry.finish,
            entry.completion_tokens,
            self._compress(entry.reply),
        )
        self._writer.execute(STORE, values)

    def _holder(self, run_id: str) -> int:
        return self._holders.setdefault(run_id, secrets.randbits(63))

    def _open_run(self, run_id: str) -> Cost:
        """In the writer's thread."""
        with self._transaction():
            left_over = self._writer.execute(LEFT_OVER, (run_id,)).fetchone()
            self._writer.execute(SPEND, (run_id, *left_over, 0.0))
            self._writer.execute("delete from holds where run_id = ?", (run_id,))
            spent = self._writer.execute(SPENT, (run_id,)).fetchone()
        requests, prompt_tokens, completion_tokens, nano_usd = spent
        return Cost(
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            nano_usd=nano_usd,
        )

    def _explain(self, error: Exception, kind: type[SynthkdError]) -> SynthkdError:
        """The same fault, with the file's name and the way out."""
        if _is(error, sqlite3.SQLITE_BUSY) or _is(error, sqlite3.SQLITE_LOCKED):
            why = (
                f"another process has kept it locked for {self._busy_s:g} s: "
                f"wait for it or end it, then run again"
            )
        elif _is(error, sqlite3.SQLITE_FULL):
            why = "the disk is full: make room and run again; everything stored so far is kept"
        elif (
            _is(error, sqlite3.SQLITE_NOTADB)
            or _is(error, sqlite3.SQLITE_CORRUPT)
            or isinstance(error, zstandard.ZstdError)
        ):
            why = (
                f"it is not a sound SQLite file ({error}): move it away, or rescue what is in it "
                f"with `sqlite3 {self.path} .recover`, or name another file with --ledger"
            )
        else:
            why = f"{error}: check that its folder exists and may be written, then run again"
        return kind(f"the ledger {self.path} cannot be used: {why}")


def _is(error: Exception, code: int) -> bool:
    """Whether the error has this primary code; extended codes keep it in the low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == code


def _columns(cost: Cost) -> tuple[int, int, int, int]:
    return cost.requests, cost.prompt_tokens, cost.completion_tokens, cost.nano_usd
