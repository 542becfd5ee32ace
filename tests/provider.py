"""A fake OpenAI-compatible provider on loopback: answers that are a function of the request, faults
on purpose, and a count of what it billed.

In a test:

    async with Provider(rates={"429": 0.1}).serve() as provider:
        provider.url, provider.billed_tokens, provider.bodies

By itself: `python tests/provider.py --port 0 --latency 0 --fault 429=0.1`; it prints its base URL.

Faults: 429, 500, 503, 400, 401, 404, 413, quota, reset (before billing), cut, json (invalid), empty
(no choices), stall, lost (bills, then resets), surrogate, redirect.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import signal
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

ERRORS: Mapping[str, tuple[int, str | None]] = {
    "429": (429, "rate_limit_exceeded"),
    "500": (500, None),
    "503": (503, None),
    "408": (408, None),
    "409": (409, None),
    "400": (400, "invalid_request_error"),
    "413": (413, None),
    "422": (422, None),
    "401": (401, "invalid_api_key"),
    "403": (403, None),
    "404": (404, "model_not_found"),
    "quota": (429, "insufficient_quota"),
    "no_model": (400, "model_not_found"),
}


class Provider:
    """See the module.

    Args:
        latency_s: seconds before each answer.
        rates: fault -> share of the attempts, decided by a hash of body, attempt and seed.
        script: faults of the next attempts in order, None = answer; taken before `rates` count.
        retry_after: extra headers of a 429 or 503.
        seed: of the faults by rate.
    """

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        rates: Mapping[str, float] | None = None,
        script: Iterable[str | None] = (),
        retry_after: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        self.latency_s = latency_s
        self.rates = dict(rates or {})
        self.script = deque(script)
        self.retry_after = retry_after or {}
        self.seed = seed
        self.url = ""
        self.requests = 0
        self.billed_requests = 0
        self.billed_tokens = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.bodies: Counter[bytes] = Counter()
        """SHA-256 of a body -> how often it was asked."""
        self.seen: list[dict[str, Any]] = []
        """The last bodies, parsed."""
        self.headers: list[Mapping[str, str]] = []
        self._milestones: list[tuple[int, asyncio.Event]] = []

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[Provider]:
        """Listen; `url` is the base URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/stats", self._stats)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
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
        fault = self._fault(digest)
        self.requests += 1
        self.bodies[digest] += 1
        body = orjson.loads(raw)
        self.seen = [*self.seen[-99:], body]
        self.headers = [*self.headers[-99:], http.headers]
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
        if fault == "stall":
            self._bill(body)
            await asyncio.sleep(3600)
        reply = orjson.dumps(answer(body, digest))
        self._bill(body)
        if fault == "lost":
            return _reset(http)
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

    def _fault(self, digest: bytes) -> str | None:
        if self.script:
            return self.script.popleft()
        if not self.rates:
            return None
        seed = digest + f"{self.seed} {self.bodies[digest]}".encode()
        chance = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") / 2**64
        for fault, share in self.rates.items():
            if chance < share:
                return fault
            chance -= share
        return None

    def _bill(self, body: dict[str, Any]) -> None:
        usage = usage_of(body)
        self.billed_requests += 1
        self.billed_tokens += usage["prompt_tokens"] + usage["completion_tokens"]


def answer(body: dict[str, Any], digest: bytes) -> dict[str, Any]:
    """The reply: a function of the body alone."""
    words = _words(body)
    usage = usage_of(body)
    cut = usage["completion_tokens"] < len(words)
    return {
        "id": f"chatcmpl-{digest.hex()[:12]}",
        "object": "chat.completion",
        "model": f"{body['model']}-served",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": " ".join(words[: usage["completion_tokens"]]),
                },
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def usage_of(body: dict[str, Any]) -> dict[str, int]:
    """One token a word of the answer; a prompt costs as much as it possibly could."""
    prompt = sum(len(message["content"].encode()) + 16 for message in body["messages"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": min(len(_words(body)), body.get("max_tokens", 10**9)),
    }


def _words(body: dict[str, Any]) -> list[str]:
    return ["echo", f"{body.get('seed', '-')}:", *body["messages"][-1]["content"].split()]


def _reset(http: web.Request) -> web.StreamResponse:
    assert http.transport is not None
    http.transport.abort()
    return web.Response()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE")
    parser.add_argument("--retry-after", default="1", help="seconds, of a 429 or 503")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs = [fault.split("=") for fault in options.fault]
    provider = Provider(
        latency_s=options.latency,
        rates={name: float(share) for name, share in pairs},
        retry_after={"Retry-After": options.retry_after},
        seed=options.seed,
    )
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with provider.serve(options.port):
        print(provider.url, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
