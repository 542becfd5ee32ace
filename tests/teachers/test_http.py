from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from synthkd.config import TeacherConfig
from synthkd.errors import (
    AttemptFailed,
    RequestRefused,
    SynthkdError,
    TeacherRefused,
    UserError,
)
from synthkd.fake_teacher import FakeTeacher, faults
from synthkd.rows import Json
from synthkd.teachers.headers import retry_after_s
from synthkd.teachers.http import open_http
from synthkd.teachers.parts import by_hash, image_part
from synthkd.teachers.request import Request, ToolCall
from synthkd.teachers.wire import parse_chat
from tests.teachers.serving import DONE, ask, complete, piece, serving, streaming

KEY = "sk-planted-0123456789"


@pytest.fixture
async def provider() -> AsyncIterator[FakeTeacher]:
    async with FakeTeacher().serve() as serving:
        yield serving


async def error_of(provider: FakeTeacher, *faults: str, **settings: Any) -> SynthkdError:
    provider.script.extend(faults)
    with pytest.raises(SynthkdError) as caught:
        await complete(provider.url, **settings)
    return caught.value


async def test_an_answer(provider: FakeTeacher) -> None:
    completion = await complete(provider.url, ask(max_tokens=4))
    assert completion.text == "echo -: one two"
    assert (completion.finish, completion.served_model) == ("length", "m-served")
    assert completion.usage.completion_tokens == 4
    assert parse_chat(completion.reply) == completion
    assert provider.seen[0] == {
        "max_tokens": 4,
        "messages": [{"content": "one two three", "role": "user"}],
        "model": "m",
        "temperature": 0.5,
    }
    assert "Authorization" not in provider.headers[0]


async def test_the_seed_goes_out_as_seed_plus_sample(provider: FakeTeacher) -> None:
    for sample in (0, 2):
        await complete(provider.url, ask(body={"seed": 40}, sample=sample))
    assert [body["seed"] for body in provider.seen] == [40, 42]


async def test_headers_and_query_go_out(
    provider: FakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    await complete(provider.url + "/?tier=1", headers={"X-Tier": "fast"}, api_key_env="MY_KEY")
    assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert provider.headers[0]["X-Tier"] == "fast"
    await complete(provider.url, api_key_env="MY_KEY", api_key_header="api-key")
    assert provider.headers[1]["api-key"] == KEY
    assert "Authorization" not in provider.headers[1]


@pytest.mark.parametrize("key", ["EMPTY", "none", "x", "echo"])
async def test_an_answer_that_has_the_key_in_it_stays_as_it_is(
    provider: FakeTeacher, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    completion = await complete(provider.url, ask(f"next {key}"), api_key_env="MY_KEY")
    assert completion.text == f"echo -: next {key}"
    assert parse_chat(completion.reply) == completion


@pytest.mark.parametrize("reply", ['{"you sent": "%s"}', "%s is no JSON", "x" * 490 + "%s", ""])
async def test_a_200_without_an_answer_does_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=reply.replace("%s", KEY))

    async with serving(answer) as url:
        with pytest.raises(AttemptFailed, match="answers HTTP 200, but without an") as caught:
            await complete(url, api_key_env="MY_KEY")
    assert caught.value.maybe_billed
    assert KEY[:8] not in "".join(traceback.format_exception(caught.value))


async def test_a_reply_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthkd.teachers.http.LARGEST_REPLY", 2**20)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 2**16)
        return response

    async with serving(answer) as url:
        with pytest.raises(AttemptFailed, match="is longer than 1 MiB") as caught:
            await complete(url)
    assert caught.value.maybe_billed


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """TLS with a certificate that no authority signed."""
    certificate, private = tmp_path / "certificate.pem", tmp_path / "private.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-out", certificate, "-keyout", private],
        check=True,
        capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, private)
    return tls


async def test_a_certificate_that_nobody_vouches_for(self_signed: ssl.SSLContext) -> None:
    async def answer(_: web.Request) -> web.Response:
        raise AssertionError("asked all the same")

    async with serving(answer, self_signed) as url:
        with pytest.raises(TeacherRefused, match=r"a certificate that is not trusted .*SSL_CERT"):
            await complete(url.replace("http://", "https://"))


@pytest.mark.parametrize("fault", ["429", "500", "503", "408", "409"])
async def test_passing_statuses(provider: FakeTeacher, fault: str) -> None:
    error = await error_of(provider, fault)
    assert isinstance(error, AttemptFailed)
    assert (error.maybe_billed, error.wait_s, error.status) == (False, None, int(fault))
    assert f"/v1/chat/completions answers HTTP {fault}: scripted {fault}" in str(error)


@pytest.mark.parametrize("fault", ["lost", "reset", "cut", "json", "empty"])
async def test_half_replies_may_have_been_billed(provider: FakeTeacher, fault: str) -> None:
    error = await error_of(provider, fault)
    assert isinstance(error, AttemptFailed)
    assert error.maybe_billed
    assert provider.requests == 1, "nothing below retries"


