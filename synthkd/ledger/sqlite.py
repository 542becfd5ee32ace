"""The default ledger: one SQLite file that serves all runs of a project, and several processes.

Its tables are in `synthkd.ledger.schema`. Settling an attempt takes it from what is held and adds
to the run's totals in one transaction, so a kill at any moment leaves either the hold or what was
spent.

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
from typing import TypeVar

from synthkd.errors import LedgerFailed, SynthkdError
from synthkd.io.lock import locked
from synthkd.io.paths import ledger_path
from synthkd.ledger import Cost, Entry, Question
from synthkd.ledger.ahead import ReadAhead
from synthkd.ledger.codec import Codec
from synthkd.ledger.faults import Faults, explain
from synthkd.ledger.place import make_private
from synthkd.ledger.schema import NO_LIMIT, Durable, connect
from synthkd.ledger.sqlite_outbox import SqliteOutbox

GATHER_S = 0.005
"""How long a group of writes gathers. A request takes far longer, so nobody notices; each commit
costs about 0.2 ms, so at most a twentieth of the time goes into them."""

FIRST_LOOK = 500
"""Answers that a process stores before it looks whether a new dictionary pays; again at ten times
as many, and so on, as what is asked may have changed. A look takes 0.1 s."""

FIND = """
select id, max_tokens, status, finish, completion_tokens, dictionary, reply from answers
where substr(key, 1, 6) = substr(?1, 1, 6) and key = ?1 order by id
"""
STORE = """
insert into answers (key, max_tokens, status, finish, completion_tokens, created_s, teacher,
  dictionary, reply, asked) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
HOLD = """
insert into holds values (?, ?, ?, ?, ?, ?) on conflict (id) do update set
  requests = requests + excluded.requests,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  nano_usd = nano_usd + excluded.nano_usd
"""
SPEND = """
insert into runs (run_id, requests, prompt_tokens, completion_tokens, nano_usd, wall_s)
values (?, ?, ?, ?, ?, ?) on conflict (run_id) do update set
  requests = requests + excluded.requests,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  nano_usd = nano_usd + excluded.nano_usd,
  wall_s = wall_s + excluded.wall_s
"""
NOTE = """
insert into runs (run_id, folder) values (?, ?)
on conflict (run_id) do update set folder = excluded.folder
"""
TEACHER = "insert or ignore into teachers (served_by, model) values (?, ?)"
LEFT_OVER = """
select coalesce(sum(requests), 0), coalesce(sum(prompt_tokens), 0),
  coalesce(sum(completion_tokens), 0), coalesce(sum(nano_usd), 0) from holds where run_id = ?
"""
SPENT = "select requests, prompt_tokens, completion_tokens, nano_usd from runs where run_id = ?"

NOTHING = Cost()
T = TypeVar("T")


def open_ledger(url: str, durable: Durable = "process") -> SqliteLedger:
    """Open the ledger that `--ledger` names: a path, or `sqlite:///path`.

    Raises:
        UserError: another kind of URL, or a file that cannot be used; the message says why.
    """
    return SqliteLedger(ledger_path(url), durable)


@dataclass(slots=True)
class _Answer:
    """An answer to be stored; afterwards, the one that is."""

    entry: Entry
    question: Question | None


