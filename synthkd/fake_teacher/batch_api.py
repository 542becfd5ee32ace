"""The HTTP of files and batches: /v1/files and /v1/batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from synthkd.fake_teacher.batches import Batches, File
from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.wire import json_response


class BatchApi:
    """The handlers of one provider.

    Args:
        batches: what they speak for.
        endpoints: the paths that a batch may ask.
    """

    def __init__(self, batches: Batches, endpoints: Sequence[str]) -> None:
        self._batches = batches
        self._endpoints = endpoints

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register the routes."""
        router.add_post("/v1/files", self._upload)
        router.add_get("/v1/files", self._files)
        router.add_get("/v1/files/{id}", self._file)
        router.add_get("/v1/files/{id}/content", self._content)
        router.add_delete("/v1/files/{id}", self._delete)
        router.add_post("/v1/batches", self._create)
        router.add_get("/v1/batches", self._list)
        router.add_get("/v1/batches/{id}", self._batch)
        router.add_post("/v1/batches/{id}/cancel", self._cancel)

    async def _upload(self, http: web.Request) -> web.Response:
        form = await http.post()
        upload, purpose = form.get("file"), form.get("purpose")
        if not isinstance(upload, web.FileField) or not isinstance(purpose, str):
            raise Refusal(400, "a form with 'file' and 'purpose' is needed")
        content = upload.file.read()
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
