"""A streamed answer, over real sockets, is the answer that would have come in one piece."""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed, RequestRefused, SynthkdError, TeacherRefused
from synthkd.teachers.http import open_http
from synthkd.teachers.request import Request, ToolCall
from synthkd.teachers.stream import LONGEST_CHUNK, LOOP_CHARS, Assembling, loop_in
from synthkd.teachers.wire import parse_chat
from tests.teachers.serving import DONE, USAGE, ask, complete, event, piece, serving, streaming

WHOLE = [piece(role="assistant"), piece(content="Yes"), piece(content=", so."), piece("stop")]


async def error_of(pieces: list[bytes | float], **settings: Any) -> SynthkdError:
    async with serving(streaming(pieces)) as url:
        with pytest.raises(SynthkdError) as caught:
            await complete(url, stream=True, **settings)
    return caught.value


async def test_the_pieces_become_the_ordinary_reply() -> None:
    seen: list[Mapping[str, Any]] = []
    async with serving(streaming([b": hello\n\n", *WHOLE, USAGE, DONE], seen)) as url:
        completion = await complete(url, ask(max_tokens=5), stream=True)
    assert (completion.text, completion.finish) == ("Yes, so.", "stop")
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 3)
    assert completion.served_model == "m-served"
    assert parse_chat(completion.reply) == completion, "a replay reads the same"
    assert orjson.loads(completion.reply)["object"] == "chat.completion"
    assert (seen[0]["stream"], seen[0]["stream_options"]) == (True, {"include_usage": True})
    assert seen[0]["max_tokens"] == 5


