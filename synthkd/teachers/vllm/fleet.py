"""All servers of a `vllm` block, one set for all teachers with the same block.

The first question that the ledger cannot answer starts them; they stop with the run, and before a
student is trained.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from synthkd.config import TeacherConfig, VllmConfig
from synthkd.errors import AttemptFailed, TeacherRefused
from synthkd.rows import canonical
from synthkd.teachers.closing import GRACE_S
from synthkd.teachers.concurrency import Load
from synthkd.teachers.http import BrokenOff, HttpTeacher, connected
from synthkd.teachers.load import load_of, metrics_url
from synthkd.teachers.patience import PATIENCE_S
from synthkd.teachers.request import Api, Completion, Request, Teacher
from synthkd.teachers.servers import Servers
from synthkd.teachers.vllm.command import Launch, shared_gpus
from synthkd.teachers.vllm.find import find_python
from synthkd.teachers.vllm.model import Adapter, Model, find_adapters, find_model
from synthkd.teachers.vllm.server import Server, log_file
from synthkd.teachers.wire import PATH, path_of

LOGS = Path(".synthkd", "vllm")
"""Where the logs go, below the working folder."""

DRAIN_LOOK_S = 0.2
"""Seconds between two looks whether a server is idle."""

_log = logging.getLogger("synthkd")  # without any set-up, warnings go to stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A `vllm` block, and what was found for it."""

    name: str
    """Of the first teacher that has it."""
    config: VllmConfig
    model: Model
    adapters: list[Adapter]
    base: Path
    """The pipeline file's folder."""


def block_of(name: str, config: VllmConfig, base: Path, *, offline: bool) -> Block:
    """The block with what was found for it.

    Raises:
        UserError: no such folder, or no model in it.
    """
    return Block(
        name=name,
        config=config,
        model=find_model(name, config, base, offline=offline),
        adapters=find_adapters(name, config, base),
        base=base,
    )


