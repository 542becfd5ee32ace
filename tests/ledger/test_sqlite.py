from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from synthkd.errors import LedgerFailed, UserError
from synthkd.ledger import Cost, Entry
from synthkd.ledger.sqlite import SqliteLedger, open_ledger

KEY = "ab" * 32
ROOT = Path(__file__).parents[2]
WORST = Cost(requests=1, prompt_tokens=100, completion_tokens=50, nano_usd=7)
REAL = Cost(requests=1, prompt_tokens=90, completion_tokens=10, nano_usd=3)


def entry(key: str = KEY, max_tokens: int | None = 64, reply: bytes = b'{"a": 1}') -> Entry:
    return Entry(
        key=key,
        max_tokens=max_tokens,
        status=200,
        finish="stop",
        completion_tokens=10,
        reply=reply,
    )


async def test_an_answer_is_found_as_it_was_stored_also_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.sqlite"
    ledger = SqliteLedger(path)
    assert ledger.find(KEY) == []
    cut = entry(max_tokens=8)._replace(finish="length")
    entries = [cut, entry(max_tokens=None, reply=b"\x00" * 5000), entry("cd" * 32)]
    for one in entries:
        await ledger.store(one)
    again = SqliteLedger(path)
    for found in (ledger, again):
        assert list(found.find(KEY)) == entries[:2]
        assert list(found.find("cd" * 32)) == entries[2:]
    await ledger.close()
    await again.close()


def refusal(reply: bytes) -> Entry:
    return entry(reply=reply)._replace(status=400, finish="", completion_tokens=None)


async def test_the_first_answer_stays_also_against_another_process(tmp_path: Path) -> None:
    ledgers = [SqliteLedger(tmp_path / "l") for _ in range(2)]
    entries = [entry(reply=b"%d" % number) for number in range(20)]
    async with asyncio.TaskGroup() as group:
        stored = [
            group.create_task(ledgers[number % 2].store(one)) for number, one in enumerate(entries)
        ]
    (found,) = ledgers[0].find(KEY)
    assert {task.result() for task in stored} == {found}
    assert await ledgers[1].store(refusal(b"too late")) == found
    for ledger in ledgers:
        assert ledger.find(KEY) == [found]
        await ledger.close()


