"""What every teacher must do, whoever it is: one suite over all kinds of them.

A kind says how its teacher is named in a pipeline and what can be asked of it. Everything else is
the same for all: asked by itself, and through the whole stack with a ledger on disk. A real vLLM
server is asked in tests/vllm/test_conformance.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import NotInLedger, TeacherError, Waiting, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Fields
from synthkd.teachers.batches.run import Batches
from synthkd.teachers.open import Gateway, OpenTeacher, open_teachers
from synthkd.teachers.request import Completion, Request, Teacher
from synthkd.teachers.vllm import server
from synthkd.teachers.wire import parse_reply
from tests.teachers.serving import DONE, event, piece, serving, streaming
from tests.teachers.vllm import life

TEXTS = [f"Where is my parcel number {n}?" for n in range(12)]


@dataclass
class Kind:
    """One kind of teacher.

    Args:
        config: its block in a pipeline.
        prompt: what it is asked with.
        unanswerable: a question to which it has no answer, or declines one.
        generates: whether it writes, so that it counts tokens and can be cut.
        params: what else each question says.
        refused: what the unanswerable question says besides.
        batched: whether it is asked in batches, so that an answer takes several passes.
    """

    config: Mapping[str, Any]
    prompt: str = "label/classify"
    unanswerable: str = "poison"
    generates: bool = True
    params: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, Any] = field(default_factory=dict)
    batched: bool = False

    def ask(self, text: str, sample: int = 0, max_tokens: int | None = 400) -> Request:
        prompt = load_prompt(self.prompt, folders=[shipped_folder("prompts")])
        inputs: Fields = {
            "text": text,
            "labels": ["order_status", "refund_status"],
            "reason": False,
        }
        model = self.config.get("model", "m")
        more = self.refused if text == self.unanswerable else {}
        return Request(
            body={"model": model, **prompt.question(inputs), **self.params, **more},
            max_tokens=max_tokens if self.generates else None,
            sample=sample,
            prompt=self.prompt,
            inputs=inputs,
        )


def echo(body: Mapping[str, Any]) -> tuple[str, str, dict[str, int]]:
    """Text, finish and usage: the last words of the question, one token a word."""
    words = ["echo", *body["messages"][-1]["content"].split()[-4:]]
    room = body.get("max_tokens", 10**6)
    finish = "length" if len(words) > room else "stop"
    usage = {"prompt_tokens": 9, "completion_tokens": min(room, len(words))}
    return " ".join(words[:room]), finish, usage


async def answer(request: web.Request) -> web.StreamResponse:
    """A server that streams if it is asked to."""
    body = await request.json()
    if "poison" in body["messages"][-1]["content"]:
        return web.json_response({"error": {"message": "no"}}, status=400)
    text, finish, usage = echo(body)
    await asyncio.sleep(0.001)
    if not body.get("stream"):
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
        return web.json_response({"model": "m-1", "choices": [choice], "usage": usage})
    pieces = [piece(content=word) for word in text]
    end = event(choices=[], usage=usage)
    return await streaming([*pieces, piece(finish), end, DONE])(request)


@asynccontextmanager
async def http(folder: Path, **settings: Any) -> AsyncIterator[Kind]:
    async with serving(answer) as url:
        yield Kind({"endpoint": url, "model": "m", "served_by": "me", **settings})


@asynccontextmanager
async def streamed(folder: Path) -> AsyncIterator[Kind]:
    async with http(folder, stream=True) as kind:
        yield kind


@asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[Kind]:
    file = folder / "recorded.jsonl"
    rows = [{"text": text, "said": f"{text} {n}"} for text in TEXTS for n in range(3)]
    file.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    block = {"jsonl": str(file), "match": "text", "text": "said"}
    yield Kind({"recorded": block}, generates=False)


@asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[Kind]:
    yield Kind({"simulated": {"world": "tickets", "refusal_rate": 0.2, "latency_s": 0.001}})


@asynccontextmanager
async def batch(folder: Path) -> AsyncIterator[Kind]:
    async with FakeTeacher(
        answer=lambda body: echo({"messages": body["messages"]})[0]
    ).serve() as provider:
        block = {"endpoint": provider.url, "model": "m", "served_by": "me", "mode": "batch"}
        yield Kind(block, refused={"n": -1}, batched=True)


@asynccontextmanager
async def vllm(folder: Path) -> AsyncIterator[Kind]:
    """A server of our own, which a stand-in for vLLM is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "LOOK_S", 0.02)
        life.told(patch, folder)
        model = life.make_model(folder / "model")
        yield Kind({"vllm": {"model": str(model)}, "model": "base"})


class InBatches:
    """Asks as a run does: what waits is sent, collected once it is done, and asked again."""

    def __init__(self, inner: Teacher, batches: Batches) -> None:
        self.inner = inner
        self.batches = batches
        self.turn = asyncio.Lock()

    async def complete(self, request: Request) -> Completion:
        for waited in range(9):
            try:
                completion = await self.inner.complete(request)
            except Waiting:
                async with self.turn:
                    with suppress(WaitingForBatch):
                        await self.batches.wait_for(rows=1)
                    await self.batches.collect()
            else:
                return completion._replace(hit=False) if waited else completion
        raise AssertionError("it waits for ever")


KINDS = {
    **{"http": http, "streamed": streamed, "batch": batch},
    **{"recorded": recorded, "simulated": simulated, "vllm": vllm},
}


@pytest.fixture(params=KINDS)
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    async with KINDS[request.param](tmp_path) as made:
        yield made


