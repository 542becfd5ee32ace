"""What is read from a reply, and how a request is spelled."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import AttemptFailed
from synthkd.teachers.headers import retry_after_s
from synthkd.teachers.request import Logprob, Request, ToolCall
from synthkd.teachers.wire import parse_chat, parse_reply, wire_body
from tests.teachers.serving import ask


def reply(**message: Any) -> bytes:
    return orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})


def test_what_is_read_from_a_reply() -> None:
    completion = parse_chat(reply(content="x", reasoning_content="hm", refusal=None))
    assert (completion.text, completion.reasoning, completion.refusal) == ("x", "hm", None)
    assert completion.usage.prompt_tokens is None
    completion = parse_chat(reply(content=None, reasoning="hm", refusal="no"))
    assert (completion.text, completion.reasoning, completion.refusal) == ("", "hm", "no")
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert parse_chat(reply(content=parts)).text == "ab"


def test_tool_calls_are_values() -> None:
    calls = [
        {"id": "1", "function": {"name": "f", "arguments": '{"x": [1]}'}},
        {"function": {"name": "g", "arguments": '{"x": '}},
        {"id": None, "function": {"name": "h", "arguments": {"x": 1}}},
    ]
    completion = parse_chat(reply(content=None, tool_calls=calls))
    assert completion.tool_calls == (
        ToolCall(id="1", name="f", arguments='{"x": [1]}'),
        ToolCall(id="", name="g", arguments='{"x": '),
        ToolCall(id="", name="h", arguments='{"x":1}'),
    )
    assert [call.parsed for call in completion.tool_calls] == [{"x": [1]}, None, {"x": 1}]
    hash(completion)


def test_parts_that_are_no_text_are_named() -> None:
    parts = [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "a"}]
    completion = parse_chat(reply(content=parts))
    assert (completion.text, completion.other_parts) == ("a", ("image_url",))


def test_who_answered_is_kept() -> None:
    told = {"model": "m-2", "system_fingerprint": "fp", "choices": [{"message": {"content": "x"}}]}
    completion = parse_chat(orjson.dumps(told))
    assert (completion.served_model, completion.fingerprint) == ("m-2", "fp")


def test_logprobs() -> None:
    content = [
        {
            "token": "a",
            "logprob": -0.1,
            "top_logprobs": [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -3.0}],
        },
        {"token": "c", "logprob": -0.2},
    ]
    choice = {"message": {"content": "ac"}, "logprobs": {"content": content}}
    completion = parse_chat(orjson.dumps({"choices": [choice]}))
    assert completion.logprobs == (
        Logprob("a", -0.1, (("a", -0.1), ("b", -3.0))),
        Logprob("c", -0.2),
    )
    older = {
        "tokens": ["a", "c"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"b": -3.0}, {}],
    }
    raw = orjson.dumps({"choices": [{"text": "ac", "logprobs": older}]})
    assert parse_reply("completions", raw).logprobs == (
        Logprob("a", -0.1, (("b", -3.0),)),
        Logprob("c", -0.2),
    )
    assert parse_chat(reply(content='"logprobs"')).logprobs == ()


def test_log_probabilities_of_the_prompt() -> None:
    places = [
        None,
        {
            "60": {"logprob": -10.5, "rank": 319, "decoded_token": "W"},
            "354": {"logprob": -2.5, "rank": 1, "decoded_token": "nk"},
        },
        {"7": {"logprob": -1, "rank": 1, "decoded_token": None}},
    ]
    expected = (
        None,
        Logprob("W", -10.5, (("W", -10.5), ("nk", -2.5))),
        Logprob("", -1, (("", -1),)),
    )
    choice = {"message": {"content": "x"}}
    told = parse_chat(orjson.dumps({"choices": [choice], "prompt_logprobs": places}))
    assert told.prompt_logprobs == expected
    raw = orjson.dumps({"choices": [{"text": "x", "prompt_logprobs": places}]})
    assert parse_reply("completions", raw).prompt_logprobs == expected
    unasked = parse_chat(orjson.dumps({"choices": [choice], "prompt_logprobs": None}))
    assert unasked.prompt_logprobs == parse_chat(reply()).prompt_logprobs == ()


def test_a_raw_continuation() -> None:
    told = {
        "model": "m-2",
        "choices": [{"text": " upon a time", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3},
    }
    completion = parse_reply("completions", orjson.dumps(told))
    assert (completion.text, completion.finish) == (" upon a time", "stop")
    assert completion.usage.completion_tokens == 3


@pytest.mark.parametrize("api", ["completions", "embeddings", "classify"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"choices": [{"text": 7}]}',
        b'{"data": []}',
        b'{"data": [{"x": 1}]}',
        b'{"data": [{"probs": []}]}',
        b'{"data": [{"probs": 0.5}]}',
        b'{"data": [{"probs": [true]}]}',
        b'{"data": [{"probs": ["1"]}]}',
        b'{"data": [{"probs": [NaN]}]}',
        b'{"data": [{"probs": [1, Infinity]}]}',
    ],
)
def test_no_continuation_no_vector_and_no_score(api: Any, raw: bytes) -> None:
    with pytest.raises(AttemptFailed) as caught:
        parse_reply(api, raw)
    assert caught.value.maybe_billed


def test_a_lone_surrogate_is_repaired() -> None:
    raw = rb'{"choices": [{"message": {"content": "a\ud800b"}, "finish_reason": "stop"}]}'
    assert parse_chat(raw).text == "a\ufffdb"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": {"message": 1}}',
        b'{"error": {"message": "overloaded"}}',
        b'{"choices": [{"message": {"content": "cu',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_no_answer_in_the_reply(raw: bytes) -> None:
    with pytest.raises(AttemptFailed) as caught:
        parse_chat(raw)
    assert caught.value.maybe_billed
    assert len(str(caught.value)) < 1000


@given(st.recursive(st.none() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(
    st.sampled_from(["choices", "message", "content", "usage", "finish_reason"]), c)))  # fmt: skip
def test_any_json_is_an_answer_or_a_failed_attempt(value: Any) -> None:
    with contextlib.suppress(AttemptFailed):
        completion = parse_chat(json.dumps(value).encode())
        assert isinstance(completion.text, str)
        assert isinstance(completion.finish, str)


def test_the_longest_answer_goes_by_the_name_that_the_provider_has_for_it() -> None:
    body = orjson.loads(wire_body(ask(max_tokens=5), length="max_completion_tokens"))
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


def test_a_body_has_one_spelling() -> None:
    one = wire_body(ask(max_tokens=5))
    other = wire_body(
        Request(body=dict(reversed(list(ask().body.items()))), max_tokens=5, inputs={})
    )
    assert one == other
    assert b'"max_tokens":5' in one


@pytest.mark.parametrize("odd", [2**64 - 1, 2**63, True, -1, 1.5, "7", None])
def test_a_count_that_cannot_be_is_none(odd: object) -> None:
    reply = orjson.dumps(
        {"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": odd}}
    )
    assert parse_chat(reply).usage.completion_tokens is None


def test_a_date_beyond_all_calendars_is_no_wait() -> None:
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 99999999999999999999:28:00 GMT"}) is None
