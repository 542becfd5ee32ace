"""Vectors of texts: each text is a question of its own, many travel in one request.

    embedding = Embedding(stack, model="m")
    vectors = await embedding.embed(["one text", "another"])

`Gathering` stands right below Cached, so that every text has its own key and its own entry in the
ledger, while limits, budget and retries see the requests that really leave. Who asks first waits a
few milliseconds for others, then asks for all of them. Texts that a reward model scores travel so
too; messages, of which a server takes one conversation a request, pass through.
"""

from __future__ import annotations

import asyncio
import base64
import math
import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from synthkd.errors import RequestRefused, TeacherError, Unanswered, Waiting
from synthkd.rows import Fields, Json, canonical
from synthkd.teachers.request import Api, Completion, Request, Teacher
from synthkd.teachers.wire import parse_reply, read_json

GATHER_S = 0.003
"""How long the first text waits for others: a hundredth of what a request takes."""
MOST_TEXTS = 128
MOST_BYTES = 2**18
"""Of text in one request: some 65,000 tokens, below what every provider takes."""

Outcome = Completion | TeacherError


@dataclass(slots=True, eq=False)
class _Batch:
    """Texts that will travel together."""

    requests: list[Request]
    outcomes: asyncio.Future[list[Outcome] | Exception | None]
    """None = who was to ask was cancelled."""
    full: asyncio.Event = field(default_factory=asyncio.Event)
    size: int = 0

    def add(self, request: Request) -> int:
        """Take a text in; its place."""
        self.requests.append(request)
        self.size += len(str(request.body["input"]))
        if len(self.requests) >= MOST_TEXTS or self.size >= MOST_BYTES:
            self.full.set()
        return len(self.requests) - 1


class Gathering:
    """Ask for many texts at once.

    Args:
        inner: is asked for a list of texts, and answers with a list of vectors.
    """

    def __init__(self, inner: Teacher) -> None:
        self.inner = inner
        self._open: dict[tuple[Api, bytes, int], _Batch] = {}
        """The API, what is asked beside the text, the rank -> the batch that still takes texts."""

    async def complete(self, request: Request) -> Completion:
        """The vector or the score of one text.

        Raises:
            RequestRefused: the provider refuses this very text.
            TeacherError: there is no answer to the request that it was in.
        """
        if "input" not in request.body:
            return await self.inner.complete(request)
        rest = {name: value for name, value in request.body.items() if name != "input"}
        kind = (request.api, canonical(rest), request.rank)
        while (batch := self._open.get(kind)) is not None:
            place = batch.add(request)
            if batch.full.is_set():
                self._close(kind, batch)
            outcomes = await asyncio.shield(batch.outcomes)
            if isinstance(outcomes, Exception):
                raise outcomes
            if outcomes is not None:
                return _given(outcomes[place])
        return await self._lead(kind, request)

    async def _lead(self, kind: tuple[Api, bytes, int], request: Request) -> Completion:
        """Wait for others, and ask for all."""
        batch = _Batch([], asyncio.get_running_loop().create_future())
        batch.add(request)
        outcomes: list[Outcome] | Exception | None = None
        if not batch.full.is_set():
            self._open[kind] = batch
        try:
            with suppress(TimeoutError):  # then it is not full, and goes all the same
                async with asyncio.timeout(GATHER_S):
                    await batch.full.wait()
            self._close(kind, batch)
            outcomes = await self._ask(batch.requests)
            return _given(outcomes[0])
        except Exception as error:
            outcomes = outcomes or error
            raise
        finally:
            self._close(kind, batch)
            batch.outcomes.set_result(outcomes)

    def _close(self, kind: tuple[Api, bytes, int], batch: _Batch) -> None:
        """It takes no more texts."""
        if self._open.get(kind) is batch:
            del self._open[kind]

    async def _ask(self, requests: list[Request]) -> list[Outcome]:
        """A text that is refused costs only itself: its batch is halved until it is alone."""
        texts = [request.body["input"] for request in requests]
        whole = requests[0]
        if len(requests) > 1:
            whole = whole._replace(body={**whole.body, "input": texts})
        try:
            completion = await self.inner.complete(whole)
        except RequestRefused as refusal:
            if len(requests) == 1:
                return [refusal]
            middle = len(requests) // 2
            return await self._ask(requests[:middle]) + await self._ask(requests[middle:])
        return [*split(completion.reply, len(requests), whole.api)]


