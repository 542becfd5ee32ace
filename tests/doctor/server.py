"""An endpoint that can do what a test wants it to, and refuses or ignores the rest."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

WORDS = [f"word-{number}" for number in range(28)]
EVERYTHING = frozenset({"models", "usage", "length", "n", "logprobs", "json_schema", "seed"})


class Server:
    """See the module.

    Args:
        can: which of `EVERYTHING` it does; it ignores the rest.
        refuses: names in a body that it answers 400 to.
        headers: on every answer.
        models: what /models lists.
        reasons: whether it gives reasoning a field.
    """

    def __init__(
        self,
        can: frozenset[str] = EVERYTHING,
        *,
        refuses: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        models: Sequence[str] = ("big", "small"),
        reasons: bool = False,
    ) -> None:
        self.can = can
        self.refuses = refuses
        self.headers = dict(headers or {})
        self.models = models
        self.reasons = reasons
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.billed_tokens = 0
        self._count = itertools.count()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Server]:
        """Listen on loopback; `url` is the base URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        if "models" in self.can:
            app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def _chat(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.bodies.append(body)
        for name in self.refuses:
            if name in body:
                message = f"{name} is not supported"
                return web.json_response({"error": {"message": message}}, status=400)
        answer = self._answer(body)
        return web.json_response(answer, headers=self.headers)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        most = body.get("max_tokens", body.get("max_completion_tokens", 1000))
        words = list(WORDS)
        if "seed" not in self.can:
            words[0] = f"turn-{next(self._count)}"
        if "length" in self.can:
            words = words[:most]
        text = " ".join(words)
        if "json_schema" in self.can and "response_format" in body:
            text = '{"done": true}'
        message = {"role": "assistant", "content": text}
        if self.reasons:
            message["reasoning_content"] = "hm"
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "length"}
        if "logprobs" in self.can and body.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": "one", "logprob": -0.1}]}
        choices = [choice] * (body.get("n", 1) if "n" in self.can else 1)
        answer: dict[str, Any] = {"model": body["model"], "choices": choices}
        if "usage" in self.can:
            answer["usage"] = {"prompt_tokens": 20, "completion_tokens": len(words)}
            self.billed_tokens += 20 + len(words)
        return answer