@asynccontextmanager
async def opened(kind: Kind, folder: Path, **options: Any) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        ledger = SqliteLedger(folder / "ledger.sqlite")
        stack.push_async_callback(ledger.close)
        gateway = await stack.enter_async_context(
            open_teachers(
                {"main": TeacherConfig.model_validate(kind.config)},
                base=folder,
                ledger=ledger,
                run_id="r",
                budget=BudgetConfig(requests=1000),
                **options,
            )
        )
        if kind.batched:
            main = gateway.teachers["main"]
            asking = replace(main, stack=InBatches(main.stack, gateway.batches))
            gateway = replace(gateway, teachers={"main": asking})
        yield gateway


@pytest.fixture
async def teacher(kind: Kind, tmp_path: Path) -> AsyncIterator[OpenTeacher]:
    async with opened(kind, tmp_path) as gateway:
        yield gateway.teachers["main"]


def read(completion: Completion) -> Completion:
    """Without what tells how it came."""
    return completion._replace(key="", hit=False)


async def test_an_answer_says_all_that_it_has_to(kind: Kind, teacher: OpenTeacher) -> None:
    completion = await teacher.complete(kind.ask(TEXTS[0]))
    assert completion.text or completion.refusal
    assert completion.finish == "stop"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) > (-1, -1)
    assert bool(completion.usage.completion_tokens) is kind.generates
    assert completion.served_model
    assert (len(completion.key), completion.hit) == (64, False)


async def test_the_reply_reads_the_same_wherever_it_comes_from(
    kind: Kind, teacher: OpenTeacher
) -> None:
    for text in TEXTS[:4]:
        fresh = await teacher.complete(kind.ask(text))
        assert read(parse_reply("chat", fresh.reply)) == read(fresh)
        again = await teacher.complete(kind.ask(text))
        assert again == fresh._replace(hit=True)
    assert teacher.stats.attempts == 4
    if not kind.batched:  # there each pass asks
        assert (teacher.stats.asked, teacher.stats.hits) == (8, 4)


async def test_samples_are_answers_of_their_own(kind: Kind, teacher: OpenTeacher) -> None:
    several = [await teacher.complete(kind.ask(TEXTS[0], sample)) for sample in (2, 0, 1)]
    assert len({completion.key for completion in several}) == 3
    assert not any(completion.hit for completion in several)
    assert (await teacher.complete(kind.ask(TEXTS[0], 0))) == several[1]._replace(hit=True)


async def test_the_same_question_has_the_same_key_and_answer_anywhere(
    kind: Kind, tmp_path: Path
) -> None:
    told = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        async with opened(kind, tmp_path / name) as gateway:
            completion = await gateway.teachers["main"].complete(kind.ask(TEXTS[1], 1))
            told.append((completion.key, completion.text, completion.refusal, completion.finish))
    assert told[0] == told[1]


async def test_many_at_once_get_each_their_own(kind: Kind, teacher: OpenTeacher) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(teacher.complete(kind.ask(text))) for text in TEXTS * 3]
    together = [read(task.result()) for task in tasks]
    assert together[:12] == together[12:24] == together[24:]
    alone = [read(await teacher.complete(kind.ask(text))) for text in TEXTS]
    assert alone == together[:12]
    assert teacher.stats.attempts == 12, "equal questions in the air are one"


async def test_where_there_is_no_answer_it_says_so(kind: Kind, teacher: OpenTeacher) -> None:
    if "simulated" in kind.config:
        replies = [await teacher.complete(kind.ask(f"refund {n}")) for n in range(60)]
        declined = [reply for reply in replies if reply.refusal]
        assert 0 < len(declined) < 30
        assert all(reply.text == "" for reply in declined)
    else:
        for _ in range(2):
            with pytest.raises(TeacherError):
                await teacher.complete(kind.ask(kind.unanswerable))
        assert teacher.stats.failed == 2
    assert (await teacher.complete(kind.ask(TEXTS[0]))).finish == "stop", "others are not touched"


async def test_a_cut_answer_says_so_and_more_room_asks_again(
    kind: Kind, teacher: OpenTeacher
) -> None:
    if not kind.generates:  # what was written long ago is whole
        for room in (1, None):
            request = kind.ask(TEXTS[0])._replace(max_tokens=room)
            assert (await teacher.complete(request)).finish == "stop"
        return
    seen = 0
    for text in TEXTS:
        cut = await teacher.complete(kind.ask(text, max_tokens=2))
        whole = await teacher.complete(kind.ask(text))
        if whole.refusal is None:
            assert (cut.finish, whole.finish) == ("length", "stop")
            assert whole.text.startswith(cut.text)
            assert cut.key == whole.key
            assert (await teacher.complete(kind.ask(text, max_tokens=2))).finish == "length"
            seen += 1
    assert seen > 5


async def test_one_that_is_cancelled_leaves_nothing_behind(kind: Kind, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as gateway:
        teacher = gateway.teachers["main"]
        for pauses in range(6):
            asking = asyncio.create_task(teacher.complete(kind.ask(TEXTS[2])))
            for _ in range(pauses):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled() or asking.result()
        assert gateway.budget.held.requests == 0
        assert teacher.stats.in_flight == 0
        assert (await teacher.complete(kind.ask(TEXTS[2]))).finish == "stop"


async def test_what_was_bought_is_there_without_the_teacher(kind: Kind, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as gateway:
        bought = await gateway.teachers["main"].complete(kind.ask(TEXTS[3]))
    async with opened(kind, tmp_path, offline=True) as gateway:
        teacher = gateway.teachers["main"]
        assert await teacher.complete(kind.ask(TEXTS[3])) == bought._replace(hit=True)
        with pytest.raises(NotInLedger):
            await teacher.complete(kind.ask(TEXTS[4]))
        assert teacher.stats.attempts == 0
