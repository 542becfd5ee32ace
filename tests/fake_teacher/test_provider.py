"""The server over real sockets: every fault as a client sees it, and what the books say of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from synthkd.errors import UserError
from synthkd.fake_teacher import FakeTeacher
from synthkd.fake_teacher.faults import BROKEN, ERRORS, ODD

KEY = "sk-planted-0123456789"
CHAT = "/chat/completions"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(auto_decompress=False, headers=plain) as opened:
        yield opened


def body(text: str = "one two three four five six", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


class Reply:
    def __init__(self, status: int, headers: Any, raw: bytes) -> None:
        self.status, self.headers, self.raw = status, headers, raw

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def text(self) -> str:
        said: str = self.json["choices"][0]["message"]["content"]
        return said


async def ask(
    session: aiohttp.ClientSession,
    teacher: FakeTeacher,
    asked: Any = None,
    *,
    path: str = CHAT,
    timeout_s: float = 10,
    headers: dict[str, str] | None = None,
) -> Reply:
    async with session.post(
        teacher.url + path,
        data=orjson.dumps(body() if asked is None else asked),
        headers=headers,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    ) as response:
        return Reply(response.status, response.headers, await response.read())


# --------------------------------------------------------------------------------------- the faults


@pytest.mark.parametrize("fault", ERRORS)
async def test_errors(fault: str, session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(script=[fault], retry_after={"retry-after": "7"}).serve() as teacher:
        reply = await ask(session, teacher, headers={"Authorization": f"Bearer {KEY}"})
        status, code = ERRORS[fault]
        assert (reply.status, reply.json["error"]["code"]) == (status, code)
        assert KEY in reply.json["error"]["message"], "as some providers do"
        assert reply.headers.get("retry-after") == ("7" if status in {429, 503} else None)
        assert (await ask(session, teacher)).status == 200
        assert (teacher.requests, teacher.billed_requests) == (2, 1)
        assert teacher.statuses == {str(status): 1, "200": 1}
        assert teacher.faults == {fault: 1}


BILLED = {"reset": 0, "lost": 1, "cut": 1, "stall": 1, "hang": 1, "drip": 1}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("fault", BROKEN)
async def test_replies_that_never_arrive_whole(
    fault: str, streams: bool, session: aiohttp.ClientSession
) -> None:
    async with FakeTeacher(script=[fault], drip_s=0.01).serve() as teacher:
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            await ask(session, teacher, body(stream=streams), timeout_s=0.3)
        assert teacher.billed_requests == BILLED[fault]
        async with asyncio.timeout(10):
            while teacher.in_flight:  # noqa: ASYNC110  the server looks now and then
                await asyncio.sleep(0.02)
        assert teacher.statuses == {"none": 1}
        assert (await ask(session, teacher)).status == 200


def test_every_broken_fault_is_tested() -> None:
    assert set(BILLED) == set(BROKEN)


async def test_odd_replies(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(script=[*ODD, None]).serve() as teacher:
        got = {name: await ask(session, teacher, body(max_tokens=30)) for name in [*ODD, "none"]}
        fine = got["none"].text
        assert got["redirect"].status == 307
        assert "elsewhere.example" in got["redirect"].headers["Location"]
        with pytest.raises(orjson.JSONDecodeError):
            _ = got["json"].json
        assert got["empty"].json["choices"] == []
        assert b"\\ud800" in got["surrogate"].raw
        assert got["gzip"].text == fine, "a client that does not take gzip gets none"
        assert len(got["length"].text) < len(fine)
        assert got["refusal"].json["choices"][0]["message"]["refusal"]
        assert got["content_filter"].json["choices"][0]["finish_reason"] == "content_filter"
        assert got["loop"].json["usage"]["completion_tokens"] == 30
        assert not got["misfit"].text.startswith("echo")
        assert teacher.billed_requests == teacher.requests - 1


async def test_gzip_for_clients_that_take_it(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(rates={"gzip": 1.0}).serve() as teacher:
        packed = await ask(session, teacher, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        said = orjson.loads(gzip.decompress(packed.raw))["choices"][0]["message"]["content"]
        assert said.startswith("echo")


async def test_a_poisoned_body_fails_always_and_only_it(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(rates={"poison": 0.2}).serve() as teacher:
        rounds = [
            [(await ask(session, teacher, body(str(n)))).status for n in range(40)]
            for _ in range(3)
        ]
    assert rounds[0] == rounds[1] == rounds[2]
    assert 2 <= rounds[0].count(500) <= 16


@pytest.mark.parametrize("fault", ["json", "empty", "surrogate", "loop"])
async def test_odd_streams(fault: str, session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(script=[fault]).serve() as teacher:
        raw = (await ask(session, teacher, body(stream=True, max_tokens=200))).raw
        assert raw.endswith(b"data: [DONE]\n\n")
        sent = [each.removeprefix(b"data: ") for each in raw.split(b"\n\n")[:-2]]
        if fault == "json":
            with pytest.raises(orjson.JSONDecodeError):
                list(map(orjson.loads, sent))
        if fault == "empty":
            assert not sent
        if fault == "surrogate":
            assert rb"\ud800" in raw
        if fault == "loop":
            assert raw.count(b" over") == 128
            assert teacher.completion_tokens == 200


async def test_a_stream_that_is_left_early_is_billed_as_far_as_it_came(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeTeacher(script=["loop"], token_s=0.005).serve() as teacher:
        async with session.post(teacher.url + CHAT, json=body(stream=True)) as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        async with asyncio.timeout(10):
            while teacher.in_flight:  # noqa: ASYNC110  the server finds out when it writes
                await asyncio.sleep(0.02)
        assert teacher.billed_requests == 1
        assert teacher.completion_tokens < 2000


# -------------------------------------------------------------------------------- who is let in


async def test_a_key_is_needed(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(api_key=KEY).serve() as teacher:
        assert (await ask(session, teacher)).json["error"]["code"] == "invalid_api_key"
        assert (await ask(session, teacher, headers={"Authorization": "Bearer no"})).status == 401
        assert (
            await ask(session, teacher, headers={"Authorization": f"Bearer {KEY}"})
        ).status == 200
        assert (await ask(session, teacher, headers={"api-key": KEY})).status == 200
        root = teacher.url.removesuffix("/v1")
        for path, status in (("/v1/models", 401), ("/v1/files", 401), ("/health", 200)):
            async with session.get(root + path) as response:
                assert response.status == status
        assert teacher.statuses == {"401": 2, "200": 2}


async def test_models(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(models=["m", "n"]).serve() as teacher:
        assert (await ask(session, teacher)).status == 200
        refused = await ask(session, teacher, {**body(), "model": "gone"})
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
        async with session.get(teacher.url + "/models") as response:
            assert [each["id"] for each in (await response.json())["data"]] == ["m", "n"]
        async with session.get(teacher.url + "/models/gone") as response:
            assert response.status == 404


async def test_a_deployment_in_the_path_is_the_model(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(served_model="gpt-x").serve() as teacher:
        base = teacher.url.removesuffix("/v1")
        url = f"{base}/openai/deployments/mine/chat/completions?api-version=1"
        async with session.post(url, json={"messages": body()["messages"]}) as response:
            assert (await response.json())["model"] == "gpt-x"
        assert teacher.seen[0]["model"] == "mine"


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"model": 7}', b'{"messages": []}'])
async def test_what_is_no_request(raw: bytes, session: aiohttp.ClientSession) -> None:
    async with (
        FakeTeacher().serve() as teacher,
        session.post(teacher.url + CHAT, data=raw) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "invalid_request_error"


async def test_over_the_limit_a_client_is_told_to_wait(session: aiohttp.ClientSession) -> None:
    now_s = 0.0
    teacher = FakeTeacher(requests_per_minute=120, burst_s=1, clock=lambda: now_s)
    async with teacher.serve():
        replies = [await ask(session, teacher) for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert replies[0].headers["x-ratelimit-remaining-requests"] == "1"
        assert replies[2].headers["retry-after"] == "1"
        assert replies[2].headers["x-ratelimit-reset-requests"] == "1s"
        now_s = 0.5
        assert (await ask(session, teacher)).status == 200
        assert teacher.billed_requests == 3


async def test_tokens_are_what_the_answer_costs(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(tokens_per_minute=1000, clock=lambda: 0.0).serve() as teacher:
        reply = await ask(session, teacher)
        used = reply.json["usage"]["total_tokens"]
        assert reply.headers["x-ratelimit-remaining-tokens"] == str(1000 - used)
        assert (await ask(session, teacher, body(stream=True))).headers[
            "x-ratelimit-remaining-tokens"
        ] == str(1000 - 2 * used)


async def metrics_of(session: aiohttp.ClientSession, teacher: FakeTeacher) -> dict[str, float]:
    async with session.get(teacher.url.removesuffix("/v1") + "/metrics") as response:
        lines = (await response.text()).splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name.partition("{")[0]: float(value) for name, value in pairs}


async def test_over_the_cap_requests_wait_in_line(session: aiohttp.ClientSession) -> None:
    teacher = FakeTeacher(concurrency=2, cache_for=8, script=["stall", "stall"])
    async with teacher.serve():
        stalled = [
            asyncio.create_task(ask(session, teacher, body(str(n)), timeout_s=1)) for n in range(2)
        ]
        await teacher.reached(2)
        others = [asyncio.create_task(ask(session, teacher, body(str(n)))) for n in range(3)]
        await teacher.reached(5)
        assert await metrics_of(session, teacher) == {
            "vllm:num_requests_running": 2.0,
            "vllm:num_requests_waiting": 3.0,
            "vllm:kv_cache_usage_perc": 0.25,
            "vllm:num_preemptions_total": 0.0,
        }
        # A client that goes away makes room for the next.
        for task in stalled:
            with pytest.raises(TimeoutError):
                await task
        assert [(await task).status for task in others] == [200] * 3


async def test_over_the_cap_requests_are_refused(session: aiohttp.ClientSession) -> None:
    teacher = FakeTeacher(concurrency=1, queues=False, script=["stall"], retry_after_as="ms")
    async with teacher.serve():
        stalled = asyncio.create_task(ask(session, teacher, timeout_s=0.5))
        await teacher.reached(1)
        refused = await ask(session, teacher)
        assert (refused.status, refused.headers["retry-after-ms"]) == (429, "1000")
        with pytest.raises(TimeoutError):
            await stalled
        async with session.get(teacher.url.removesuffix("/v1") + "/metrics") as response:
            assert response.status == 404


# ------------------------------------------------------------------------------ what else it does


async def test_answers_and_faults_are_the_same_in_every_run(
    session: aiohttp.ClientSession,
) -> None:
    async def everything() -> list[tuple[int, bytes]]:
        rates = {"429": 0.2, "500": 0.1, "length": 0.2, "refusal": 0.1}
        async with FakeTeacher(rates=rates, seed=5).serve() as teacher:
            replies = [await ask(session, teacher, body(str(n % 20))) for n in range(60)]
            return [(reply.status, reply.raw) for reply in replies]

    first = await everything()
    assert first == await everything()
    assert {status for status, _ in first} == {200, 429, 500}


async def test_a_latency_is_drawn_by_body_and_attempt() -> None:
    teacher, again = (FakeTeacher(latency_s=(0.1, 0.3), seed=2) for _ in range(2))
    drawn = [teacher._latency_s(bytes([n]) * 32, 0) for n in range(50)]
    assert drawn == [again._latency_s(bytes([n]) * 32, 0) for n in range(50)]
    assert 0.1 <= min(drawn) < 0.13
    assert 0.27 < max(drawn) <= 0.3
    assert teacher._latency_s(b"", 0) != teacher._latency_s(b"", 1)


async def test_the_fingerprint_changes_in_mid_run(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(fingerprint_changes_after=2).serve() as teacher:
        prints = [(await ask(session, teacher)).json["system_fingerprint"] for _ in range(3)]
    assert prints == ["fp_fake", "fp_fake", "fp_fake_2"]


async def test_a_prefix_cache(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(prefix_cache=True).serve() as teacher:
        usages = [(await ask(session, teacher, body(seed=n))).json["usage"] for n in range(2)]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached == [0, usages[1]["prompt_tokens"]]


async def test_stats(session: aiohttp.ClientSession) -> None:
    async with FakeTeacher(script=["500"]).serve() as teacher:
        for _ in range(3):
            await ask(session, teacher)
        async with session.get(teacher.url.removesuffix("/v1") + "/stats") as response:
            stats = await response.json()
    assert stats == {**teacher.stats, "jobs": 0, "trained_tokens": 0}
    assert (stats["requests"], stats["billed_requests"]) == (3, 2)
    assert stats["statuses"] == {"500": 1, "200": 2}
    assert list(stats["bodies"].values()) == [3]
    assert stats["billed_tokens"] == stats["prompt_tokens"] + stats["completion_tokens"]


async def test_usage_that_is_not_told_is_billed_all_the_same(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeTeacher(tells_usage=False).serve() as teacher:
        assert (await ask(session, teacher)).json["usage"] is None
        assert teacher.billed_tokens > 0


async def test_ipv6(session: aiohttp.ClientSession) -> None:
    try:
        async with FakeTeacher().serve(host="::1") as teacher:
            assert teacher.url.startswith("http://[::1]:")
            assert (await ask(session, teacher)).status == 200
    except UserError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
