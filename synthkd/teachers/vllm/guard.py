"""The watchdog of one server: when whoever started it is gone, the server goes too.

A program of its own, of the standard library alone, run twice, one inside the other:

    synthkd -> outer -> inner -> the server and whatever it starts

Each holds the reading end of a pipe from the one above, which ends when that one does, whatever it
died of. Each adopts the orphans below it (PR_SET_CHILD_SUBREAPER), so that none gets away: a
server's engine outlives a SIGKILL of the server, and would keep the GPU. What can be killed:

    synthkd   the pipe ends, outer tells inner, inner ends the server
    outer     the pipe ends, inner ends the server
    inner     the server gets SIGKILL (PR_SET_PDEATHSIG), outer kills its orphans

The end: SIGTERM to the server, and after a grace SIGKILL to all that is left. On standard output
`pid N` when the server is started and `exit N` when everything is gone; below zero is a signal.

    python FILE watchdog outer

The first line that comes through the pipe is the order, as JSON: `grace_s`, `log`, `command`. So no
command line but the server's own has its words, and one pattern (`pkill -9 -f vllm`) does not end
the server and both that watch over it. For the same reason FILE is a descriptor, see `process.py`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 1.0
"""Seconds between two looks at who is above, in case another process still holds the pipe."""
LONGER_S = 10.0
"""What outer waits beyond the grace, so that inner has killed what it could."""
TIDY_S = 1.0
"""For what the server leaves behind to end by itself: some of it takes shared memory away."""


def main(level: str) -> int:
    """Start the server, or the guard of it, and see to its end."""
    above = os.getppid()
    _prctl(PR_SET_NAME, b"watchdog")  # else `pkill python` means this too
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    line = _first_line()
    if not line:
        return 1  # whoever started this is gone
    order = json.loads(line)
    grace_s: float = order["grace_s"]
    if level == "outer":
        reading, writing = os.pipe()
        inner = [*sys.orig_argv[:-1], "inner"]
        child = _start(inner, reading, 1, dies_with_us=False)
        os.close(reading)
        with suppress(BrokenPipeError):
            os.write(writing, line)
        code = _watch(child, above, grace_s + LONGER_S, lambda: os.close(writing))
        # Inner tells the end itself, unless it was killed.
        if code < 0:
            _tell(f"exit {code}")
        return 0
    output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    child = _start(order["command"], os.open(os.devnull, os.O_RDONLY), output, dies_with_us=True)
    _tell(f"pid {child}")
    code = _watch(child, above, grace_s, lambda: _signal(child, signal.SIGTERM))
    _tell(f"exit {code}")
    return 0


def _start(command: list[str], stdin: int, stdout: int, *, dies_with_us: bool) -> int:
    """A child in a session of its own, so that no signal of a terminal reaches it."""
    us = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if dies_with_us:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != us:  # we died before the kernel knew
                os._exit(1)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        if stdout != 1:
            os.dup2(stdout, 2)
        os.execv(command[0], command)  # noqa: S606  the command of whoever started this
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _watch(child: int, above: int, grace_s: float, end: Callable[[], None]) -> int:
    """Wait for the child; end it when whoever is above is gone or says so. Returns its exit code.

    Nothing that it started is left then.
    """
    waking, woken = os.pipe()
    os.set_blocking(waking, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    asked: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    listened, deadline = [0, waking], float("inf")
    while True:
        code = _reaped(child)
        if code is not None:
            _kill_the_rest()
            return code
        if time.monotonic() > deadline:
            _kill_the_rest()
            return -signal.SIGKILL
        ready, _, _ = select.select(listened, [], [], LOOK_S)
        if waking in ready:
            with suppress(BlockingIOError):
                os.read(waking, 512)
        over = (0 in ready and not _read(0)) or bool(asked) or os.getppid() != above
        if over and deadline == float("inf"):
            listened = [waking]
            deadline = time.monotonic() + grace_s
            end()


def _first_line() -> bytes:
    """What comes through the pipe, up to the end of the line; empty = it ended before."""
    line = b""
    while not line.endswith(b"\n"):
        block = _read(0)
        if not block:
            return b""
        line += block
    return line


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 512)
    except OSError:  # it is closed: nobody is above
        return b""


def _reaped(child: int) -> int | None:
    """Take in all that have ended, orphans too; the child's exit code once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)


def _kill_the_rest() -> None:
    """SIGTERM to everything below, then SIGKILL until there is nothing.

    Nothing is below when there is no child: orphans become children of ours.
    """
    deadline = time.monotonic() + TIDY_S
    asked: set[int] = set()
    while _has_children():
        late = time.monotonic() > deadline
        below = _below(os.getpid())
        for pid in below if late else below - asked:
            _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= below
        time.sleep(0.02)
        _reaped(-1)


def _has_children() -> bool:
    """Whether there is a child, be it one that has ended and is not reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _below(top: int) -> set[int]:
    """All descendants of a process.

    Those too that count as ended while one of their threads is still there: what they started is
    not ours before that thread ends.
    """
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended
            # The name is in brackets, and may hold brackets and spaces of its own.
            parent = int(each.read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(each.parent.name))
    found: set[int] = set()
    todo = [top]
    while todo:
        new = set(children.get(todo.pop(), ())) - found
        found |= new
        todo += new
    return found


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _tell(line: str) -> None:
    with suppress(OSError):  # nobody is above to read it
        os.write(1, f"{line}\n".encode())


def _prctl(option: int, value: int | bytes) -> None:
    """Set a property of this process; elsewhere than on Linux the pipes alone must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
