"""The HTTP of files and batches: /v1/files and /v1/batches."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from synthkd.fake_teacher.batches import Batches, File
from synthkd.fake_teacher.calls import Calls, Handler, asked, page
from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.wire import json_response


class BatchApi:
    """The handlers of one provider.

    Args:
        batches: what they speak for.
        endpoints: the paths that a batch may ask.
        calls: what happens to each call.
        most_bytes: of a file; a larger one is answered 413. None = no limit.
        is_there: whether the provider has batches at all; else every call is 404.
    """

    def __init__(
        self,
        batches: Batches,
        endpoints: Sequence[str],
        calls: Calls,
        *,
        most_bytes: int | None = None,
        is_there: bool = True,
    ) -> None:
        self._batches = batches
        self._endpoints = endpoints
        self._calls = calls
        self._most_bytes = most_bytes
        self._is_there = is_there

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
        return self._calls.through(handler, is_there=self._is_there)

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
        return page(http, [file.as_json for file in reversed(files)])

    async def _file(self, http: web.Request) -> web.Response:
        return json_response(self._found(http).as_json)

    async def _content(self, http: web.Request) -> web.Response:
        return web.Response(body=self._found(http).content, content_type="application/octet-stream")

    async def _delete(self, http: web.Request) -> web.Response:
        file = self._batches.files.pop(self._found(http).id)
        return json_response({"id": file.id, "object": "file", "deleted": True})

    async def _create(self, http: web.Request) -> web.Response:
        return json_response(self._batches.create(await asked(http), self._endpoints).as_json)

    async def _list(self, http: web.Request) -> web.Response:
        known = [self._batches.look(identity).as_json for identity in self._batches.batches]
        return page(http, known[::-1])

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
