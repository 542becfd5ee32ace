"""The fake provider itself: a server on loopback, its faults carried out, and its books.

The books tell what a client cannot know: every request that came in, how often each body did, and
what was billed, answers that were lost on the way included.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from synthkd.errors import UserError
from synthkd.fake_teacher.chat import answer, usage_of
from synthkd.fake_teacher.faults import ERRORS, Faults

REMEMBERED = 100
"""So many of the last bodies and headers are kept for tests to look at."""

LARGEST_BODY = 2**29
"""Bytes: more than any client sends, less than a test machine has."""


class FakeTeacher:
    """See the package.

    Args:
        latency_s: seconds before each answer.
        rates: fault -> share of the attempts; see `faults.py` for their names.
        script: faults of the next attempts in order, None = answer; taken before `rates` count.
        retry_after: extra headers of a 429 or 503 that is a fault.
        tells_usage: whether answers say how many tokens they cost.
        seed: of the faults by rate.

    Raises:
        UserError: an unknown fault, or shares that are none.
    """

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        rates: Mapping[str, float] | None = None,
        script: Iterable[str | None] = (),
        retry_after: Mapping[str, str] | None = None,
        tells_usage: bool = True,
        seed: int = 0,
    ) -> None:
        self.latency_s = latency_s
        self.retry_after = retry_after or {}
        self.tells_usage = tells_usage
        self.url = ""
        self.requests = 0
        self.billed_requests = 0
        self.billed_tokens = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.bodies: Counter[bytes] = Counter()
        """SHA-256 of a body -> how often it was asked."""
        self.seen: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        """The last bodies, parsed."""
        self.headers: deque[Mapping[str, str]] = deque(maxlen=REMEMBERED)
        """The headers that came with them."""
        self._faults = Faults(rates or {}, script, seed)
        self._milestones: list[tuple[int, asyncio.Event]] = []

    @property
    def rates(self) -> dict[str, float]:
        """Fault -> share of the attempts; may be changed at any time."""
        return self._faults.rates

    @property
    def script(self) -> deque[str | None]:
        """The faults of the next attempts; may be changed at any time."""
        return self._faults.script

    @asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[FakeTeacher]:
        """Listen while the block runs; `url` is the base URL. Port 0 = any that is free.

        Raises:
            UserError: the host is not loopback, or the port is taken.
        """
        _check_loopback(host)
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/health", _healthy)
        app.router.add_get("/stats", self._stats)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port, backlog=2048).start()
            except OSError as error:
                raise UserError(
                    f"cannot listen on {host}:{port}: {error.strerror}; port 0 takes a free one"
                ) from None
            address = f"[{host}]" if ":" in host else host
            self.url = f"http://{address}:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def reached(self, requests: int) -> None:
        """Wait until so many requests came in."""
        event = asyncio.Event()
        self._milestones.append((requests, event))
        self._mark()
        await event.wait()

    @property
    def stats(self) -> dict[str, Any]:
        """What /stats says."""
        return {
            "requests": self.requests,
            "billed_requests": self.billed_requests,
            "billed_tokens": self.billed_tokens,
            "most_in_flight": self.most_in_flight,
            "bodies": {digest.hex(): count for digest, count in self.bodies.items()},
        }

    async def _stats(self, _: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.stats), content_type="application/json")

    def _mark(self) -> None:
        for requests, event in self._milestones:
            if self.requests >= requests:
                event.set()

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        digest = hashlib.sha256(raw).digest()
        fault = self._faults.next(digest, self.bodies[digest])
        self.requests += 1
        self.bodies[digest] += 1
        body = orjson.loads(raw)
        self.seen.append(body)
        self.headers.append(http.headers)
        self._mark()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            return await self._answer(http, fault, body, digest)
        finally:
            self.in_flight -= 1

    async def _answer(
        self, http: web.Request, fault: str | None, body: dict[str, Any], digest: bytes
    ) -> web.StreamResponse:
        if fault is not None and fault in ERRORS:
            return self._error(http, fault)
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": "http://elsewhere.example/v1"})
        if fault == "reset":
            return _reset(http)
        self._bill(body)
        if fault == "stall":
            await asyncio.sleep(3600)
        if fault == "lost":
            return _reset(http)
        reply = orjson.dumps(self._reply(body, digest))
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(reply))})
            await response.prepare(http)
            await response.write(reply[: len(reply) // 2])
            return _reset(http)
        if fault == "json":
            reply = reply[:-20]
        if fault == "empty":
            reply = b'{"object": "chat.completion", "choices": []}'
        if fault == "surrogate":
            reply = reply.replace(b'"content":"', rb'"content":"\ud800 ')
        return web.Response(body=reply, content_type="application/json")

    def _reply(self, body: dict[str, Any], digest: bytes) -> dict[str, Any]:
        reply = answer(body, digest)
        return reply if self.tells_usage else {**reply, "usage": None}

    def _error(self, http: web.Request, fault: str) -> web.Response:
        status, code = ERRORS[fault]
        # Some providers echo the key in what they say.
        said = f"scripted {fault}, you sent {http.headers.get('Authorization', 'no key')}"
        return web.Response(
            status=status,
            headers=dict(self.retry_after) if status in {429, 503} else {},
            body=orjson.dumps({"error": {"message": said, "type": code, "code": code}}),
            content_type="application/json",
        )

    def _bill(self, body: dict[str, Any]) -> None:
        usage = usage_of(body)
        self.billed_requests += 1
        self.billed_tokens += usage["prompt_tokens"] + usage["completion_tokens"]


async def _healthy(_: web.Request) -> web.Response:
    return web.Response()


def _check_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UserError(
            f"the fake teacher listens on loopback only, got {host!r}: it asks nobody for a"
            f" password. Use 127.0.0.1, ::1 or localhost"
        )


def _reset(http: web.Request) -> web.StreamResponse:
    if http.transport is not None:  # the client may have gone first
        http.transport.abort()
    return web.Response()
