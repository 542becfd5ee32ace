"""Calls to files, batches and fine-tuning jobs: how they go wrong, and how their lists are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from synthkd.errors import UserError
from synthkd.fake_teacher.books import Books
from synthkd.fake_teacher.faults import ERRORS, Refusal
from synthkd.fake_teacher.wire import json_response, reset, silence

CALL_FAULTS: Mapping[str, str] = {
    "reset": "the connection is reset, and nothing done",
    "stall": "no reply ever, and nothing done",
    "lost": "done, then the connection is reset",
    "hang": "done, and no reply ever",
    "cut": "half of a download, then the connection is reset",
}
"""Faults of one call, beside the error replies."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Calls:
    """What happens to the calls of one provider.

    Args:
        script: faults of the next calls in order, None = it goes well.
        books: counts calls, and the faults that were met.

    Raises:
        UserError: a fault that does not exist.
    """

    def __init__(self, script: Iterable[str | None], books: Books) -> None:
        self.script = deque(script)
        self._books = books
        for fault in filter(None, self.script):
            if fault not in (*ERRORS, *CALL_FAULTS):
                known = " ".join([*ERRORS, *CALL_FAULTS])
                raise UserError(f"no fault of a batch call {fault!r}; there are {known}")

    def through(self, handler: Handler, *, is_there: bool = True) -> Handler:
        """The handler, as the script has it; every call is 404 where it is not there."""

        async def call(http: web.Request) -> web.StreamResponse:
            self._books.batch_calls += 1
            if not is_there:
                raise Refusal(404, "Not Found", None)
            fault = self.script.popleft() if self.script else None
            if fault is not None:
                self._books.faults[fault] += 1
            if fault is not None and fault in ERRORS:
                status, code = ERRORS[fault]
                raise Refusal(status, f"scripted {fault}", code)
            if fault == "reset":
                return reset(http)
            if fault == "stall":
                return await silence(http)
            response = await handler(http)
            if fault == "cut" and isinstance(response, web.Response):
                return await _half(http, response)
            if fault == "lost":
                return reset(http)
            return await silence(http) if fault == "hang" else response

        return call


async def _half(http: web.Request, whole: web.Response) -> web.StreamResponse:
    """Half of a reply, then a reset."""
    body = bytes(whole.body) if isinstance(whole.body, bytes | bytearray) else b""
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(http)
    await response.write(body[: len(body) // 2])
    return reset(http)


async def asked(http: web.Request) -> dict[str, Any]:
    """The JSON object that a call sends.

    Raises:
        Refusal: 400, it is none.
    """
    try:
        body = orjson.loads(await http.read())
    except orjson.JSONDecodeError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is not a JSON object")
    return body


def page(http: web.Request, found: list[dict[str, Any]]) -> web.Response:
    """A page of a list, newest first, as `limit` and `after` ask."""
    after = http.query.get("after")
    names = [each["id"] for each in found]
    start = names.index(after) + 1 if after in names else 0
    try:
        end = start + max(1, int(http.query.get("limit", "20")))
    except ValueError:
        raise Refusal(400, "'limit' must be a number") from None
    shown = found[start:end]
    return json_response(
        {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": end < len(found),
        }
    )