@pytest.mark.parametrize(
    ("stream", "max_tokens", "streamed"),
    [
        ("auto", 4096, False),
        ("auto", 4097, True),
        ("auto", None, False),
        (True, 1, True),
        (False, 99_999, False),
    ],
)
async def test_when_an_answer_is_streamed(
    stream: Any, max_tokens: int | None, streamed: bool
) -> None:
    seen: list[Mapping[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        return web.json_response({"choices": [{"message": {"content": "x"}}]})

    async with serving(answer) as url:
        completion = await complete(url, ask(max_tokens=max_tokens), stream=stream)
    assert seen[0].get("stream", False) is streamed
    assert completion.text == "x", "a server that does not stream is understood all the same"


async def test_reasoning_refusal_fingerprint_and_logprobs() -> None:
    chances = {"content": [{"token": "N", "logprob": -0.5, "top_logprobs": []}]}
    pieces = [
        piece(reasoning_content="Let me "),
        piece(reasoning_content="see."),
        event(
            system_fingerprint="fp_1",
            choices=[{"delta": {"refusal": "No."}, "logprobs": chances, "finish_reason": "stop"}],
        ),
        event(choices=[{"delta": {}, "logprobs": chances}]),
        DONE,
    ]
    async with serving(streaming(pieces)) as url:
        completion = await complete(url, stream=True)
    assert (completion.reasoning, completion.refusal) == ("Let me see.", "No.")
    assert completion.fingerprint == "fp_1"
    assert [one.token for one in completion.logprobs] == ["N", "N"]
    assert completion.usage.completion_tokens is None, "the server did not say"


async def test_tool_calls_come_bit_by_bit() -> None:
    def call(index: int, **more: Any) -> bytes:
        return piece(tool_calls=[{"index": index, **more}])

    pieces = [
        call(0, id="a", function={"name": "search", "arguments": ""}),
        call(0, function={"arguments": '{"q": "ca'}),
        call(1, id="b", function={"name": "stop", "arguments": "{}"}),
        call(0, function={"arguments": 't"}'}),
        piece("tool_calls"),
        DONE,
    ]
    async with serving(streaming(pieces)) as url:
        completion = await complete(url, stream=True)
    assert completion.tool_calls == (
        ToolCall(id="a", name="search", arguments='{"q": "cat"}'),
        ToolCall(id="b", name="stop", arguments="{}"),
    )
    assert (completion.text, completion.finish) == ("", "tool_calls")


async def test_a_raw_continuation_is_streamed_too() -> None:
    pieces = [
        event(choices=[{"text": "and "}]),
        event(choices=[{"text": "so on", "finish_reason": "length"}]),
        DONE,
    ]
    request = Request(api="completions", body={"model": "m", "prompt": "Once"}, inputs={})
    async with serving(streaming(pieces)) as url:
        completion = await complete(url, request, stream=True)
    assert (completion.text, completion.finish) == ("and so on", "length")


@pytest.mark.parametrize("end", [[], [piece(content="mo"), piece(content="re")[:20]]])
async def test_a_stream_that_ends_early_is_a_failed_attempt(end: list[bytes]) -> None:
    error = await error_of([*WHOLE[:2], *end])
    assert isinstance(error, AttemptFailed)
    assert error.maybe_billed
    assert "ended the stream before the answer" in str(error)


@pytest.mark.parametrize("end", [[WHOLE[3]], [DONE], [WHOLE[3], USAGE, DONE]])
async def test_a_reason_to_finish_or_done_is_an_end(end: list[bytes]) -> None:
    async with serving(streaming([*WHOLE[:3], *end])) as url:
        assert (await complete(url, stream=True)).text == "Yes, so."


async def test_a_server_that_does_not_end_its_stream_after_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("synthkd.teachers.http.LINGER_S", 0.02)
    async with serving(streaming([*WHOLE, DONE, 60.0])) as url:
        assert (await complete(url, stream=True)).text == "Yes, so."
    async with serving(streaming([*WHOLE, 60.0])) as url:
        assert (await complete(url, stream=True, idle_timeout_s=0.05)).text == "Yes, so."


async def test_an_error_in_mid_stream() -> None:
    error = await error_of([WHOLE[1], event(error={"message": "out of memory", "code": 500})])
    assert isinstance(error, AttemptFailed)
    assert error.maybe_billed
    assert "broke off its answer: out of memory" in str(error)
    error = await error_of([WHOLE[1], event(error={"code": "insufficient_quota"})])
    assert isinstance(error, TeacherRefused)
    error = await error_of([WHOLE[1], b"data: {no json\n\n"])
    assert isinstance(error, AttemptFailed)
    assert "{no json" in str(error)


async def test_a_long_thought_is_not_cut_and_a_stall_is() -> None:
    slow: list[bytes | float] = [piece(reasoning="hm "), 0.02] * 20
    limits: dict[str, Any] = {"timeout_s": 0.05, "first_token_timeout_s": 5, "idle_timeout_s": 2}
    async with serving(streaming([*slow, *WHOLE, DONE])) as url:
        completion = await complete(url, stream=True, **limits)
    assert completion.reasoning == "hm " * 20
    limits["idle_timeout_s"] = 0.05
    error = await error_of([WHOLE[1], 60.0], **limits)
    assert isinstance(error, AttemptFailed)
    assert error.maybe_billed
    assert "sent nothing more of its answer for 0.05 s (idle_timeout_s)" in str(error)


@pytest.mark.parametrize("before", [[], [piece(role="assistant", content="")]])
async def test_signs_of_life_are_no_answer(before: list[bytes]) -> None:
    dripping: list[bytes | float] = [b": ping\n\n", 0.01] * 1000
    error = await error_of([*before, *dripping], first_token_timeout_s=0.1, idle_timeout_s=0.05)
    assert "began no answer in 0.1 s (first_token_timeout_s)" in str(error)


async def test_a_server_that_refuses_the_usage_option_is_asked_without_it() -> None:
    seen: list[Mapping[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "stream_options" in body or body["messages"][0]["content"] == "too long":
            seen.append(body)
            return web.json_response({"error": {"message": "no"}}, status=400)
        return await streaming([*WHOLE, DONE], seen)(request)

    async with serving(answer) as url:
        config = TeacherConfig(endpoint=url, model="m", stream=True)
        async with open_http("main", config) as teacher:
            with pytest.raises(RequestRefused):
                await teacher.complete(ask("too long"))
            assert ["stream_options" in body for body in seen] == [True, False]
            for _ in range(2):
                assert (await teacher.complete(ask())).text == "Yes, so."
    assert ["stream_options" in body for body in seen[2:]] == [True, False, False]


async def test_a_loop_is_broken_off() -> None:
    sent = itertools.count()

    def going_round() -> Iterator[bytes]:
        yield piece(content="Well. ")
        while next(sent) < 100_000:
            yield piece(content="and so on ")

    async with serving(streaming(going_round())) as url:
        completion = await complete(url, ask(max_tokens=9000))
    assert completion.finish == "repetition"
    assert completion.text.startswith("Well. and so on and so on")
    assert completion.usage.completion_tokens is None
    assert parse_chat(completion.reply) == completion
    assert next(sent) < 50_000, "the server was left alone"


@given(st.text(min_size=1, max_size=LONGEST_CHUNK // 4), st.text(max_size=40))
def test_a_chunk_without_end_is_a_loop(chunk: str, before: str) -> None:
    tail = before + chunk * LOOP_CHARS
    found = loop_in(tail[-LOOP_CHARS:])
    assert found is not None
    assert len(found) <= len(chunk)
    assert (found * LOOP_CHARS)[: len(found) * 4] in tail


@given(st.integers(0, 10**6))
def test_text_that_goes_on_is_no_loop(start: int) -> None:
    rows = " ".join(f"row {number}: 0 0 0 0;" for number in range(start, start + 400))
    assert loop_in(rows[-LOOP_CHARS:]) is None
    assert loop_in("ab" * 100) is None, "too short to tell"
    once_more = "x" * (LOOP_CHARS - 1) + "y"
    assert loop_in(once_more) is None


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(1, 50))
def test_however_the_stream_is_cut_the_answer_is_the_same(texts: list[str], size: int) -> None:
    wire = b"".join([*(piece(content=text) for text in texts), piece("stop"), USAGE, DONE])
    for ending in (wire, wire.replace(b"\n", b"\r\n")):
        answer = Assembling("chat")
        for start in range(0, len(ending), size):
            answer.feed(ending[start : start + size])
        assert answer.ended
        assert answer.done
        assert parse_chat(answer.reply()).text == "".join(texts)


KEY = "sk-planted-0123456789"


@pytest.mark.parametrize("api", ["chat", "completions", "embeddings", "classify"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        event(error={"message": f"you sent {KEY}", "code": 500}),
        event(error={"message": KEY, "code": "insufficient_quota"}),
        event(error=KEY),
        b"data: " + KEY.encode() + b"\n\n",
        b"data: " + b"x" * 490 + KEY.encode() + b"\n\n",
        KEY.encode(),
        b'{"error": "' + KEY.encode() + b'"}',
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_the_key_is_shown_by_no_stream(
    api: Any,
    stream: bool,
    said: bytes,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        kind = "text/event-stream" if said.startswith(b"data") else "application/json"
        return web.Response(status=status, body=said, content_type=kind)

    request = ask(api=api, body={"prompt": "p", "input": "i"})
    async with serving(answer) as url:
        with pytest.raises(SynthkdError) as caught:
            await complete(url, request, stream=stream, api_key_env="MY_KEY")
    shown = [caplog.text]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), repr(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    assert KEY[:10] not in "".join(shown)
