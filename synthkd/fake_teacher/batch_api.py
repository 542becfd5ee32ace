"""The HTTP of files and batches: /v1/files and /v1/batches, and how their calls go wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from synthkd.errors import UserError
from synthkd.fake_teacher.batches import Batches, File
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


class BatchApi:
    """The handlers of one provider.

    Args:
        batches: what they speak for.
        endpoints: the paths that a batch may ask.
        script: faults of the next calls in order, None = it goes well.
        books: counts calls, and the faults that were met.
        most_bytes: of a file; a larger one is answered 413. None = no limit.
        is_there: whether the provider has batches at all; else every call is 404.

    Raises:
        UserError: a fault that does not exist.
    """

    def __init__(
        self,
        batches: Batches,
        endpoints: Sequence[str],
        *,
        script: Iterable[str | None] = (),
        books: Books,
        most_bytes: int | None = None,
        is_there: bool = True,
    ) -> None:
        self._batches = batches
        self._endpoints = endpoints
        self.script = deque(script)
        self._books = books
        self._most_bytes = most_bytes
        self._is_there = is_there
        for fault in filter(None, self.script):
            if fault not in (*ERRORS, *CALL_FAULTS):
                known = " ".join([*ERRORS, *CALL_FAULTS])
                raise UserError(f"no fault of a batch call {fault!r}; there are {known}")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register the routes."""
        router.add_post("/v1/files", self._called(self._upload))
        router.add_get("/v1/files", self._called(self._files))
        router.add_get("/v1/files/{id}", self._called(self._file))
        router.add_get("/v1/files/{id}/content", self._called(self._content))
        router.add_delete("/v1/files/{id}", self._called(self._delete))
        router.add_post("/v1/batches", self._called(self._create))
        router.add_get("/v1/batches", self._called(self._list))
        router.add_get("/v1/batches/{id}", self._called(self._batch))
        router.add_post("/v1/batches/{id}/cancel", self._called(self._cancel))

    def _called(self, handler: Handler) -> Handler:
        """The handler, as the script has it."""

        async def call(http: web.Request) -> web.StreamResponse:
            self._books.batch_calls += 1
            if not self._is_there:
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

    async def _upload(self, http: web.Request) -> web.Response:
        form = await http.post()
        upload, purpose = form.get("file"), form.get("purpose")
        if not isinstance(upload, web.FileField) or not isinstance(purpose, str):
            raise Refusal(400, "a form with 'file' and 'purpose' is needed")
        content = upload.file.read()
        if self._most_bytes is not None and len(content) > self._most_bytes:
            raise Refusal(413, f"The file is larger than {self._most_bytes} bytes.")
        return json_response(self._batches.add_file(upload.filename, purpose, content).as_json)

    async def _files(self, http: web.Request) -> web.Response:
        purpose = http.query.get("purpose")
        files = [each for each in self._batches.files.values() if purpose in {None, each.purpose}]
        return _page(http, [file.as_json for file in reversed(files)])

    async def _file(self, http: web.Request) -> web.Response:
        return json_response(self._found(http).as_json)

    async def _content(self, http: web.Request) -> web.Response:
        return web.Response(body=self._found(http).content, content_type="application/octet-stream")

    async def _delete(self, http: web.Request) -> web.Response:
        file = self._batches.files.pop(self._found(http).id)
        return json_response({"id": file.id, "object": "file", "deleted": True})

    async def _create(self, http: web.Request) -> web.Response:
        try:
            asked = orjson.loads(await http.read())
        except orjson.JSONDecodeError:
            raise Refusal(400, "the body is not JSON") from None
        return json_response(self._batches.create(asked, self._endpoints).as_json)

    async def _list(self, http: web.Request) -> web.Response:
        known = [self._batches.look(identity).as_json for identity in self._batches.batches]
        return _page(http, known[::-1])

    async def _batch(self, http: web.Request) -> web.Response:
        return json_response(self._batches.look(http.match_info["id"]).as_json)

    async def _cancel(self, http: web.Request) -> web.Response:
        return json_response(self._batches.cancel(http.match_info["id"]).as_json)

    def _found(self, http: web.Request) -> File:
        identity = http.match_info["id"]
        file = self._batches.files.get(identity)
        if file is None:
            raise Refusal(404, f"No such File object: {identity}", "not_found")
        return file


async def _half(http: web.Request, whole: web.Response) -> web.StreamResponse:
    """Half of a reply, then a reset."""
    body = bytes(whole.body) if isinstance(whole.body, bytes | bytearray) else b""
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(http)
    await response.write(body[: len(body) // 2])
    return reset(http)


def _page(http: web.Request, found: list[dict[str, Any]]) -> web.Response:
    """A page of a list, newest first, as `limit` and `after` ask."""
    after = http.query.get("after")
    names = [each["id"] for each in found]
    start = names.index(after) + 1 if after in names else 0
    try:
        end = start + max(1, int(http.query.get("limit", "20")))
    except ValueError:
        raise Refusal(400, "'limit' must be a number") from None
    page = found[start:end]
    return json_response(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": end < len(found),
        }
    )