def _given(outcome: Outcome | Waiting) -> Completion:
    if isinstance(outcome, TeacherError | Waiting):
        raise outcome
    return outcome


def split(reply: bytes, texts: int, api: Api = "embeddings") -> list[Completion]:
    """The reply of each text, as if it had been asked for alone.

    Its tokens are known where it was; else only their sum is, which the run has been charged.

    Raises:
        Unanswered: it has not a vector, or a score, for each.
    """
    body = read_json(reply)
    kept = ("model", "usage") if texts == 1 else ("model",)
    told = {name: body[name] for name in kept if name in body}
    try:
        items = {item.get("index", n): item for n, item in enumerate(body["data"])}
        data = [
            _scored(items[place]) if api == "classify" else _data(items[place]["embedding"])
            for place in range(texts)
        ]
        replies = [orjson.dumps({**told, **each}) for each in data]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = "a score" if api == "classify" else "a vector"
        raise Unanswered(
            f"{texts} texts were sent, and the reply has not {what} for each: {error!r:.200}"
        ) from error
    return [parse_reply(api, one) for one in replies]


def _scored(item: dict[str, Json]) -> dict[str, Json]:
    return {"object": "list", "data": [{**item, "index": 0}]}


def _data(vector: Any) -> dict[str, Json]:
    """As base64 of 32-bit floats, which is what they are: a third of the same in digits."""
    if not isinstance(vector, str):
        vector = base64.b64encode(_little(array("f", vector)).tobytes()).decode()
    return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}


def _little(values: array[float]) -> array[float]:
    if sys.byteorder == "big":
        values.byteswap()
    return values


def vector_of(completion: Completion) -> array[float]:
    """The vector in an embeddings reply, of unit length (32-bit floats)."""
    told = read_json(completion.reply)["data"][0]["embedding"]
    values = array("f")
    if isinstance(told, str):
        values.frombytes(base64.b64decode(told))
        values = _little(values)
    else:
        values.extend(told)
    length = math.hypot(*values)
    return array("f", [value / length for value in values]) if length else values


class Embedding:
    """An `Embedder` on a stack of layers.

    Args:
        stack: the layers, Cached first.
        model: as the provider calls it.
        params: what else every request says, such as `dimensions`.
        rank: place of the asking step in the pipeline.
    """

    def __init__(self, stack: Teacher, *, model: str, params: Fields, rank: int = 0) -> None:
        self._stack = stack
        self._common: Fields = {"model": model, **params}
        self._rank = rank

    async def embed(self, texts: Sequence[str]) -> list[array[float]]:
        """One vector of unit length for each text, in order.

        Raises:
            TeacherError: a text has none; the first such error.
        """
        return [vector_of(completion) for completion in await self.complete(texts)]

    async def complete(self, texts: Sequence[str]) -> list[Completion]:
        """The same as the ledger has it, with keys."""
        return [_given(outcome) for outcome in await self.outcomes(texts)]

    async def outcomes(self, texts: Sequence[str]) -> list[Outcome]:
        """The same, with the error in place of a vector where there is none."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(text)) for text in texts]
        outcomes = [task.result() for task in tasks]
        for outcome in outcomes:
            if isinstance(outcome, Waiting):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, Waiting)]

    async def _one(self, text: str) -> Outcome | Waiting:
        request = Request(
            api="embeddings",
            body={**self._common, "input": text},
            inputs={},
            rank=self._rank,
        )
        try:
            return await self._stack.complete(request)
        except (TeacherError, Waiting) as error:
            return error