@dataclass(slots=True)
class _Group:
    """Writes that go into one transaction. Sums, so that a hundred attempts cost as much as one."""

    answers: list[_Answer] = field(default_factory=list)
    held: dict[str, Cost] = field(default_factory=dict)
    """Run id -> what to add to its holds; less than nothing when more is settled than held."""
    spent: dict[str, Cost] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    jobs: list[Callable[[sqlite3.Connection], None]] = field(default_factory=list)
    """Of the outbox."""
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        written = self.answers or self.held or self.spent or self.wall_s or self.folders
        return not (written or self.jobs)


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
        durable: Durable = "process",
        *,
        busy_s: float = 30.0,
    ) -> None:
        self.path = path
        self._busy_s = busy_s
        make_private(path)
        try:
            with contextlib.ExitStack() as opened:
                self._writer = connect(path, durable=durable, busy_s=busy_s)
                opened.callback(self._writer.close)
                self._codec = Codec(self._writer)
                self._reader = connect(path, durable=durable, busy_s=busy_s)
                opened.callback(self._reader.close)
                # A second one: the reader works in the event loop and the writer in a thread.
                self._unpack = Codec(self._reader).unpack
                opened.pop_all()
        except Faults as error:
            raise explain(error, path, busy_s=busy_s, opening=True) from error
        self._select = self._reader.execute
        self._ahead = ReadAhead(self._select)
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._group = _Group()
        self._holders: dict[str, int] = {}
        """Run id -> its row of `holds` that is ours: several processes hold at once."""
        self._teachers: dict[tuple[str, str], int] = {}
        """(served_by, model) -> its row of `teachers`."""
        self._stored = 0
        self._next_look = FIRST_LOOK
        self._committing: asyncio.Task[None] | None = None
        self._broken: SynthkdError | None = None
        self.outbox = SqliteOutbox(
            self._reader,
            self._do,
            keep=lambda entry, question: self._keep(_Answer(entry, question)),
            answered=self._answered,
            teacher=self._teacher,
            spend=self._spend,
            explained=self._failed,
        )
        """Questions that go out in batches."""

    # ----------------------------------------------------------------------------- reading

    def find(self, key: str) -> Sequence[Entry]:
        """Every stored answer to this question, oldest first, at whatever lengths it was asked."""
        # Spelled out, without a call that could be saved: it is what a replay does most.
        try:
            raw = bytes.fromhex(key)
            ahead = self._ahead.take(raw)
            rows = self._select(FIND, (raw,)).fetchall() if ahead is None else (ahead,)
            if rows and ahead is None:
                self._ahead.found(rows[-1][0])
            unpack = self._unpack
            return [
                Entry(
                    key,
                    None if limit == NO_LIMIT else limit,
                    status,
                    finish,
                    tokens,
                    unpack[dictionary](reply),
                )
                for _, limit, status, finish, tokens, dictionary, reply in rows
            ]
        except Faults as error:
            raise self._failed(error) from error

    def knows(self, run_id: str) -> bool:
        """Whether the run was ever opened here."""
        try:
            query = "select 1 from runs where run_id = ?"
            return self._reader.execute(query, (run_id,)).fetchone() is not None
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def wall_s(self, run_id: str) -> float:
        """Seconds that the run has taken over all its restarts, as far as they are durable."""
        try:
            query = "select wall_s from runs where run_id = ?"
            row = self._reader.execute(query, (run_id,)).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return float(row[0]) if row else 0.0

    # ----------------------------------------------------------------------------- writing

    async def store(self, entry: Entry, question: Question | None = None) -> Entry:
        """Keep an answer unless another would be found in its place; returns what will be found."""
        answer = _Answer(entry, question)
        self._ahead.forget(bytes.fromhex(entry.key))
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

    def note_folder(self, run_id: str, folder: str) -> None:
        """Remember where the run writes; queued, not awaited."""
        self._group.folders[run_id] = folder
        self._start()

    async def _do(self, job: Callable[[sqlite3.Connection], None]) -> None:
        self._group.jobs.append(job)
        await self._durable()

    def alone(self, run_id: str) -> contextlib.AbstractContextManager[None]:
        """Be the only process that works for a run; BlockingIOError where another one does."""
        return locked(Path(f"{self.path}.{run_id}.lock"), os.O_CREAT | os.O_RDWR)

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
        if self._stored >= self._next_look:
            self._next_look *= 10
            await self._in_thread(self._learn)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Faults as error:
            raise self._failed(error) from error

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
            write(NOTE, group.folders.items())
            for job in group.jobs:
                job(self._writer)
        self._stored += len(group.answers)

    def _learn(self) -> None:
        """In the writer's thread."""
        with self._transaction():
            self._codec.learn()

    def _keep(self, answer: _Answer) -> None:
        """In a transaction, so that of several processes one comes first."""
        entry = answer.entry
        key = bytes.fromhex(entry.key)
        refusals = []
        for row, kept in self._kept(entry.key, key):
            if kept.status == 200 and kept.answers(entry.max_tokens):
                answer.entry = kept
                return
            if kept.max_tokens == entry.max_tokens:
                refusals.append((row,))
        # A refusal gives way. The new answer goes to the end, so that no answer ever comes before
        # one that was used.
        self._writer.executemany("delete from answers where id = ?", refusals)
        question = answer.question
        self._writer.execute(
            STORE,
            (
                key,
                NO_LIMIT if entry.max_tokens is None else entry.max_tokens,
                entry.status,
                entry.finish,
                entry.completion_tokens,
                int(time.time()),
                None if question is None else self._teacher(question.served_by, question.model),
                self._codec.newest,
                self._codec.pack(entry.reply),
                None if question is None else self._codec.pack(question.asked),
            ),
        )

    def _answered(self, key: str, max_tokens: int | None) -> bool:
        """In a transaction: whether there is an answer that asking today would give."""
        kept = (entry for _, entry in self._kept(key, bytes.fromhex(key)))
        return any(entry.status == 200 and entry.answers(max_tokens) for entry in kept)

    def _kept(self, text: str, key: bytes) -> Iterator[tuple[int, Entry]]:
        """What there is for this key, with the id of each."""
        unpack = self._codec.unpack
        rows = self._writer.execute(FIND, (key,)).fetchall()
        for row, limit, status, finish, tokens, dictionary, reply in rows:
            asked_for = None if limit == NO_LIMIT else limit
            yield row, Entry(text, asked_for, status, finish, tokens, unpack[dictionary](reply))

    def _teacher(self, served_by: str, model: str) -> int:
        who = (served_by, model)
        if who not in self._teachers:
            self._writer.execute(TEACHER, who)
            query = "select id from teachers where served_by = ? and model = ?"
            self._teachers[who] = self._writer.execute(query, who).fetchone()[0]
        return self._teachers[who]

    def _spend(self, run_id: str, cost: Cost) -> None:
        """In a transaction."""
        self._writer.execute(SPEND, (run_id, *_columns(cost), 0.0))

    def _holder(self, run_id: str) -> int:
        return self._holders.setdefault(run_id, secrets.randbits(63))

    def _open_run(self, run_id: str) -> Cost:
        """In the writer's thread."""
        with self._transaction():
            left_over = self._writer.execute(LEFT_OVER, (run_id,)).fetchone()
            self._writer.execute(SPEND, (run_id, *left_over, 0.0))
            opened = "update runs set opened_s = ? where run_id = ?"
            self._writer.execute(opened, (int(time.time()), run_id))
            self._writer.execute("delete from holds where run_id = ?", (run_id,))
            spent = self._writer.execute(SPENT, (run_id,)).fetchone()
        requests, prompt_tokens, completion_tokens, nano_usd = spent
        return Cost(
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            nano_usd=nano_usd,
        )

    def _failed(self, error: Exception) -> SynthkdError:
        return explain(error, self.path, busy_s=self._busy_s)


def _columns(cost: Cost) -> tuple[int, int, int, int]:
    return cost.requests, cost.prompt_tokens, cost.completion_tokens, cost.nano_usd
