"""A fake teacher for a test that is not asynchronous: in a thread, or in a process of its own.

The process outlives what is tested: kill a run as often as you like, its books stay.
"""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from synthkd.errors import UserError
from synthkd.fake_teacher.provider import FakeTeacher

DEADLINE_S = 60
"""A server that neither started nor stopped by then never will."""


@contextmanager
def in_thread(teacher: FakeTeacher, port: int = 0) -> Iterator[FakeTeacher]:
    """Serve from a thread with an event loop of its own, while the block runs.

    Raises:
        UserError: the port is taken.
    """
    started: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event] | BaseException]
    started = queue.SimpleQueue()

    async def serve() -> None:
        stopped = asyncio.Event()
        async with teacher.serve(port):
            started.put((asyncio.get_running_loop(), stopped))
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  it is raised where the test can see it
            started.put(error)

    thread = threading.Thread(target=run, name="fake teacher", daemon=True)
    thread.start()
    first = started.get(timeout=DEADLINE_S)
    if isinstance(first, BaseException):
        raise first
    loop, stopped = first
    try:
        yield teacher
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(DEADLINE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherProcess:
    """A fake teacher in another process."""

    url: str
    """Its base URL, which ends in /v1."""

    @property
    def stats(self) -> dict[str, Any]:
        """What it was asked and what it billed."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=10) as reply:  # noqa: S310  an http URL of our own
            stats: dict[str, Any] = json.load(reply)
            return stats

    @property
    def repeats(self) -> int:
        """Requests beyond the first of each body."""
        return sum(count - 1 for count in self.stats["bodies"].values())


@contextmanager
def in_process(*options: str) -> Iterator[TeacherProcess]:
    """Run `synthkd fake-teacher` with these options, while the block runs.

    Raises:
        UserError: it does not start; the message is its own.
    """
    command = [sys.executable, "-m", "synthkd", "fake-teacher", *options]
    with subprocess.Popen(  # noqa: S603  our own command
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise UserError(
                    f"`synthkd fake-teacher {' '.join(options)}` ended before it listened: see"
                    f" what it said above"
                )
            yield TeacherProcess(url=url)
        finally:
            process.terminate()
            process.wait(DEADLINE_S)
