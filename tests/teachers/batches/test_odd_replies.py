"""HTTP 200 and nonsense at every call of the Batch API: no traceback, nothing bought twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed, TeacherRefused, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher
from synthkd.teachers.batches.collect import question_of
from synthkd.teachers.batches.provider import BatchProvider, open_provider
from tests.teachers.batches.driving import DELAY_S, Clock, pipeline, until_done

NONSENSE = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"5",
    b"{}",
    b'{"id": null}',
    b'{"id": 5}',
    b'{"id": NaN}',
    b"<html>not here</html>",
    b"\xff\xfe{}",
    b"[" * 100_000,
    b'{"a":' * 50_000,
]
LISTS = [
    b'{"data": null}',
    b'{"data": 5}',
    b'{"data": "abc"}',
    b'{"data": [null]}',
    b'{"data": [{"created_at": 9999999999}], "has_more": true}',
    b'{"data": [{"id": "x", "created_at": 9999999999}], "has_more": true}',
]


@asynccontextmanager
async def told(reply: bytes, kind: str = "application/json") -> AsyncIterator[BatchProvider]:
    """A provider that says the same to everything."""

    async def say(http: web.Request) -> web.Response:
        await http.read()
        return web.Response(body=reply, content_type=kind)

    app = web.Application()
    app.router.add_route("*", "/v1/{path:.*}", say)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        config = TeacherConfig.model_validate({"endpoint": url, "model": "m", "mode": "batch"})
        async with open_provider("main", config) as provider:
            yield provider


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
@pytest.mark.parametrize("reply", NONSENSE, ids=lambda reply: repr(reply[:20]))
async def test_what_is_no_reply_is_a_failed_attempt(
    tmp_path: Path, reply: bytes, kind: str
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_bytes(b"{}\n")
    async with told(reply, kind) as provider:
        for call in (
            lambda: provider.upload(file, "q.jsonl"),
            lambda: provider.create("file", "chat", "24h", "tag"),
            lambda: provider.look("batch"),
            lambda: provider.cancel("batch"),
            lambda: provider.search("tag", "file", 0),
        ):
            with pytest.raises(AttemptFailed, match="what is no reply of a Batch API"):
                await call()


@pytest.mark.parametrize("reply", LISTS)
async def test_a_list_that_is_none_does_not_say_that_a_batch_was_not_made(reply: bytes) -> None:
    async with told(reply) as provider, asyncio.timeout(10):
        with pytest.raises(AttemptFailed, match="what is no reply of a Batch API"):
            await provider.search("tag", "file", 0)


async def test_a_list_without_pages_is_read_once() -> None:
    async with told(b'{"data": [{"id": "x", "metadata": [1]}]}') as provider:
        assert await provider.search("tag", "file", 0) is None


@pytest.mark.parametrize(
    "more",
    [
        '"status": 7',
        '"errors": "x"',
        '"errors": {"data": "abc"}',
        '"errors": {"data": [null]}',
        '"errors": {"data": [{"code": 5, "message": {"a": 1}, "line": "x"}]}',
        '"request_counts": [1]',
        '"request_counts": {"completed": 1e999, "failed": -5}',
        '"request_counts": {"completed": 1000000000000000000000000}',
    ],
)
async def test_what_is_told_beside_is_taken_as_far_as_it_makes_sense(more: str) -> None:
    async with told(f'{{"id": "x", {more}}}'.encode()) as provider:
        if "e999" in more:
            with pytest.raises(AttemptFailed):
                await provider.look("x")
            return
        status = await provider.look("x")
        assert status is not None
        assert (status.id, status.done, status.failed, status.ended) == ("x", 0, 0, False)


async def test_answers_under_a_name_that_is_none_are_not_taken_for_no_answers() -> None:
    async with told(b'{"id": "x", "status": "completed", "output_file_id": 5}') as provider:
        with pytest.raises(AttemptFailed, match="output_file_id"):
            await provider.look("x")


def test_a_length_that_no_ledger_holds_is_of_no_question() -> None:
    key = "0" * 64
    assert question_of(f"{key}.50") == (key, 50)
    assert question_of(f"{key}.{'9' * 19}") is None
    assert question_of(f"{key}.{'9' * 5000}") is None


@pytest.mark.parametrize("refusal", ["400", "422"])
async def test_a_provider_that_refuses_to_tell_stops_the_run_and_keeps_what_is_under_way(
    tmp_path: Path, provider: FakeTeacher, clock: Clock, refusal: str
) -> None:
    # It was made, the reply was lost, and the list is refused: it may not be made once more.
    provider.batch_call_script.extend([None, "lost", refusal])
    batched = pipeline(tmp_path, provider)
    with pytest.raises(TeacherRefused, match=r"whether batch .* was made cannot be told"):
        await batched.run()
    with pytest.raises(WaitingForBatch):
        await batched.run()
    clock.now += DELAY_S
    for call in ([refusal], [None, refusal]):  # a look, a download
        provider.batch_call_script.extend(call)
        with pytest.raises(TeacherRefused, match="refuses to tell of batch"):
            await batched.run()
    await until_done(batched, clock)
    assert provider.billed_requests == 54


async def test_a_batch_whose_answers_are_gone_can_be_given_up(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    batched = pipeline(tmp_path, provider)
    with pytest.raises(WaitingForBatch):
        await batched.run()
    clock.now += DELAY_S
    gone = [None, "404"]  # the look is answered, the download is not
    provider.batch_call_script.extend(gone)
    with pytest.raises(TeacherRefused, match=r"no file .* with the answers"):
        await batched.run()
    async with batched.batches() as batches:
        (there,) = batches.under_way
        provider.batch_call_script.extend(["429"])
        with pytest.raises(TeacherRefused, match="could not be given up"):
            await batches.cancel(there)
        provider.batch_call_script.extend(["400", None, *gone])  # it is over: cancelling is refused
        assert "counts as paid" in await batches.cancel(there)
    manifest, _ = await until_done(batched, clock)
    assert manifest.spend.requests == 54 + 27
