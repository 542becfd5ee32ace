"""Vectors: many texts a request, one ledger entry a text, the same stack and budget."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import BudgetReached, RequestRefused, Unanswered, UserError
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.teachers import embeddings
from synthkd.teachers.embeddings import MOST_TEXTS, Gathering, vector_of
from synthkd.teachers.open import Gateway, open_teachers
from synthkd.teachers.request import Completion, Embedder, Request
from synthkd.teachers.wire import parse_reply
from tests.teachers.acting import Acting
from tests.teachers.serving import serving


def numbers(text: str) -> list[float]:
    return [byte + 1.0 for byte in hashlib.sha256(text.encode()).digest()[:4]]


def near(one: Sequence[float], other: Sequence[float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 1e-6


def unit(text: str) -> list[float]:
    length = math.hypot(*numbers(text))
    return [value / length for value in numbers(text)]


class Embedding:
    """A server; it refuses "poison", alone or in a batch, and answers out of order."""

    def __init__(self, *, as_base64: bool = False, fails: int = 0, drops: bool = False) -> None:
        self.as_base64 = as_base64
        self.fails = fails
        self.drops = drops
        self.batches: list[list[str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert request.path == "/v1/embeddings"
        assert body["dimensions"] == 4
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self.batches.append(texts)
        if len(self.batches) <= self.fails:
            return web.json_response({}, status=500)
        if "poison" in texts:
            return web.json_response({"error": {"message": "too long"}}, status=400)
        data = [
            {"index": place, "embedding": self.vector(text)} for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": sum(map(len, texts)), "total_tokens": sum(map(len, texts))}
        data = data[::-1][self.drops and 1 :]
        return web.json_response({"model": "e-1", "data": data, "usage": usage})

    def vector(self, text: str) -> Any:
        values = numbers(text)
        return base64.b64encode(array("f", values)).decode() if self.as_base64 else values


@asynccontextmanager
async def opened(
    server: Embedding, folder: Path, budget: BudgetConfig | None = None, **settings: Any
) -> AsyncIterator[Gateway]:
    async def soon(_: float) -> None:
        await asyncio.sleep(0)

    ledger = SqliteLedger(folder / "ledger.sqlite")
    async with serving(server.answer) as url:
        config = TeacherConfig.model_validate(
            {"endpoint": url, "model": "e", "served_by": "me", "params": {"dimensions": 4}}
            | settings
        )
        async with open_teachers(
            {"e": config},
            base=folder,
            ledger=ledger,
            run_id="r",
            budget=budget or BudgetConfig(),
            sleep=soon,
        ) as gateway:
            yield gateway
    await ledger.close()


@pytest.mark.parametrize("as_base64", [False, True])
async def test_many_texts_one_request_one_entry_each(tmp_path: Path, as_base64: bool) -> None:
    server = Embedding(as_base64=as_base64)
    texts = ["one", "two", "three", "two"]
    async with opened(server, tmp_path) as gateway:
        teacher = gateway.teachers["e"]
        embedder: Embedder = teacher.embedder()
        vectors = await embedder.embed(texts)
        assert all(near(vector, unit(text)) for vector, text in zip(vectors, texts, strict=True))
        assert server.batches == [["one", "two", "three"]], "what is asked twice travels once"
        assert (gateway.budget.spent.requests, gateway.budget.spent.prompt_tokens) == (1, 11)
        again = await teacher.embedder().complete(["three", "four"])
        assert [completion.hit for completion in again] == [True, False]
        assert server.batches[1:] == [["four"]]
        assert near(vector_of(again[0]), vectors[2])
        assert again[1].usage.prompt_tokens == 4
        assert again[0].usage.prompt_tokens is None, "only the sum was told"
        assert len({completion.key for completion in again}) == 2
        assert again[0].served_model == "e-1"


async def test_batches_are_bounded(tmp_path: Path) -> None:
    server = Embedding()
    texts = [f"text {n}" for n in range(2 * MOST_TEXTS + 10)]
    async with opened(server, tmp_path) as gateway:
        vectors = await gateway.teachers["e"].embedder().embed(texts)
    assert [len(batch) for batch in server.batches] == [MOST_TEXTS, MOST_TEXTS, 10]
    assert near(vectors[200], unit("text 200"))


async def test_a_long_text_fills_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "MOST_BYTES", 100)
    server = Embedding()
    async with opened(server, tmp_path) as gateway:
        await gateway.teachers["e"].embedder().embed(["x" * 200, "a", "b" * 99, "c"])
    assert sorted(map(len, server.batches)) == [1, 1, 2]


async def test_a_text_that_is_refused_costs_only_itself(tmp_path: Path) -> None:
    server = Embedding()
    async with opened(server, tmp_path) as gateway:
        embedder = gateway.teachers["e"].embedder()
        with pytest.raises(RequestRefused, match="too long"):
            await embedder.complete(["a", "b", "poison", "c", "d"])
        asked = len(server.batches)
        assert near((await embedder.embed(["d"]))[0], unit("d"))
        assert [c.hit for c in await embedder.complete(["a", "b", "c", "d"])] == [True] * 4
        with pytest.raises(RequestRefused):
            await embedder.embed(["poison"])
    assert len(server.batches) == asked, "the vectors and the refusal are kept"


async def test_a_batch_is_tried_again_as_a_whole(tmp_path: Path) -> None:
    server = Embedding(fails=2)
    async with opened(server, tmp_path) as gateway:
        await gateway.teachers["e"].embedder().embed(["a", "b"])
    assert server.batches == [["a", "b"]] * 3


async def test_a_reply_that_lacks_a_vector_is_no_answer(tmp_path: Path) -> None:
    async with opened(Embedding(drops=True), tmp_path) as gateway:
        with pytest.raises(Unanswered, match="has not a vector for each"):
            await gateway.teachers["e"].embedder().embed(["a", "b"])
        assert gateway.budget.held.requests == 0


async def test_the_budget_holds_for_vectors_too(tmp_path: Path) -> None:
    async with opened(Embedding(), tmp_path, BudgetConfig(requests=1)) as gateway:
        embedder = gateway.teachers["e"].embedder()
        await embedder.embed(["a"])
        with pytest.raises(BaseExceptionGroup) as caught:
            await embedder.embed(["b"])
        assert caught.group_contains(BudgetReached)


async def test_who_was_to_ask_may_go_away(tmp_path: Path) -> None:
    server = Embedding()
    async with opened(server, tmp_path) as gateway:
        embedder = gateway.teachers["e"].embedder()
        first = asyncio.create_task(embedder.embed(["a"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        other = asyncio.create_task(embedder.embed(["b"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        assert near((await other)[0], unit("b"))
        assert gateway.budget.held.requests == 0


async def test_a_recorded_teacher_makes_no_vectors(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    config = TeacherConfig.model_validate({"simulated": {"world": "tickets"}})
    async with open_teachers(
        {"s": config}, base=tmp_path, ledger=ledger, run_id="r", budget=BudgetConfig()
    ) as gateway:
        with pytest.raises(UserError, match=r"teachers\.s makes no vectors"):
            gateway.teachers["s"].embedder()
    await ledger.close()


async def test_different_params_do_not_travel_together() -> None:
    async def answer(request: Request) -> Completion:
        texts = request.body["input"]
        many = texts if isinstance(texts, list) else [texts]
        data = b",".join(b'{"embedding":[3,4]}' for _ in many)
        return parse_reply("embeddings", b'{"data":[' + data + b"]}")

    inner = Acting(answer)
    layer = Gathering(inner)
    requests = [
        Request(api="embeddings", body={"model": m, "input": t}, inputs={})
        for m, t in [("m", "a"), ("n", "b"), ("m", "c")]
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(layer.complete(request)) for request in requests]
    assert [request.body["input"] for request in inner.asked] == [["a", "c"], "b"]
    assert near(vector_of(tasks[0].result()), [0.6, 0.8])


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8))
def test_a_vector_has_unit_length_or_is_zero(values: list[float]) -> None:
    data = [{"embedding": values}]
    raw = orjson.dumps({"data": data})
    length = math.hypot(*vector_of(parse_reply("embeddings", raw)))
    assert abs(length - 1) < 1e-5 or not any(values)


async def test_what_stops_the_run_waits_for_vectors_in_the_air(tmp_path: Path) -> None:
    class Slow(Embedding):
        async def answer(self, request: web.Request) -> web.Response:
            texts = (await request.json())["input"]
            if "no entry" in texts:
                return web.json_response({"error": {"message": "no"}}, status=401)
            await asyncio.sleep(0.3)
            return await super().answer(request)

    async with opened(Slow(), tmp_path) as gateway:
        embedder = gateway.teachers["e"].embedder()

        async def later() -> None:
            await asyncio.sleep(0.1)
            await embedder.embed(["no entry"])

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(embedder.embed(["paid for"]))
                group.create_task(later())

        with pytest.raises(ExceptionGroup):
            await both()
    server = Embedding()
    async with opened(server, tmp_path) as gateway:
        await gateway.teachers["e"].embedder().embed(["paid for"])
        assert server.batches == [], "the answer that was in the air is in the ledger"
