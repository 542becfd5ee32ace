"""What goes over the connection: whole replies, streams, and every way in which they break."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.streams import DONE, events

LOOK_S = 0.2
"""How often a stalled connection looks whether its client has gone."""

BLOCK = 64
"""Events of a stream that go out together where no time passes between tokens."""

_TEXT = re.compile(rb'("(?:content|text|arguments)":")')
"""Where the words of an answer begin."""

ELSEWHERE = "http://elsewhere.example/v1"


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A reply in JSON."""
    return web.Response(
        body=orjson.dumps(value), status=status, headers=headers, content_type="application/json"
    )


def refused(refusal: Refusal) -> web.Response:
    """The reply to a request that gets no answer."""
    return json_response(refusal.body, refusal.status, refusal.headers)


async def send(
    http: web.Request, reply: Mapping[str, Any], fault: str | None, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send a whole reply, as the fault has it."""
    raw = _garbled(orjson.dumps(reply), fault)
    if fault in {"cut", "hang"}:
        response = web.StreamResponse(headers={**headers, "Content-Length": str(len(raw))})
        response.content_type = "application/json"
        await response.prepare(http)
        await response.write(raw[: len(raw) // 2])
        return reset(http) if fault == "cut" else await silence(http)
    whole = web.Response(body=raw, headers=headers, content_type="application/json")
    if fault == "gzip" and _takes_gzip(http):
        whole.enable_compression(web.ContentCoding.gzip)
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What became of a stream."""

    response: web.StreamResponse
    events: int
    """So many went out."""
    whole: bool
    """Whether it went out to its end."""


async def stream(
    http: web.Request,
    reply: Mapping[str, Any],
    fault: str | None,
    *,
    headers: Mapping[str, str],
    token_s: float,
    include_usage: bool,
) -> Streamed:
    """Send a reply event by event, as the fault has it; an event every `token_s` seconds.

    What follows half a stream, a reset or silence, is left to the caller.
    """
    told = _events(reply, fault, include_usage=include_usage)
    response = web.StreamResponse(headers={**headers, "Cache-Control": "no-cache"})
    response.content_type = "text/event-stream"
    if fault == "gzip" and _takes_gzip(http):
        response.enable_compression(web.ContentCoding.gzip)
    sent = 0
    try:
        await response.prepare(http)
        start_s = time.monotonic()
        while sent < len(told) and not _gone(http):
            due = sent + BLOCK
            if token_s:
                due = 1 + int((time.monotonic() - start_s) / token_s)
            if due > sent:
                await response.write(b"".join(told[sent:due]))
                sent = min(due, len(told))
            else:
                await asyncio.sleep(start_s + sent * token_s - time.monotonic())
    except ConnectionError:
        return Streamed(response=response, events=sent, whole=False)
    whole = sent == len(told) and fault not in {"cut", "hang"}
    return Streamed(response=response, events=sent, whole=whole)


def _events(reply: Mapping[str, Any], fault: str | None, *, include_usage: bool) -> list[bytes]:
    """The events to send, as the fault has them."""
    told = list(events(reply, include_usage=include_usage))
    middle = len(told) // 2
    if fault == "empty":
        return [DONE]
    if fault in {"cut", "hang"}:
        return told[:middle]
    if fault in {"json", "surrogate"}:
        told[middle] = _garbled(told[middle], fault)
    return told


async def drip(http: web.Request, *, streams: bool, pause_s: float) -> web.StreamResponse:
    """A byte now and then until the client goes: blanks before JSON, a comment in a stream."""
    response = web.StreamResponse()
    response.content_type = "text/event-stream" if streams else "application/json"
    with contextlib.suppress(ConnectionError):  # that the client goes is what ends it
        await response.prepare(http)
        while not _gone(http):
            await response.write(b":" if streams else b" ")
            await asyncio.sleep(pause_s)
    return response


async def silence(http: web.Request) -> web.StreamResponse:
    """Not a byte more, until the client goes."""
    while not _gone(http):  # noqa: ASYNC110  aiohttp tells no handler that its client has gone
        await asyncio.sleep(LOOK_S)
    return web.Response()


def reset(http: web.Request) -> web.StreamResponse:
    """Reset the connection."""
    if http.transport is not None:  # the client may have gone first
        http.transport.abort()
    return web.Response()


def _gone(http: web.Request) -> bool:
    return http.transport is None or http.transport.is_closing()


def _takes_gzip(http: web.Request) -> bool:
    return "gzip" in http.headers.get("Accept-Encoding", "")


def _garbled(raw: bytes, fault: str | None) -> bytes:
    """JSON that breaks off, or text that is no Unicode, for the faults that do this."""
    if fault == "json":
        return raw.rstrip()[:-20] + raw[len(raw.rstrip()) :]
    if fault == "surrogate":
        return _TEXT.sub(rb"\1\\ud800 ", raw, count=1)
    return raw
