"""The outbox in the default ledger; its tables are in `synthkd.ledger.schema`.

Everything is written in the ledger's own group commits, so that an answer, its cost and the letter
that it settles are one transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

import zstandard

from synthkd.errors import SynthkdError
from synthkd.ledger import Cost, Entry, Question
from synthkd.ledger.codec import packer
from synthkd.ledger.faults import Faults
from synthkd.ledger.outbox import BatchRecord, Letter, Outcome, Posted, Sender, Unsent
from synthkd.ledger.schema import NO_LIMIT

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
Keep = Callable[[Entry, Question], None]

PAGE = 500
"""Letters read at a time: a few milliseconds."""

FIND = "select batch, attempts, said from outbox where key = ? and max_tokens = ?"
POST = """
insert into outbox (key, max_tokens, run_id, passage, sender, teacher, api, prompt_tokens,
  completion_tokens, nano_usd, created_s, body_bytes, body, asked)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (key, max_tokens) do update set
  run_id = excluded.run_id, passage = excluded.passage, sender = excluded.sender,
  api = excluded.api, prompt_tokens = excluded.prompt_tokens,
  completion_tokens = excluded.completion_tokens, nano_usd = excluded.nano_usd,
  body_bytes = excluded.body_bytes, body = excluded.body
where batch is null
"""
UNSENT = """
select id, prompt_tokens, completion_tokens, nano_usd, body_bytes from outbox
where batch is null and id > ? and run_id = ? and passage = ? and sender = ? and api = ?
  and attempts < ? order by id limit ?
"""
TAKE = "update outbox set batch = ? where id = ? and batch is null and run_id = ? and passage = ?"
SUMS = """
select count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
  coalesce(sum(nano_usd), 0) from outbox
