"""Looking into a ledger: what is in it, and whether it is sound. Nothing here changes an entry.

    with opened(path) as store:
        print(stats(store))
        for stored in entries(store, parse_where(["model=qwen3-32b"])):
            print(stored.as_json())

A look does not keep runs from writing, and does not wait for them.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import zstandard

from synthkd.errors import UserError
from synthkd.ledger import Cost, Entry, Question
from synthkd.ledger.codec import Codec
from synthkd.ledger.faults import Faults, explain
from synthkd.ledger.place import make_private
from synthkd.ledger.schema import NO_LIMIT, connect
from synthkd.ledger.where import Where

BUSY_S = 30.0
FROM = " from answers left join teachers on teachers.id = answers.teacher where "
ENTRIES = """
select answers.id, key, max_tokens, status, finish, completion_tokens, created_s, served_by, model,
  dictionary, reply, asked
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A ledger that is open for upkeep."""

    path: Path
    connection: sqlite3.Connection
    codec: Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An entry with all that is known about it."""

    entry: Entry
    question: Question | None
    """None = bought before questions were kept."""
    created_s: int | None
    """Seconds since 1970; None = bought before it was kept."""

    def as_json(self) -> bytes:
        """One line: the reply as it came, the question as JSON."""
        entry, question = self.entry, self.question
        try:
            reply = {"reply": entry.reply.decode()}
        except UnicodeDecodeError:
            reply = {"reply_base64": base64.b64encode(entry.reply).decode()}
        known = {
            "key": entry.key,
            "created_s": self.created_s,
            "served_by": question and question.served_by,
            "model": question and question.model,
            "max_tokens": entry.max_tokens,
            "status": entry.status,
            "finish": entry.finish,
            "completion_tokens": entry.completion_tokens,
            "asked": question and orjson.Fragment(question.asked),
        }
        return orjson.dumps(known | reply)


@dataclass(slots=True, kw_only=True)
class Share:
    """What one teacher has answered."""

    served_by: str | None
    """None = bought before it was kept."""
    model: str | None
    entries: int = 0
    refusals: int = 0
    raw_bytes: int = 0
    """Replies and questions as they are."""
    stored_bytes: int = 0
    """The same as they are packed."""
    oldest_s: int | None = None
    newest_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What one run has spent."""

    run_id: str
    folder: str | None
    """Where it writes; None = it ran before that was kept."""
    opened_s: int | None
    spent: Cost
    held: Cost
    """For attempts in the air, or left by a killed process: spent once the run goes on."""
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What is in a ledger."""

    path: str
    file_bytes: int
    dictionaries: int
    teachers: list[Share] = field(default_factory=list)
    runs: list[Spend] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@contextmanager
def opened(path: Path, *, busy_s: float = BUSY_S) -> Iterator[Store]:
    """Open a ledger that exists; whatever is wrong with it comes out in words.

    Raises:
        UserError: there is none, or it is not ours.
        LedgerFailed: it is locked or damaged.
    """
    if not path.is_file():
        raise UserError(f"there is no ledger at {path}: name one with --ledger")
    make_private(path)
    opening = True
    try:
        connection = connect(path, busy_s=busy_s)
        try:
            store = Store(path=path, connection=connection, codec=Codec(connection))
            opening = False
            yield store
        finally:
            connection.close()
    except Faults as error:
        raise explain(error, path, busy_s=busy_s, opening=opening) from error


def entries(store: Store, where: Where) -> Iterator[Stored]:
    """The entries that are meant, oldest first, one at a time."""
    query = f"{ENTRIES}{FROM}{where.sql} order by answers.id"
    for row in store.connection.execute(query, where.values):
        stored = _stored(store, row[1:])
        asked = None if stored.question is None else stored.question.asked
        if not where.words or where.says(stored.entry.reply, asked):
            yield stored


def _stored(store: Store, row: tuple[Any, ...]) -> Stored:
    key, limit, status, finish, tokens, created_s, served_by, model, dictionary, reply, asked = row
    unpack = store.codec.unpack[dictionary]
    question = None
    if asked is not None:
        question = Question(served_by=served_by or "", model=model or "", asked=unpack(asked))
    limit = None if limit == NO_LIMIT else limit
    entry = Entry(key.hex(), limit, status, finish, tokens, unpack(reply))
    return Stored(entry=entry, question=question, created_s=created_s)


