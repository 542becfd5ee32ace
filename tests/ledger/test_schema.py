from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest
import zstandard

from synthkd.errors import UserError
from synthkd.ledger import Cost, Entry, Question
from synthkd.ledger.schema import VERSION, connect
from synthkd.ledger.sqlite import SqliteLedger

VERSION_1 = """
create table answers (
  key blob not null, max_tokens integer not null, status integer not null, finish text not null,
  completion_tokens integer, reply blob not null
);
create unique index answers_by_question on answers (key, max_tokens);
create table runs (
  run_id text primary key, requests integer not null default 0,
  prompt_tokens integer not null default 0, completion_tokens integer not null default 0,
  nano_usd integer not null default 0, wall_s real not null default 0
);
create table holds (
  id integer primary key, run_id text not null, requests integer not null,
  prompt_tokens integer not null, completion_tokens integer not null, nano_usd integer not null
);
pragma application_id = 1937337963;
pragma user_version = 1;
pragma journal_mode = wal;
"""


def keys(count: int) -> list[str]:
    return [f"{n:064x}" for n in range(count)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger as the first version of synthkd left it: answers, a run, a hold of a killed run."""
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(VERSION_1)
    pack = zstandard.ZstdCompressor(level=3).compress
    for n, key in enumerate(keys(50)):
        answer = (bytes.fromhex(key), n or -1, 200, "stop", n, pack(b"%d" % n * 2000))
        connection.execute("insert into answers values (?, ?, ?, ?, ?, ?)", answer)
    again = (bytes.fromhex(keys(1)[0]), 9, 400, "", None, pack(b"refused"))
    connection.execute("insert into answers values (?, ?, ?, ?, ?, ?)", again)
    connection.execute("insert into runs values ('r', 3, 30, 20, 7, 1.5)")
    connection.execute("insert into holds values (1, 'r', 1, 10, 5, 2)")
    connection.close()
    return path


async def test_a_ledger_of_version_1_is_served(old: Path) -> None:
    ledger = SqliteLedger(old)
    for n, key in enumerate(keys(50)):
        expected = Entry(key, n or None, 200, "stop", n, b"%d" % n * 2000)
        assert ledger.find(key)[0] == expected
    assert [one.status for one in ledger.find(keys(1)[0])] == [200, 400], "oldest first"
    assert ledger.knows("r")
    assert ledger.wall_s("r") == 1.5
    held = Cost(requests=4, prompt_tokens=40, completion_tokens=25, nano_usd=9)
    assert await ledger.open_run("r") == held
    new = Entry("ff" * 32, None, 200, "stop", 1, b"new")
    assert await ledger.store(new, Question(served_by="x", model="m", asked=b"{}")) is new
    assert ledger.find("ff" * 32) == [new]
    await ledger.close()


async def test_an_old_and_a_new_file_end_up_the_same(old: Path, tmp_path: Path) -> None:
    def shape(path: Path) -> list[tuple[str, str]]:
        connection = connect(path, busy_s=1)
        found = [
            (name, " ".join(re.sub("--.*", "", sql or "").split()).replace("( ", "("))
            for name, sql in connection.execute("select name, sql from sqlite_master order by name")
        ]
        assert connection.execute("pragma user_version").fetchone() == (VERSION,)
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        connection.close()
        return found

    new = tmp_path / "new.sqlite"
    new.touch()
    assert shape(old) == shape(new)


async def test_a_migration_that_is_killed_has_not_begun(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ("", "create table half (x);\nselect no_such_function()")
    with monkeypatch.context() as patch:
        patch.setattr("synthkd.ledger.schema.STEPS", steps)
        with pytest.raises(sqlite3.OperationalError, match="no_such_function"):
            connect(old, busy_s=1)
    ledger = SqliteLedger(old)
    assert ledger.find(keys(1)[0])
    assert (
        ledger._reader.execute("select 1 from sqlite_master where name = 'half'").fetchall() == []
    )
    await ledger.close()


async def test_of_several_that_open_an_old_ledger_at_once_one_migrates(old: Path) -> None:
    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(asyncio.to_thread(SqliteLedger, old)) for _ in range(6)]
    for task in opening:
        assert len(task.result().find(keys(1)[0])) == 2
        await task.result().close()


async def test_a_newer_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "l"
    await SqliteLedger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"has version 99, this synthkd reads up to {VERSION}: upd"):
        SqliteLedger(path)
    assert path.read_bytes() == before