"""
WORST = """
select api, prompt_tokens, completion_tokens, nano_usd from outbox
where batch = ? and key = ? and max_tokens = ?
"""
SETTLED = """
select outbox.id, run_id, served_by, model, asked from outbox
left join teachers on teachers.id = outbox.teacher
where batch = ? and key = ? and max_tokens = ?
"""
COLUMNS = tuple(field.name for field in fields(BatchRecord))


class SqliteOutbox:
    """The outbox of one ledger.

    Args:
        reader: for look-ups in the event loop.
        write: runs a function on the writing connection, in the ledger's next transaction.
        keep: stores an answer, inside such a function.
        answered: whether there is an answer, inside such a function.
        teacher: the row of `teachers` for who answers and the model, inside such a function.
        spend: adds to what a run has spent, inside such a function.
        explained: a fault of the file in words.
    """

    def __init__(
        self,
        reader: sqlite3.Connection,
        write: Callable[[Write[None]], Awaitable[None]],
        *,
        keep: Keep,
        answered: Callable[[str, int | None], bool],
        teacher: Callable[[str, str], int],
        spend: Callable[[str, Cost], None],
        explained: Callable[[Exception], SynthkdError],
    ) -> None:
        self._reader = reader
        self._write = write
        self._keep = keep
        self._answered = answered
        self._teacher = teacher
        self._spend = spend
        self._explained = explained
        # Without a dictionary: those are learnt from answers, and replaced when one is erased.
        self._pack = packer(None)

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            return self._reader.execute(query, values).fetchall()
        except Faults as error:
            raise self._explained(error) from error

    async def _written(self, job: Write[T]) -> T:
        results: list[T] = []
        await self._write(lambda connection: results.append(job(connection)))
        return results[0]

    # --- letters

    @property
    def is_empty(self) -> bool:
        """Whether no question is in it, sent or not."""
        return not self._rows("select 1 from outbox limit 1")

    def find(self, key: str, max_tokens: int | None) -> Posted | None:
        """What is known of this question; None = it was never posted, or is settled."""
        rows = self._rows(FIND, _question(key, max_tokens))
        return Posted(*rows[0]) if rows else None

    async def post(self, letter: Letter, sender: Sender) -> Posted:
        """Put a question in, or claim the one that is there and has not left."""
        body, asked = self._pack(letter.body), self._pack(letter.question.asked)

        def write(connection: sqlite3.Connection) -> Posted:
            question, worst = letter.question, letter.worst
            if self._answered(letter.key, letter.max_tokens):
                return Posted(None, 0, "", answered=True)
            connection.execute(
                POST,
                (
                    *_question(letter.key, letter.max_tokens),
                    sender.run_id,
                    sender.passage,
                    sender.teacher,
                    self._teacher(question.served_by, question.model),
                    letter.api,
                    worst.prompt_tokens,
                    worst.completion_tokens,
                    worst.nano_usd,
                    int(time.time()),
                    len(letter.body),
                    body,
                    asked,
                ),
            )
            return _posted(connection, letter.key, letter.max_tokens) or Posted(None, 0, "")

        return await self._written(write)

    async def take_back(self, key: str, max_tokens: int | None) -> Posted | None:
        """Take out a question that has not left; returns what is there in spite of it."""

        def write(connection: sqlite3.Connection) -> Posted | None:
            connection.execute(
                "delete from outbox where key = ? and max_tokens = ? and batch is null",
                _question(key, max_tokens),
            )
            return _posted(connection, key, max_tokens)

        return await self._written(write)

    async def unsent(self, sender: Sender, api: str, max_attempts: int) -> AsyncIterator[Unsent]:
        """The questions of this sender that have not left, oldest first."""
        last = 0
        mine = (sender.run_id, sender.passage, sender.teacher, api, max_attempts, PAGE)
        while rows := self._rows(UNSENT, (last, *mine)):
            for letter, *tokens, size in rows:
                yield Unsent(letter, _cost(1, *tokens), size)
            last = rows[-1][0]
            await asyncio.sleep(0)

    async def letters(self, batch: str) -> AsyncIterator[tuple[str, int | None, bytes]]:
        """Key, max_tokens and body of each letter in a batch."""
        last = 0
        query = (
            "select id, key, max_tokens, body from outbox where batch = ? and id > ?"
            " order by id limit ?"
        )
        while rows := self._rows(query, (batch, last, PAGE)):
            for _, key, limit, body in rows:
                try:
                    plain = zstandard.decompress(body)
                except Faults as error:
                    raise self._explained(error) from error
                yield key.hex(), None if limit == NO_LIMIT else limit, plain
            last = rows[-1][0]
            await asyncio.sleep(0)

    def worst(self, batch: str, key: str, max_tokens: int | None) -> tuple[str, Cost] | None:
        """The API and the hold of a letter in a batch; None = it is not in it, or was settled."""
        rows = self._rows(WORST, (batch, *_question(key, max_tokens)))
        return (rows[0][0], _cost(1, *rows[0][1:])) if rows else None

    async def forget(self, run_id: str) -> None:
        """Take out what a run has not sent: it is over, or wants other things now."""
        query = "delete from outbox where run_id = ? and batch is null"
        await self._written(lambda connection: connection.execute(query, (run_id,)).rowcount)

    # --- batches

    async def make(self, batch: BatchRecord, letters: Sequence[int], sender: Sender) -> Cost:
        """Put letters into a new batch: from now on their worst cost is held."""

        def write(connection: sqlite3.Connection) -> Cost:
            mine = (sender.run_id, sender.passage)
            connection.executemany(TAKE, ((batch.id, letter, *mine) for letter in letters))
            held = _cost(*connection.execute(f"{SUMS} where batch = ?", (batch.id,)).fetchone())
            if held.requests:
                names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
                made = asdict(batch) | {"questions": held.requests}
                connection.execute(
                    f"insert into batches ({names}) values ({marks})",  # noqa: S608  our own names
                    tuple(made[name] for name in COLUMNS),
                )
            return held

        return await self._written(write)

    async def update(self, batch: BatchRecord) -> None:
        """Write down what is known of a batch."""
        await self._written(lambda connection: _update(connection, batch))

    async def settle(self, batch: str, outcomes: Sequence[Outcome]) -> int:
        """Store answers, spend what they cost, and take the letters out: all of it or nothing."""

        def write(connection: sqlite3.Connection) -> int:
            return sum(self._settle(connection, batch, outcome) for outcome in outcomes)

        return await self._written(write)

    def _settle(self, connection: sqlite3.Connection, batch: str, outcome: Outcome) -> bool:
        question = _question(outcome.key, outcome.max_tokens)
        row = connection.execute(SETTLED, (batch, *question)).fetchone()
        if row is None:
            return False
        letter, run_id, served_by, model, asked = row
        if outcome.entry is not None:
            asked_of = Question(served_by=served_by, model=model, asked=zstandard.decompress(asked))
            self._keep(outcome.entry, asked_of)
            connection.execute("delete from outbox where id = ?", (letter,))
        else:
            connection.execute(
                "update outbox set batch = null, attempts = attempts + ?, said = ? where id = ?",
                (outcome.counts, outcome.said, letter),
            )
        self._spend(run_id, outcome.cost)
        return True

    async def end(
        self, batch: BatchRecord, *, said: str, counts: bool = False, billed: bool = False
    ) -> int:
        """The batch is over: letters that are left in it go back into the outbox."""

        def write(connection: sqlite3.Connection) -> int:
            left = _cost(*connection.execute(f"{SUMS} where batch = ?", (batch.id,)).fetchone())
            if left.requests:
                if billed:
                    self._spend(batch.run_id, left)
                connection.execute(
                    "update outbox set batch = null, attempts = attempts + ?, said = ?"
                    " where batch = ?",
                    (counts, said, batch.id),
                )
            _update(connection, batch)
            connection.execute(
                "update batches set state = 'ended', ended_s = coalesce(ended_s, ?) where id = ?",
                (int(time.time()), batch.id),
            )
            return left.requests

        return await self._written(write)

    def batches(self, *, open_only: bool = True) -> list[BatchRecord]:
        """The batches of this ledger, oldest first."""
        names = ", ".join(COLUMNS)
        where = " where state != 'ended'" if open_only else ""
        query = f"select {names} from batches{where} order by made_s, rowid"  # noqa: S608  our own names
        return [BatchRecord(**dict(zip(COLUMNS, row, strict=True))) for row in self._rows(query)]

    def held(self, batch: str) -> Cost:
        """What is held for the letters that are in a batch still."""
        return _cost(*self._rows(f"{SUMS} where batch = ?", (batch,))[0])

    def unsent_of(self, run_id: str) -> int:
        """How many questions of a run have not left."""
        query = "select count(*) from outbox where batch is null and run_id = ?"
        count: int = self._rows(query, (run_id,))[0][0]
        return count

    def books(self, run_id: str) -> tuple[Cost, Cost]:
        """What a run has spent, and what is held for its batches."""
        query = "select requests, prompt_tokens, completion_tokens, nano_usd from runs"
        spent = self._rows(f"{query} where run_id = ?", (run_id,)) or [(0, 0, 0, 0)]
        ours = "batch in (select id from batches where state != 'ended' and run_id = ?)"
        held = self._rows(f"{SUMS} where {ours}", (run_id,))
        return _cost(*spent[0]), _cost(*held[0])


def _update(connection: sqlite3.Connection, batch: BatchRecord) -> None:
    connection.execute(
        "update batches set state = ?, status = ?, file_id = ?, batch_id = ?, done = ?,"
        " failed = ?, sent_s = ?, said = ? where id = ? and state != 'ended'",
        (
            batch.state,
            batch.status,
            batch.file_id,
            batch.batch_id,
            batch.done,
            batch.failed,
            batch.sent_s,
            batch.said,
            batch.id,
        ),
    )


def _posted(connection: sqlite3.Connection, key: str, max_tokens: int | None) -> Posted | None:
    row = connection.execute(FIND, _question(key, max_tokens)).fetchone()
    return None if row is None else Posted(*row)


def _question(key: str, max_tokens: int | None) -> tuple[bytes, int]:
    return bytes.fromhex(key), NO_LIMIT if max_tokens is None else max_tokens


def _cost(requests: int, prompt_tokens: int, completion_tokens: int, nano_usd: int) -> Cost:
    return Cost(
        requests=requests,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        nano_usd=nano_usd,
    )
