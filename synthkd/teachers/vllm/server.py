"""One server, kept up: started, awaited, started again when it dies, given up when that is vain."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from synthkd.config.vllm import BASE
from synthkd.errors import TeacherRefused
from synthkd.teachers.vllm.command import Launch, arguments, environment
from synthkd.teachers.vllm.process import Process, started
from synthkd.teachers.vllm.reasons import GLANCE, reason_of, shown_tail, stage_of, tail_of

LOOK_S = 0.25
"""Seconds between two looks whether it answers."""
RESTARTS = 3
"""In a row: what dies a fourth time will die a fifth."""
STEADY_S = 300.0
"""A server that was up for so long is no failed start: its next death is counted as the first."""
BACKOFF_S = 1.0
"""Before the first start after a death; doubled each time. A GPU needs a moment to be free."""
PORTS = 5
"""Ports that are tried where others take them."""

_log = logging.getLogger("synthkd")  # without any set-up, warnings go to stderr


class Server:
    """A server with a port of its own, over all its starts.

    Args:
        launch: what is started.
        number: which of the block's servers, from 0.
        log: where it writes.
        port: None = a free one.
    """

    def __init__(self, launch: Launch, number: int, log: Path, port: int | None = None) -> None:
        self._launch = launch
        self._number = number
        self._log = log
        self._fixed = port is not None
        self._held: socket.socket | None = None
        self.port = port or 0
        self._log_from = 0
        """The log's length when this start began."""
        self._began = 0.0
        self._process: Process | None = None
        self.ever_up = False
        if port is None:
            self._take_port()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def label(self) -> str:
        """For people."""
        return f"vLLM server {self._launch.model.name} on port {self.port}"

    def said(self) -> str:
        """How its start goes: seconds, stage, the line of its log that says so."""
        stage = stage_of(tail_of(self._log, self._log_from, GLANCE))
        return f"{self.label} for {time.monotonic() - self._began:.0f} s: {stage}"

    async def keep(self, up: Callable[[], None], down: Callable[[], None]) -> None:
        """Keep it up until this is cancelled; it is stopped then.

        Args:
            up: called whenever it has begun to answer.
            down: called whenever it has died.

        Raises:
            TeacherRefused: it does not start, or dies again and again.
        """
        deaths = 0
        try:
            while True:
                process = await self._answering()
                self.ever_up = True
                since = time.monotonic()
                up()
                await process.ended.wait()
                down()
                deaths = 1 if time.monotonic() - since > STEADY_S else deaths + 1
                reason = reason_of(tail_of(self._log, self._log_from), process.code)
                if deaths > RESTARTS:
                    raise self._refused(f"died {deaths} times, each time soon: {reason}")
                _log.warning("%s died and is started again: %s", self.label, reason)
                await asyncio.sleep(BACKOFF_S * 2 ** (deaths - 1))
        finally:
            try:
                if self._process is not None:
                    await self._process.stop()
            finally:
                self._free_port()

    async def _answering(self) -> Process:
        """Start it, and wait until it answers."""
        for left in reversed(range(PORTS)):
            self._began = time.monotonic()
            self._log_from = self._log.stat().st_size if self._log.exists() else 0
            process = self._process = await started(
                arguments(self._launch, self.port),
                environment(self._launch, self._number),
                self._log,
            )
            if await self._awaited(process):
                return process
            text = tail_of(self._log, self._log_from)
            taken = "address already in use" in text.lower()
            if not taken or self._fixed or not left:
                reason = reason_of(text, process.code)
                raise self._refused(f"does not start: {reason}")
            self._free_port()
            self._take_port()
        raise AssertionError("the loop returns or raises")

    async def _awaited(self, process: Process) -> bool:
        """Whether it answers before it ends.

        Raises:
            TeacherRefused: it does neither in time.
        """
        limit_s = self._launch.config.start_timeout_s
        timeout = aiohttp.ClientTimeout(total=5)
        headers = {"Authorization": f"Bearer {self._launch.key}"} if self._launch.key else {}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            while time.monotonic() - self._began < limit_s:
                if process.ended.is_set():
                    return False
                if await self._is_up(session) and not process.ended.is_set():
                    return True
                await asyncio.sleep(LOOK_S)
        said = self.said()
        await process.stop()
        raise self._refused(f"did not answer within {limit_s:g} s (start_timeout_s); last: {said}")

    async def _is_up(self, session: aiohttp.ClientSession) -> bool:
        """Whether it is healthy, and it is this one: another would not know the key."""
        root = f"http://127.0.0.1:{self.port}"
        try:
            async with session.get(f"{root}/health") as response:
                if response.status != 200:
                    return False
            async with session.get(f"{root}/v1/models") as response:
                models = (await response.json())["data"] if response.status == 200 else []
            return any(model["id"] == BASE for model in models)
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError):
            return False  # another program may have the port, and say whatever it likes

    def _refused(self, what: str) -> TeacherRefused:
        tail = shown_tail(tail_of(self._log, self._log_from))
        return TeacherRefused(f"{self.label} {what}\nthe end of its log {self._log}:\n{tail}")

    # --- the port

    def _take_port(self) -> None:
        """Hold a free port, between two starts too: bound and not listening.

        So nobody else is given it, and vLLM can take it, because it binds with SO_REUSEADDR too.
        """
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port = self._held.getsockname()[1]

    def _free_port(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def log_file(folder: Path, name: str) -> Path:
    """An empty log that only its owner can read: a server may write questions into it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.close(descriptor)
    return file
