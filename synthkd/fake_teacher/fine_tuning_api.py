"""The HTTP of fine-tuning jobs: /v1/fine_tuning/jobs."""

from __future__ import annotations

import re

from aiohttp import web

from synthkd.fake_teacher.calls import Calls, Handler, asked, page
from synthkd.fake_teacher.fine_tuning import FineTuning
from synthkd.fake_teacher.wire import json_response

JOBS = "/v1/fine_tuning/jobs"
FILTER = re.compile(r"^metadata\[(.+)\]$")


class FineTuningApi:
    """The handlers of one provider.

    Args:
        fine_tuning: what they speak for.
        calls: what happens to each call.
        is_there: whether the provider fine-tunes at all; else every call is 404.
    """

    def __init__(self, fine_tuning: FineTuning, calls: Calls, *, is_there: bool = True) -> None:
        self._jobs = fine_tuning
        self._calls = calls
        self._is_there = is_there

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register the routes."""
        router.add_post(JOBS, self._called(self._create))
        router.add_get(JOBS, self._called(self._list))
        router.add_get(f"{JOBS}/{{id}}", self._called(self._job))
        router.add_get(f"{JOBS}/{{id}}/events", self._called(self._events))
        router.add_post(f"{JOBS}/{{id}}/cancel", self._called(self._cancel))

    def _called(self, handler: Handler) -> Handler:
        return self._calls.through(handler, is_there=self._is_there)

    async def _create(self, http: web.Request) -> web.Response:
        return json_response(self._jobs.create(await asked(http)).as_json)

    async def _list(self, http: web.Request) -> web.Response:
        wanted = [
            (found[1], value) for name, value in http.query.items() if (found := FILTER.match(name))
        ]
        known = [job.as_json for job in self._jobs.listed()]
        return page(
            http,
            [
                job
                for job in known
                if all((job["metadata"] or {}).get(name) == value for name, value in wanted)
            ],
        )

    async def _job(self, http: web.Request) -> web.Response:
        return json_response(self._jobs.look(http.match_info["id"]).as_json)

    async def _events(self, http: web.Request) -> web.Response:
        return page(http, self._jobs.look(http.match_info["id"]).events)

    async def _cancel(self, http: web.Request) -> web.Response:
        return json_response(self._jobs.cancel(http.match_info["id"]).as_json)