async def test_a_reply_that_drips_ends_at_the_timeout_too() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    async with serving(drip) as url:
        with pytest.raises(AttemptFailed, match=r"gave no whole answer in 0\.2 s") as raised:
            await complete(url, timeout_s=0.2)
    assert raised.value.maybe_billed


async def test_a_stall_ends_at_the_timeout(provider: FakeTeacher) -> None:
    error = await error_of(provider, "stall", timeout_s=0.05)
    assert isinstance(error, AttemptFailed)
    assert error.maybe_billed
    assert "no whole answer in 0.05 s (timeout_s)" in str(error)


async def test_a_refused_connection_is_not_billed() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AttemptFailed, match="no connection to http://127") as caught:
        await complete(f"http://127.0.0.1:{port}/v1")
    assert not caught.value.maybe_billed


@pytest.mark.parametrize("fault", ["400", "413", "422"])
async def test_this_request_will_never_be_answered(provider: FakeTeacher, fault: str) -> None:
    error = await error_of(provider, fault)
    assert isinstance(error, RequestRefused)
    assert error.status == int(fault)
    assert error.message == f"scripted {fault}, you sent no key"


async def test_a_prompt_that_the_filter_refuses_is_told_apart(provider: FakeTeacher) -> None:
    async def answer(_: web.Request) -> web.Response:
        error = {"message": "violence", "code": "content_filter"}
        return web.json_response({"error": error}, status=400)

    async with serving(answer) as url:
        with pytest.raises(RequestRefused, match="HTTP 400: content_filter: violence") as caught:
            await complete(url)
    assert caught.value.is_filtered
    assert RequestRefused(400, caught.value.message).is_filtered, "as the ledger gives it back"
    other = await error_of(provider, "400")
    assert isinstance(other, RequestRefused)
    assert not other.is_filtered


@pytest.mark.parametrize(
    ("fault", "way_out"),
    [
        ("401", "Check the API key: none was sent, name its environment variable"),
        ("403", "Check what the API key may use"),
        ("404", "Check `model`"),
        ("quota", "Add credit at the provider, then run again"),
        ("no_model", "Check `model`"),
        ("redirect", "a redirect to elsewhere.example, which is not followed"),
    ],
)
async def test_no_request_will_ever_be_answered(
    provider: FakeTeacher, fault: str, way_out: str
) -> None:
    error = await error_of(provider, fault)
    assert isinstance(error, TeacherRefused)
    assert way_out in str(error)


def date_in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "30"}, 30, 30),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"retry-after-ms": "250"}, 0.25, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9, 9),
        ({"retry-after": date_in(3600)}, 3000, 3601),
        ({"retry-after": date_in(-60)}, 0, 0),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:00 -0000"}, 0, 0),
    ],
)
def test_retry_after(headers: Mapping[str, str], low: float, high: float) -> None:
    wait_s = retry_after_s(headers)
    assert wait_s is not None
    assert low <= wait_s <= high


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "1e999", "Sat, 99 Foo"])
def test_a_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after_s({"retry-after": value}) is None
    assert retry_after_s({}) is None


async def test_retry_after_reaches_the_error(provider: FakeTeacher) -> None:
    provider.retry_after = {"retry-after-ms": "1500"}
    error = await error_of(provider, "429")
    assert isinstance(error, AttemptFailed)
    assert error.wait_s == 1.5
    assert "asks to wait 1.5 s" in str(error)


@pytest.mark.parametrize(
    ("api", "path", "body"),
    [
        ("chat", "chat/completions", {}),
        ("completions", "completions", {"prompt": "Once"}),
        ("embeddings", "embeddings", {"input": "Once"}),
    ],
)
async def test_each_api_has_its_path_and_a_query_stays_behind_it(
    api: Any, path: str, body: dict[str, Any]
) -> None:
    asked: list[URL] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.rel_url)
        choice = {"message": {"content": "x"}, "text": "x"}
        return web.json_response({"choices": [choice], "data": [{"embedding": [1.0]}]})

    async with serving(answer) as url:
        azure = f"{url}/openai/deployments/d?api-version=2024-10-21"
        await complete(azure, ask(api=api, body=body))
    assert asked == [URL(f"/v1/openai/deployments/d/{path}?api-version=2024-10-21")]


async def test_compressed_replies_are_asked_for_and_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert "gzip" in request.headers["Accept-Encoding"]
        response = web.json_response({"choices": [{"message": {"content": "x" * 10_000}}]})
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with serving(answer) as url:
        assert (await complete(url)).text == "x" * 10_000


async def test_a_connection_serves_many_requests() -> None:
    peers = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        peers.add(
            request.remote and request.transport and request.transport.get_extra_info("peername")
        )
        if (await request.json()).get("stream"):
            return await streaming([piece("stop", content="x"), DONE])(request)
        return web.json_response({"choices": [{"message": {"content": "x"}}]})

    async with serving(answer) as url:
        for stream in (False, True):
            config = TeacherConfig(endpoint=url, model="m", stream=stream)
            async with open_http("main", config) as teacher:
                for _ in range(5):
                    await teacher.complete(ask())
    assert len(peers) == 2, "one for each teacher"