class Fleet:
    """The servers of one block. Nothing runs until somebody asks.

    Args:
        block: what they serve.
        run_id: the run that they belong to, for the names of their logs.
        logs: the folder for those.
        ports: of each server; None = free ones.
        is_open: whether anybody on this machine may ask them, without a key.
    """

    def __init__(
        self,
        block: Block,
        run_id: str,
        logs: Path = LOGS,
        *,
        ports: Sequence[int] | None = None,
        is_open: bool = False,
    ) -> None:
        self._block = block
        self._ports = ports
        self._logs = logs
        digest = hashlib.sha256(canonical(block.config.model_dump(mode="json"))).hexdigest()
        self._log_name = f"{run_id[:12]}-{digest[:6]}"
        self._key = None if is_open else secrets.token_urlsafe(24)
        self.starts = 0
        """How often they were started together."""
        self.servers = Servers([])
        """Which of them is asked; those that are not up are left out."""
        self._running: list[Server] = []
        self._up: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._hopeless = 0
        """Servers that were given up."""
        self._broken: Exception | None = None
        self._changed = asyncio.Event()
        self._stopping = asyncio.Lock()

    @property
    def patience_s(self) -> float:
        """How long its teachers may do nothing but fail: a start is no failure."""
        return self._block.config.start_timeout_s + PATIENCE_S

    def awaited_by(self, inner: Teacher) -> Teacher:
        """The layer that waits for them, around those that hold slots and money."""
        return Awaiting(inner, self)

    @property
    def said(self) -> str:
        """How the start goes, for people; empty = nothing is being started."""
        waiting = [s for number, s in enumerate(self._running) if number not in self._up]
        return waiting[0].said() if waiting and self._task is not None else ""

    async def ready(self) -> None:
        """Return when a server can be asked; the first who comes has them started.

        Raises:
            UserError: they cannot be started: no vLLM, too few GPUs.
            TeacherRefused: they do not start, or have died too often.
        """
        while not self._up:
            if self._broken is not None:
                raise self._broken
            if self._task is None:
                self.starts += 1
                self._task = asyncio.create_task(self._run())
            await self._next_change()

    async def all_ready(self) -> list[str]:
        """The base URLs of all of them, once each can be asked; raises as `ready` does."""
        await self.ready()
        while len(self._up) < len(self._running):
            await self._next_change()
        return [server.url for server in self._running]

    async def lost(self) -> None:
        """Return never; raise when there is no hope of any."""
        while True:
            await self._next_change()

    async def _next_change(self) -> None:
        await self._changed.wait()
        if self._broken is not None:
            raise self._broken

    async def drain(self) -> None:
        """Return when the servers say that they work on nothing, or after `GRACE_S`.

        For questions of others: what this process asks is awaited by `Closing`.
        """
        urls = self._metrics()
        timeout = aiohttp.ClientTimeout(total=GRACE_S)
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(GRACE_S), aiohttp.ClientSession(timeout=timeout) as session:
                for url in urls:
                    while (load := await load_of(session, url)) and load.running + load.waiting > 0:  # noqa: ASYNC110  another process works on it
                        await asyncio.sleep(DRAIN_LOOK_S)

    def _metrics(self) -> list[URL]:
        """Where those that are up tell how busy they are; after a stop they have other ports."""
        return [metrics_url(self._running[number].url) for number in sorted(self._up)]

    async def stop(self) -> None:
        """Stop them all; a later question starts them again."""
        async with self._stopping:
            task, self._task = self._task, None
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
            self._up.clear()
            self._running = []

    async def _run(self) -> None:
        try:
            await self._keep_all()
        except Exception as error:  # noqa: BLE001  it is raised to whoever waits in `ready`
            self._broken = _first_of(error)
            self._up.clear()
            self._tell()

    async def _keep_all(self) -> None:
        launch = await asyncio.to_thread(self._prepare)
        self._running = [
            Server(
                launch,
                number,
                log_file(self._logs, f"{self._log_name}-{number}"),
                None if self._ports is None else self._ports[number],
            )
            for number in range(self._block.config.servers)
        ]
        fresh = Servers([_urls(server) for server in self._running])
        self.servers.all[:] = fresh.all
        for number in range(len(self._running)):
            self._is_down(number)
        async with asyncio.TaskGroup() as group:
            for number, server in enumerate(self._running):
                group.create_task(self._keep(number, server))

    async def _keep(self, number: int, server: Server) -> None:
        try:
            await server.keep(lambda: self._is_up(number), lambda: self._is_down(number))
        except TeacherRefused as error:
            self._hopeless += 1
            if not server.ever_up or self._hopeless == len(self._running):
                raise
            # The others go on: better slower than not at all.
            _log.warning("%s is given up, the others go on: %s", server.label, error)

    def _prepare(self) -> Launch:
        block = self._block
        return Launch(
            python=find_python(),
            config=block.config,
            model=block.model,
            adapters=block.adapters,
            base=block.base,
            key=self._key,
            gpus=shared_gpus(block.name, block.config),
        )

    def _is_up(self, number: int) -> None:
        known = self.servers.all[number]
        known.urls = _urls(self._running[number])
        self.servers.answered(known)
        self._up.add(number)
        self._tell()

    def _is_down(self, number: int) -> None:
        self.servers.leave_out(self.servers.all[number])
        self._up.discard(number)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def opened(
        self, config: TeacherConfig, tell: Callable[[Load], None] | None
    ) -> AsyncIterator[Teacher]:
        """Who asks them for one teacher.

        Args:
            config: the teacher's block.
            tell: told how busy they are; None = they are not asked.
        """
        await self.ready()
        async with connected(config, self.servers, self._key, self._metrics, tell) as http:
            yield VllmTeacher(http)


class VllmTeacher:
    """One attempt at one of our own servers: what breaks off there is nobody's bill."""

    def __init__(self, http: HttpTeacher) -> None:
        self._http = http

    async def complete(self, request: Request) -> Completion:
        """Make one attempt."""
        try:
            return await self._http.complete(request)
        except BrokenOff as error:
            # It died with the question in it, which says nothing of the question.
            raise AttemptFailed(str(error), unreachable=True) from None
        except AttemptFailed as error:
            error.maybe_billed = False
            raise


class Awaiting:
    """The layer that waits until a server is up: what waits holds no slot and no money."""

    def __init__(self, inner: Teacher, fleet: Fleet) -> None:
        self.inner = inner
        self.fleet = fleet

    async def complete(self, request: Request) -> Completion:
        """Answer, once there is a server."""
        await self.fleet.ready()
        return await self.inner.complete(request)


def _urls(server: Server) -> Mapping[Api, URL]:
    return {api: URL(path_of(server.url, api)) for api in PATH}


def _first_of(error: Exception) -> Exception:
    """The error itself, out of the groups that task groups wrap it in."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
