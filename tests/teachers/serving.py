"""Servers on loopback that answer as a test tells them to, and a teacher that asks them once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from synthkd.config import TeacherConfig
from synthkd.teachers.http import open_http
from synthkd.teachers.request import Completion, Request

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The base URL of a server that answers any request so."""
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def ask(text: str = "one two three", **changes: Any) -> Request:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0.5,
    }
    return Request(body={**body, **changes.pop("body", {})}, inputs={}, **changes)


async def complete(
    url: str | list[str], request: Request | None = None, **settings: Any
) -> Completion:
    config = TeacherConfig(endpoint=url, model="m", **settings)
    async with open_http("main", config) as teacher:
        return await teacher.complete(request or ask())


def event(**values: Any) -> bytes:
    """One server-sent event of a chat stream."""
    return b"data: " + orjson.dumps({"id": "s", "model": "m-served", **values}) + b"\n\n"


def piece(finish: str | None = None, **delta: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


DONE = b"data: [DONE]\n\n"
USAGE = event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 3})


def streaming(
    pieces: Iterable[bytes | float], seen: list[Mapping[str, Any]] | None = None
) -> Answer:
    """A server that sends these pieces; a number is a pause in seconds."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if seen is not None:
            seen.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for each in pieces:
            if isinstance(each, float):
                await asyncio.sleep(each)
            else:
                await response.write(each)
        return response

    return answer
