"""The tables of a ledger in one SQLite file, and how older ones become them.

`answers` is what was bought, `runs` what each run has spent, `holds` what is set aside for the
attempts that a run has in the air right now, as one sum for each process. `outbox` holds questions
that go out in batches, `batches` what is known of those.

`STEPS[n]` takes a ledger from version n to n + 1, so a new file and an old one end up the same.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Literal

from synthkd.errors import UserError
from synthkd.ledger.faults import is_fault

APPLICATION_ID = 0x73796E6B  # "synk": tells our file from any other SQLite file

NO_LIMIT = -1
"""Stands for max_tokens = None."""

CHECKPOINT_PAGES = 8_000
"""The write-ahead log grows to 32 MB before its pages go into the file. Random keys touch a page of
the index each: gathering eight times as many as SQLite would takes a tenth off an insert."""

Durable = Literal["process", "power"]

FIRST = """
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

# `answers` keeps its rowid: WITHOUT ROWID was three times slower with bodies of 3 kB (0.058 ms a
# row against 0.019), because the bodies then live in the tree that is searched. The index holds the
# first 6 of a key's 32 bytes: at 10 million entries, 0.2 % share theirs with another, and the tree
# that random keys scatter over is a third as large. `reply` comes before `asked`, because a replay
# reads the one and not the other.
QUESTIONS = """
create table dictionaries (
  id integer primary key,
  created_s integer not null,           -- seconds since 1970
  first_answer integer not null,        -- ids of the answers that it was learnt from
  last_answer integer not null,
  body blob not null
);
create table teachers (
  id integer primary key,
  served_by text not null,
  model text not null,
  unique (served_by, model)
);
drop index answers_by_question;
alter table answers rename to answers_1;
create table answers (
  id integer primary key,
  key blob not null,
  max_tokens integer not null,          -- -1 = no limit was given
  status integer not null,
  finish text not null,
  completion_tokens integer,            -- null = the provider did not say
  created_s integer,                    -- null = bought before it was kept
  teacher integer,                      -- of teachers; null = bought before it was kept
  dictionary integer not null,          -- of dictionaries; 0 = packed without
  reply blob not null,                  -- zstd
  asked blob                            -- zstd; null = bought before it was kept
);
insert into answers
  select rowid, key, max_tokens, status, finish, completion_tokens, null, null, 0, reply, null
  from answers_1 order by rowid;
drop table answers_1;
create index answers_by_key on answers (substr(key, 1, 6));
alter table runs add column folder text;
alter table runs add column opened_s integer;
"""

BATCHES = """
create table batches (
  id text primary key,                  -- ours: it goes out with the batch
  run_id text not null,                 -- who pays
  teacher text not null,                -- its name in the pipeline
  endpoint text not null,
  api text not null,
  model text not null,
  state text not null,                  -- made, uploaded, sent, ended
  status text not null,                 -- as the provider calls it
  file_id text,
  batch_id text,
  questions integer not null,
  prompt_tokens integer not null,       -- estimated
  done integer not null,
  failed integer not null,
  made_s integer not null,
  sent_s integer,
  ended_s integer,
  said text not null
);
create table outbox (
  id integer primary key,
  key blob not null,
  max_tokens integer not null,          -- -1 = no limit was given
  run_id text not null,                 -- who pays
  passage text not null,                -- who asked last: what is not asked for is not sent
  sender text not null,                 -- the teacher's name in the pipeline
  teacher integer not null,             -- of teachers
  api text not null,
  attempts integer not null default 0,
  said text not null default '',        -- why the last attempt failed
  batch text,                           -- of batches; null = not sent, and nothing is held
  prompt_tokens integer not null,       -- of the worst cost
  completion_tokens integer not null,
  nano_usd integer not null,
  created_s integer not null,
  body_bytes integer not null,
  body blob not null,                   -- zstd, never with a dictionary
  asked blob not null                   -- zstd, never with a dictionary
);
create unique index outbox_by_question on outbox (key, max_tokens);
create index outbox_by_batch on outbox (batch);
"""

STEPS = (FIRST, QUESTIONS, BATCHES)
VERSION = len(STEPS)


def connect(path: Path, *, durable: Durable = "process", busy_s: float) -> sqlite3.Connection:
    """Open the file, which must exist (it may be empty), and bring its tables up to date.

    Args:
        path: the file.
        durable: what a commit has survived: the death of the process, or a loss of power.
        busy_s: seconds to wait for another process that is writing.

    Raises:
        UserError: the file is not ours, or newer than this synthkd.
        sqlite3.Error: it cannot be used; see `synthkd.ledger.faults`.
    """
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path, busy_s)
        connection.execute(f"pragma synchronous = {'full' if durable == 'power' else 'normal'}")
        connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Make or mend the tables, unless they are as they should be; refuse what is not ours."""
    version = _version_seen_at_once(connection, path)
    if version <= VERSION:
        _enter_wal(connection, busy_s)
    if version < VERSION:
        connection.execute("begin immediate")  # of several processes, one does it
        try:
            for script in STEPS[_version(connection, path) :]:
                for statement in script.split(";\n"):
                    connection.execute(statement)
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {VERSION}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
    if version > VERSION:
        raise UserError(
            f"the ledger {path} has version {version}, this synthkd reads up to "
            f"{VERSION}: update synthkd, or name another file with --ledger"
        )


def _version_seen_at_once(connection: sqlite3.Connection, path: Path) -> int:
    """The version, while another process may be making the tables.

    In one transaction: read one by one, the first mark may be from before and the second from
    after, and the file looks like somebody else's.
    """
    connection.execute("begin")
    try:
        return _version(connection, path)
    finally:
        connection.execute("rollback")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    application: int = connection.execute("pragma application_id").fetchone()[0]
    version: int = connection.execute("pragma user_version").fetchone()[0]
    tables: int = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (version or tables or application):
        raise UserError(
            f"{path} is an SQLite file, but no synthkd ledger: name another file with --ledger"
        )
    return version


def _enter_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Switch to write-ahead logging; it stays in the file, unless an erasure was killed.

    SQLite does not wait for others here, whatever the timeout, so we do.
    """
    deadline = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if not is_fault(error, sqlite3.SQLITE_BUSY) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