async def test_tools_go_out_and_calls_come_back() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    params = {"tools": [tool], "tool_choice": "auto", "stop": ["."], "logprobs": True}
    seen: list[Mapping[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(await request.json())
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return web.json_response({"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    async with serving(answer) as url:
        config = TeacherConfig(endpoint=url, model="m", params=params)
        completion = await complete(url, ask(body=config.sampling))
    assert {name: seen[0][name] for name in params} == params
    assert completion.tool_calls == (ToolCall(id="1", name="f", arguments="{}"),)


async def test_an_image_goes_out_as_its_bytes(provider: FakeTeacher) -> None:
    seen: list[Mapping[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.json_response({"choices": [{"message": {"content": "a cat"}}]})

    content: list[Json] = [
        {"type": "text", "text": "What is it?"},
        image_part(b"\x89PNG", "image/png"),
    ]
    messages, images = by_hash([{"role": "user", "content": content}])
    request = Request(body={"model": "m", "messages": messages}, images=images, inputs={})
    async with serving(answer) as url:
        await complete(url, request)
    assert seen[0]["messages"][0]["content"] == content


async def test_of_several_endpoints_the_least_loaded_is_asked() -> None:
    async with (
        FakeTeacher(latency_s=0.05).serve() as one,
        FakeTeacher(latency_s=0.05).serve() as other,
    ):
        config = TeacherConfig(endpoint=[one.url, other.url], model="m")
        async with open_http("main", config) as teacher, asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(teacher.complete(ask(str(number))))
        assert (one.requests, other.requests) == (5, 5)


@pytest.mark.parametrize("endpoint", ["localhost:8000", "ftp://x/v1", "http://", "http://[", []])
async def test_an_endpoint_that_is_no_url(endpoint: Any) -> None:
    with pytest.raises(UserError, match=r"teachers\.main\.endpoint"):
        await complete(endpoint)


async def test_a_missing_key_is_named(provider: FakeTeacher) -> None:
    with pytest.raises(UserError, match=r"teachers\.main.* MY_KEY, which is not set: export MY"):
        await complete(provider.url, api_key_env="MY_KEY")
    assert provider.requests == 0


async def test_a_password_in_the_endpoint_is_not_taken_and_not_shown() -> None:
    with pytest.raises(
        UserError, match=r"teachers\.main\.endpoint holds a user or a pass"
    ) as caught:
        await complete(f"http://me:{KEY}@127.0.0.1/v1")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX: y", f" {KEY}", f"{KEY}é"])
async def test_a_malformed_key_is_not_shown(
    provider: FakeTeacher, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UserError, match="the API key in the environment variable MY_KEY") as caught:
        await complete(provider.url, api_key_env="MY_KEY")
    assert KEY not in "".join(traceback.format_exception(caught.value))


OUTCOMES: Mapping[type[Exception] | None, set[str]] = {
    TeacherRefused: {"401", "403", "404", "quota", "no_model", "redirect"},
    RequestRefused: {"400", "413", "422", "filtered"},
    AttemptFailed: {"429", "500", "503", "408", "409", *faults.BROKEN, "json", "empty"},
    None: {"surrogate", "gzip", "length", "refusal", "content_filter", "loop", "misfit"},
}
"""What an attempt ends in, streamed or not; None = an answer."""


def test_every_fault_of_the_fake_teacher_has_an_outcome() -> None:
    known = [fault for group in OUTCOMES.values() for fault in group]
    assert sorted(known) == sorted([*faults.ERRORS, *faults.BROKEN, *faults.ODD])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(fault, outcome) for outcome, group in OUTCOMES.items() for fault in sorted(group)],
)
async def test_every_fault_ends_as_it_should_and_shows_no_key(
    provider: FakeTeacher,
    fault: str,
    outcome: type[Exception] | None,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    config = TeacherConfig(
        endpoint=provider.url + "?deployment=" + KEY,
        model="m",
        api_key_env="MY_KEY",
        timeout_s=0.2,
        stream=stream,
        first_token_timeout_s=0.2,
        idle_timeout_s=0.2,
    )
    provider.script.extend([fault] * 2)  # a refused stream is asked for once without its options
    error: BaseException | None = None
    async with open_http("main", config) as teacher:
        try:
            completion = await teacher.complete(ask(max_tokens=4000))
            assert parse_chat(completion.reply).text == completion.text
        except SynthkdError as raised:
            error = raised
        shown = [repr(teacher), str(vars(vars(teacher)["_refusals"])), str(error), caplog.text]
    assert isinstance(error, outcome or type(None))
    while error is not None:
        shown += [repr(error), repr(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    # The provider echoes the key, and the endpoint's query has it too.
    assert KEY not in "".join(shown)
