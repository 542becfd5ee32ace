"""A stream says what the whole reply says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from synthkd.fake_teacher.chat import Voice, chat_reply
from synthkd.fake_teacher.completions import completion_reply
from synthkd.fake_teacher.streams import DONE, events
from synthkd.fake_teacher.wording import tokens_of

TOOLS = [{"type": "function", "function": {"name": "look_up"}}]


def told(reply: dict[str, Any], *, include_usage: bool = False) -> list[dict[str, Any]]:
    """The events, parsed; the last one is checked and left out."""
    *sent, last = events({**reply, "system_fingerprint": "fp"}, include_usage=include_usage)
    assert last == DONE
    return [orjson.loads(each.removeprefix(b"data: ")) for each in sent]


def joined(deltas: Iterable[dict[str, Any]], name: str) -> str:
    return "".join(delta.get(name) or "" for delta in deltas)


@given(st.text())
def test_tokens_make_up_the_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


@given(st.text(), st.integers(1, 4), st.sampled_from([None, 3, 40]), st.booleans())
def test_a_stream_says_what_the_reply_says(
    text: str, n: int, limit: int | None, thinks: bool
) -> None:
    body = {"model": "m", "n": n, "max_tokens": limit, "logprobs": True, "top_logprobs": 2,
            "messages": [{"role": "user", "content": text}]}  # fmt: skip
    reply = chat_reply(body, b"", Voice(reasoning_tokens=5 * thinks))
    sent = told(reply)
    assert {event["object"] for event in sent} == {"chat.completion.chunk"}
    for whole in reply["choices"]:
        own = [e["choices"][0] for e in sent if e["choices"][0]["index"] == whole["index"]]
        deltas = [each["delta"] for each in own]
        for name, said in whole["message"].items():
            assert joined(deltas, name) == said
        assert [each["finish_reason"] for each in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] == whole["finish_reason"]
        logprobs = [p for each in own for p in each.get("logprobs", {}).get("content", [])]
        assert logprobs == whole["logprobs"]["content"]


def test_a_call_in_a_stream() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS}
    reply = chat_reply(body, b"", Voice())
    (call,) = reply["choices"][0]["message"]["tool_calls"]
    deltas = [event["choices"][0]["delta"] for event in told(reply)]
    first, *rest = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert (first["id"], first["function"]["name"]) == (call["id"], "look_up")
    arguments = "".join(each["function"]["arguments"] for each in [first, *rest])
    assert arguments == call["function"]["arguments"]


def test_usage_comes_when_asked_for() -> None:
    reply = chat_reply({"model": "m", "messages": [{"role": "user", "content": "x"}]}, b"", Voice())
    assert all("usage" not in event for event in told(reply))
    *others, last = told(reply, include_usage=True)
    assert all(event["usage"] is None for event in others)
    assert (last["choices"], last["usage"]) == ([], reply["usage"])


def test_completions_stream_too() -> None:
    reply = completion_reply({"model": "m", "prompt": "one two", "n": 2}, b"", Voice())
    for whole in reply["choices"]:
        own = [e["choices"][0] for e in told(reply) if e["choices"][0]["index"] == whole["index"]]
        assert joined(own, "text") == whole["text"]
        assert own[-1]["finish_reason"] == "stop"
