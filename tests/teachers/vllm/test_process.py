"""The watchdog by itself: whatever is started under it is gone when it says so."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from synthkd.teachers.vllm.process import Process, started
from tests.teachers.vllm.life import alive, awaited

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
FOREVER = "print('here', flush=True)\nwhile True:\n    time.sleep(9)\n"
ORPHAN = (
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork():\n        os._exit(0)\n"
)


HALF_DEAD = """
import ctypes, os, threading, time
if os.fork() == 0:
    threading.Thread(target=time.sleep, args=(600,)).start()
    if os.fork() == 0:
        time.sleep(600)
    ctypes.CDLL(None).pthread_exit(None)
time.sleep(0.3)
print('here', flush=True)
time.sleep(0.3)
"""
"""A child whose main thread has ended: it counts as ended, and still has a child of its own."""


async def run(folder: Path, code: str, grace_s: float = 0.3) -> Process:
    """A program under its guards, once it has said that it is there, or has ended."""
    log = folder / "log"
    process = await started([sys.executable, "-S", "-c", code], {"MARK": str(folder)}, log, grace_s)
    assert awaited(lambda: (log.exists() and b"here" in log.read_bytes()) or not alive(str(folder)))
    while process.pid is None:  # noqa: ASYNC110  another process tells it
        await asyncio.sleep(0.01)
    return process


def told_of(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def is_guard(pid: int) -> bool:
    return b"\0watchdog\0" in told_of(pid, "cmdline")


async def test_it_ends_with_a_signal_and_says_how(tmp_path: Path) -> None:
    process = await run(tmp_path, "import time\n" + FOREVER)
    await process.stop()
    assert process.code == -signal.SIGTERM
    assert not alive(str(tmp_path))


async def test_one_that_ends_by_itself_says_its_exit_code(tmp_path: Path) -> None:
    process = await run(tmp_path, "print('here'); raise SystemExit(3)")
    await process.ended.wait()
    assert process.code == 3
    await process.stop()


async def test_one_that_is_deaf_is_killed_after_the_grace(tmp_path: Path) -> None:
    process = await run(tmp_path, "import time\n" + DEAF + FOREVER)
    await process.stop()
    assert process.code == -signal.SIGKILL
    assert not alive(str(tmp_path))


async def test_orphans_in_other_sessions_go_too(tmp_path: Path) -> None:
    process = await run(tmp_path, ORPHAN + DEAF + FOREVER)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await process.ended.wait()
    assert process.code == -signal.SIGKILL
    assert not alive(str(tmp_path))


async def test_what_a_half_dead_process_has_started_goes_too(tmp_path: Path) -> None:
    process = await run(tmp_path, HALF_DEAD)
    assert len(alive(str(tmp_path))) >= 4
    await process.ended.wait()
    assert not alive(str(tmp_path))


async def test_a_program_that_is_not_there_ends_at_once(tmp_path: Path) -> None:
    process = await started(["/nowhere/python"], {}, tmp_path / "log")
    await process.ended.wait()
    assert process.code == 127
    assert b"cannot run /nowhere/python: No such file" in (tmp_path / "log").read_bytes()


async def test_no_signal_of_a_terminal_reaches_it(tmp_path: Path) -> None:
    process = await run(tmp_path, "import time\n" + FOREVER)
    assert process.pid is not None
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    await process.stop()


async def test_the_watchdogs_have_no_word_of_what_they_watch(tmp_path: Path) -> None:
    process = await run(tmp_path, "import time\n" + FOREVER)
    guards = [pid for pid in alive(str(tmp_path)) if is_guard(pid)]
    said = [told_of(pid, "cmdline").decode().split("\0") for pid in guards]
    assert sorted(words[4:6] for words in said) == [["watchdog", "inner"], ["watchdog", "outer"]]
    assert all(words[0] == "/proc/self/exe" for words in said)
    assert all(re.fullmatch(r"/proc/self/fd/\d+", words[3]) for words in said)
    assert {told_of(pid, "comm") for pid in guards} == {b"watchdog\n"}
    await process.stop()


async def test_a_long_command_reaches_it(tmp_path: Path) -> None:
    words = ["x" * 50_000, "y" * 50_000]
    code = "import sys; print('here', len(''.join(sys.argv)))"
    process = await started(
        [sys.executable, "-S", "-c", code, *words], {"MARK": str(tmp_path)}, tmp_path / "log"
    )
    await process.ended.wait()
    assert (process.code, (tmp_path / "log").read_bytes()) == (0, b"here 100002\n")


async def test_its_log_is_for_its_owner_only(tmp_path: Path) -> None:
    process = await run(tmp_path, "print('here')")
    await process.stop()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_both_guards_killed_leave_nothing_while_the_run_lives(tmp_path: Path) -> None:
    process = await run(tmp_path, "import os, time\nos.fork()\n" + FOREVER)
    guards = [pid for pid in alive(str(tmp_path)) if is_guard(pid)]
    assert len(guards) == 2
    for pid in guards:
        os.kill(pid, signal.SIGKILL)
    await process.ended.wait()
    assert process.code is None
    assert awaited(lambda: not alive(str(tmp_path)))