def stats(store: Store) -> Stats:
    """Count what is in the ledger; reads it all once."""
    shares: dict[tuple[str | None, str | None], Share] = {}
    query = f"select served_by, model, status, created_s, reply, asked{FROM} true"
    for served_by, model, status, created_s, *bodies in store.connection.execute(query):
        who = (served_by, model)
        if (share := shares.get(who)) is None:
            share = shares[who] = Share(served_by=served_by, model=model)
        share.entries += 1
        share.refusals += status != 200
        for body in bodies:
            if body is not None:
                share.raw_bytes += zstandard.frame_content_size(body)
                share.stored_bytes += len(body)
        if created_s is not None:
            share.oldest_s = created_s if share.oldest_s is None else min(share.oldest_s, created_s)
            share.newest_s = created_s if share.newest_s is None else max(share.newest_s, created_s)
    count = store.connection.execute("select count(*) from dictionaries").fetchone()
    return Stats(
        path=str(store.path),
        file_bytes=store.path.stat().st_size,
        dictionaries=count[0],
        teachers=sorted(shares.values(), key=lambda share: -share.entries),
        runs=list(_runs(store)),
    )


RUNS = """
select run_id, folder, opened_s, wall_s, requests, prompt_tokens, completion_tokens, nano_usd,
  (select sum(requests) from holds where holds.run_id = runs.run_id),
  (select sum(prompt_tokens) from holds where holds.run_id = runs.run_id),
  (select sum(completion_tokens) from holds where holds.run_id = runs.run_id),
  (select sum(nano_usd) from holds where holds.run_id = runs.run_id)
from runs order by coalesce(opened_s, 0) desc, run_id
"""


def _runs(store: Store) -> Iterator[Spend]:
    for run_id, folder, opened_s, wall_s, *costs in store.connection.execute(RUNS):
        spent, held = (
            Cost(
                requests=requests or 0,
                prompt_tokens=prompt_tokens or 0,
                completion_tokens=completion_tokens or 0,
                nano_usd=nano_usd or 0,
            )
            for requests, prompt_tokens, completion_tokens, nano_usd in (costs[:4], costs[4:])
        )
        yield Spend(
            run_id=run_id,
            folder=folder,
            opened_s=opened_s,
            spent=spent,
            held=held,
            wall_s=wall_s,
        )


def verify(store: Store) -> Iterator[str]:
    """Everything that is wrong with the ledger, one fault at a time; nothing when it is sound.

    The file's structure and its index, every body (it unpacks, its checksum holds, an answer is
    JSON), every question (its hash is the key), every account (nothing below zero, no hold of a run
    that there is not), every question in the outbox and the batch that it is in.
    """
    try:
        for (fault,) in store.connection.execute("pragma integrity_check"):
            if fault != "ok":
                yield f"the file: {fault}"
        yield from _faulty_accounts(store)
        yield from _faulty_letters(store)
        for row in store.connection.execute(f"{ENTRIES}{FROM} true order by answers.id"):
            yield from _faults_of(store, row)
    except sqlite3.DatabaseError as error:
        yield f"the file cannot be read any further: {error}"


def _faults_of(store: Store, row: tuple[Any, ...]) -> Iterator[str]:
    name = f"entry {row[0]}, key {row[1].hex()[:12]}"
    try:
        stored = _stored(store, row[1:])
    except zstandard.ZstdError as error:
        yield f"{name}: cannot be unpacked: {error}"
        return
    question = stored.question
    if question is not None and hashlib.sha256(question.asked).hexdigest() != stored.entry.key:
        yield f"{name}: the question is not the one that the key is made of"
    if stored.entry.status == 200:
        try:
            orjson.loads(stored.entry.reply)
        except orjson.JSONDecodeError as error:
            yield f"{name}: the reply is no JSON: {error}"


def _faulty_letters(store: Store) -> Iterator[str]:
    query = "select id, key, asked, body from outbox order by id"
    for letter, key, asked, body in store.connection.execute(query):
        name = f"question {letter} in the outbox, key {key.hex()[:12]}"
        try:
            orjson.loads(zstandard.decompress(body))
            right = hashlib.sha256(zstandard.decompress(asked)).digest() == key
        except (zstandard.ZstdError, orjson.JSONDecodeError) as error:
            yield f"{name}: cannot be unpacked: {error}"
            continue
        if not right:
            yield f"{name}: the question is not the one that the key is made of"
    query = (
        "select distinct batch from outbox where batch is not null and batch not in"
        " (select id from batches where state != 'ended')"
    )
    for (batch,) in store.connection.execute(query):
        yield f"batch {batch}: questions are in it, but there is no such batch under way"
    query = "select id from batches where run_id not in (select run_id from runs)"
    for (batch,) in store.connection.execute(query):
        yield f"batch {batch}: is of a run that there is not"


def _faulty_accounts(store: Store) -> Iterator[str]:
    for run in _runs(store):
        for what, cost in (("spent", run.spent), ("held", run.held)):
            amounts = (cost.requests, cost.prompt_tokens, cost.completion_tokens, cost.nano_usd)
            if min(amounts) < 0:
                yield f"run {run.run_id}: has {what} less than nothing: {cost}"
    query = "select distinct run_id from holds where run_id not in (select run_id from runs)"
    for (run_id,) in store.connection.execute(query):
        yield f"run {run_id}: holds money, but there is no such run"