async def test_a_refusal_gives_way(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    for one in (refusal(b"old"), refusal(b"new"), entry()):
        assert await ledger.store(one) is one
        assert ledger.find(KEY) == [one]
    await ledger.close()


async def test_what_is_kept_is_what_a_replay_finds_at_any_length(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    whole = entry(max_tokens=50)
    await ledger.store(refusal(b"no"))  # at 64
    await ledger.store(whole)
    assert await ledger.store(entry(max_tokens=64, reply=b"later")) == whole
    cut = entry(max_tokens=5, reply=b"cut")._replace(finish="length", completion_tokens=5)
    assert await ledger.store(cut) is cut
    assert [one.max_tokens for one in ledger.find(KEY)] == [64, 50, 5]
    await ledger.close()


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    await ledger.store(entry())
    files = list(os.scandir(tmp_path))
    assert len(files) == 3, "with its -wal and -shm"
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    await ledger.close()


async def test_a_settled_hold_becomes_what_was_spent(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    assert await ledger.open_run("r") == Cost()
    another = SqliteLedger(tmp_path / "l")
    for _ in range(3):
        await ledger.hold("r", WORST)
    await another.hold("r", WORST)
    await ledger.hold("other", WORST)
    ledger.settle("r", WORST, REAL)
    ledger.settle("r", WORST, REAL)
    expected = REAL + REAL + WORST + WORST
    assert await ledger.open_run("r") == expected, "the holds left over are spent"
    assert await ledger.open_run("r") == expected, "once"
    assert await ledger.open_run("other") == WORST
    await ledger.close()
    await another.close()


async def test_a_hold_given_up_before_it_was_durable_costs_nothing(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    holding = asyncio.create_task(ledger.hold("r", WORST))
    await asyncio.sleep(0)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert await ledger.open_run("r") == Cost()
    await ledger.close()


async def test_wall_time_adds_up_over_restarts(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = SqliteLedger(tmp_path / "l")
        ledger.add_wall("r", 1.5)
        ledger.add_wall("r", 1.0)
        await ledger.flush()
        await ledger.close()
    ledger = SqliteLedger(tmp_path / "l")
    assert ledger.wall_s("r") == 5.0
    assert ledger.wall_s("unknown") == 0.0
    assert await ledger.open_run("r") == Cost()
    await ledger.close()


async def test_many_writers_share_a_commit(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l", "power")
    keys = [f"{n:064x}" for n in range(500)]
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(ledger.store(entry(key)))
    assert all(ledger.find(key) for key in keys)
    await ledger.close()


async def test_a_settle_is_durable_with_the_store_that_follows(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    await ledger.hold("r", WORST)
    ledger.settle("r", WORST, REAL)
    await ledger.store(entry())
    other = sqlite3.connect(tmp_path / "l")
    assert other.execute("select sum(prompt_tokens) from holds").fetchone() == (0,)
    assert other.execute("select prompt_tokens from runs").fetchone() == (90,)
    other.close()
    await ledger.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from synthkd.ledger import Cost, Entry
from synthkd.ledger.sqlite import SqliteLedger

async def main():
    who = int(sys.argv[2])
    ledger = SqliteLedger(Path(sys.argv[1]))
    for n in range(10**9 if who < 0 else 40):
        key = f"{abs(who):032x}{n:032x}"
        await ledger.hold("r", Cost(requests=1))
        ledger.settle("r", Cost(requests=1), Cost(requests=1))
        await ledger.store(Entry(key=key, max_tokens=None, status=200, finish="stop",
                                 completion_tokens=1, reply=key.encode()))
        print(key, flush=True)
    await ledger.close()

asyncio.run(main())
"""


def start_writer(path: Path, who: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(who)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "l"
    writers = [start_writer(path, who) for who in range(1, 5)]
    keys = [line for writer in writers for line in writer.communicate()[0].split()]
    assert [writer.returncode for writer in writers] == [0] * 4
    ledger = SqliteLedger(path)
    assert len(keys) == 160
    assert all(ledger.find(key) for key in keys)
    assert (await ledger.open_run("r")).requests == 160
    await ledger.close()


async def test_what_was_returned_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "l"
    spent = said = 0
    for who in (-1, -2, -3):
        with start_writer(path, who) as writer:
            assert writer.stdout is not None
            keys = [writer.stdout.readline().strip() for _ in range(20)]
            writer.send_signal(signal.SIGKILL)
            keys += writer.stdout.read().split()
        said += len(keys)
        ledger = SqliteLedger(path)
        assert all([found.reply for found in ledger.find(key)] == [key.encode()] for key in keys)
        spent = (await ledger.open_run("r")).requests
        await ledger.close()
    assert said <= spent <= said + 3, "each kill may leave the one write in the air"


async def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"this is no database at all, but it is long enough to look like one" * 99)
    with pytest.raises(UserError, match=r"broken\.sqlite.*not a sound SQLite file.*move it away"):
        SqliteLedger(broken)
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table mine (x)")
    connection.close()
    with pytest.raises(UserError, match=r"foreign\.sqlite is an SQLite file, but no synthkd led"):
        SqliteLedger(foreign)
    with pytest.raises(UserError, match=r"cannot be opened: Is a directory"):
        SqliteLedger(tmp_path)


def damage(path: Path, page: int) -> None:
    """Overwrite the file from this page on."""
    content = bytearray(path.read_bytes())
    content[4096 * page :] = b"\xff" * len(content[4096 * page :])
    path.write_bytes(bytes(content))


async def some_ledger(path: Path) -> None:
    ledger = SqliteLedger(path)
    for n in range(30):
        await ledger.store(entry(f"{n:064x}", reply=os.urandom(3000)))
    await ledger.close()


async def test_damage_found_while_opening(tmp_path: Path) -> None:
    await some_ledger(tmp_path / "l")
    damage(tmp_path / "l", 1)
    with pytest.raises(LedgerFailed, match=r"not a sound SQLite file.*recover"):
        SqliteLedger(tmp_path / "l")


async def test_damage_found_while_reading(tmp_path: Path) -> None:
    await some_ledger(tmp_path / "l")
    damage(tmp_path / "l", 12)
    damaged = SqliteLedger(tmp_path / "l")
    with pytest.raises(LedgerFailed, match=r"not a sound SQLite file.*recover"):
        [damaged.find(f"{n:064x}") for n in range(30)]
    await damaged.close()


async def test_a_damaged_answer_is_named(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    await ledger.store(entry())
    ledger._writer.execute("update answers set reply = x'00'")
    with pytest.raises(LedgerFailed, match=r"the ledger .*/l cannot be used: .* move it away"):
        ledger.find(KEY)
    await ledger.close()


async def test_a_locked_ledger_tells_every_writer_and_stays_broken(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path, busy_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    waiting = [asyncio.create_task(ledger.store(entry(f"{n:064x}"))) for n in range(3)]
    results = []
    for task in waiting:
        with pytest.raises(LedgerFailed, match="another process has kept it locked") as caught:
            await task
        results.append(caught.value)
    assert len(results) == 3
    other.execute("rollback")
    other.close()
    ledger.settle("r", WORST, REAL)  # no error here: the hold stands
    with pytest.raises(LedgerFailed, match="locked"):
        await ledger.store(entry())
    with pytest.raises(LedgerFailed, match="locked"):
        await ledger.close()


async def test_a_ledger_that_is_locked_while_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "l"
    await SqliteLedger(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("pragma locking_mode = exclusive")
    other.execute("begin exclusive")
    with pytest.raises(LedgerFailed, match=r"locked for 0\.01 s: wait for it or end it") as caught:
        SqliteLedger(path, busy_s=0.01)
    assert caught.value.exit_code == 7
    other.close()


async def test_a_full_disk_stops_the_run_and_keeps_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    await ledger.store(entry())
    ledger._writer.execute("pragma max_page_count = 12")
    with pytest.raises(LedgerFailed, match="disk is full: make room and run again"):
        await ledger.store(entry("cd" * 32, reply=os.urandom(100_000)))
    assert ledger.find(KEY)
    with pytest.raises(LedgerFailed):
        await ledger.close()


@pytest.mark.parametrize(
    ("url", "file"), [("a/l.sqlite", "a/l.sqlite"), ("sqlite:///b.sqlite", "b.sqlite")]
)
async def test_ledgers_by_url(url: str, file: str) -> None:
    ledger = open_ledger(url)
    await ledger.close()
    assert os.access(file, os.R_OK)


@pytest.mark.parametrize("url", ["postgres://host/x", "postgresql://host/x", "mysql://x"])
def test_ledgers_of_other_kinds(url: str) -> None:
    with pytest.raises(UserError, match="give the path of a file"):
        open_ledger(url)
