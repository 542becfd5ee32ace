"""One process under its watchdog: started, followed to its end, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("guard.py")
GRACE_S = 10.0
"""Between SIGTERM and SIGKILL: vLLM takes one or two seconds to let go of a GPU."""


class Process:
    """A running server and its guard; made by `started`."""

    def __init__(self, guard: subprocess.Popen[bytes]) -> None:
        self._guard = guard
        self._following: asyncio.Task[None] | None = None
        self.pid: int | None = None
        """Of the server; None until it is started."""
        self.code: int | None = None
        """Its exit code; below zero is a signal. None = it runs, or its guards were killed."""
        self.ended = asyncio.Event()
        """Nothing of it is left."""

    async def stop(self) -> None:
        """End it and all that it started; returns when nothing is left."""
        self._let_go()
        await self.ended.wait()

    def _let_go(self) -> None:
        """Close our end of the pipe: that is what the guard waits for."""
        assert self._guard.stdin is not None  # noqa: S101  it is a pipe
        with suppress(OSError):
            self._guard.stdin.close()

    async def follow(self) -> None:
        """Begin to read what the guard tells."""
        assert self._guard.stdout is not None  # noqa: S101  it is a pipe
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._guard.stdout
        )
        self._following = asyncio.create_task(self._read(reader, transport))

    async def _read(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        async for line in reader:
            word, _, number = line.decode().partition(" ")
            if word == "pid":
                self.pid = int(number)
            elif word == "exit":
                self.code = int(number)
        transport.close()
        self._let_go()
        if self.code is None and self.pid is not None:
            # Both guards were killed at once. What they guarded is a process group of its own.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        await asyncio.to_thread(self._guard.wait)
        self.ended.set()


async def started(
    command: Sequence[str], environment: Mapping[str, str], log: Path, grace_s: float = GRACE_S
) -> Process:
    """Start a server under its guard.

    Args:
        command: the program with its full path, and its arguments.
        environment: all of it.
        log: what it prints is appended there.
        grace_s: between SIGTERM and SIGKILL when it is stopped.
    """
    order = {"grace_s": grace_s, "log": str(log), "command": list(command)}
    with _appended(log) as output, GUARD.open("rb") as program:
        words, executable = [sys.executable, "-I", "-S", str(GUARD)], sys.executable
        if sys.platform == "linux":
            # Neither the path of Python nor ours is among the words, see guard.py. Not the Python
            # of an environment, which finds its library by its own path.
            words[0] = "/proc/self/exe"
            executable = getattr(sys, "_base_executable", sys.executable)
            words[3] = f"/proc/self/fd/{program.fileno()}"
        guard = subprocess.Popen(  # noqa: S603, ASYNC220  our own program; it starts in a moment
            [*words, "watchdog", "outer"],
            executable=executable,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,  # not ours: who reads that would wait for the guard
            env=environment,
            pass_fds=[program.fileno()],
            start_new_session=True,
        )
    assert guard.stdin is not None  # noqa: S101  it is a pipe
    with suppress(BrokenPipeError):
        guard.stdin.write(json.dumps(order).encode() + b"\n")
        guard.stdin.flush()
    process = Process(guard)
    await process.follow()
    return process


def _appended(log: Path) -> IO[bytes]:
    """A log that only its owner can read."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
