"""Answers are functions of the body, and have the shapes of the API."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.fake_teacher.chat import Prefixes, Voice, chat_reply, prompt_tokens
from synthkd.fake_teacher.completions import completion_reply
from synthkd.fake_teacher.faults import Refusal

VOICE = Voice()
DIGEST = hashlib.sha256(b"a body").digest()
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "integer"}},
            "required": ["order"],
        },
    },
}


def body(text: Any = "one two three", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def choice(reply: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = reply["choices"][index]
    return found


def ask(fault: str | None = None, voice: Voice = VOICE, **more: Any) -> dict[str, Any]:
    return chat_reply(body(**more), DIGEST, voice, fault)


@given(st.text(), st.integers(0, 99), st.integers(1, 5), st.integers(1, 20))
def test_choice_i_is_the_answer_to_seed_plus_i(text: str, seed: int, n: int, limit: int) -> None:
    together = chat_reply(body(text, seed=seed, n=n, max_tokens=limit), DIGEST, VOICE)
    for index in range(n):
        alone = chat_reply(body(text, seed=seed + index, max_tokens=limit), DIGEST, VOICE)
        assert choice(together, index)["message"] == choice(alone)["message"]
    assert together["usage"]["prompt_tokens"] == prompt_tokens(body(text)["messages"])


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "stars",
        "schema": {
            "type": "object",
            "properties": {"stars": {"type": "integer", "minimum": 1, "maximum": 99}},
            "required": ["stars"],
        },
    },
}


@pytest.mark.parametrize("asked", [{"response_format": SCHEMA}, {"tools": [TOOL]}])
def test_the_same_holds_for_values_of_a_schema(asked: dict[str, Any]) -> None:
    together = chat_reply(body(seed=4, n=3, **asked), b"one", VOICE)
    for index in range(3):
        message = choice(chat_reply(body(seed=4 + index, **asked), b"other", VOICE))["message"]
        own = choice(together, index)["message"]
        for call in [*message.get("tool_calls", ()), *own.get("tool_calls", ())]:
            del call["id"]
        assert own == message


def test_an_answer_of_ones_own_goes_before_the_schema() -> None:
    voice = Voice(answer=lambda body: '{"stars": 5}')
    assert choice(ask(voice=voice, response_format=SCHEMA))["message"]["content"] == '{"stars": 5}'
    given = choice(ask(response_format=SCHEMA))["message"]["content"]
    assert 1 <= json.loads(given)["stars"] <= 99
    assert json.loads(choice(ask("misfit", response_format=SCHEMA))["message"]["content"]) == {}


def test_choices_without_a_seed_differ() -> None:
    said = [each["message"]["content"] for each in ask(n=3)["choices"]]
    assert said == ["echo -: one two three", "echo -+1: one two three", "echo -+2: one two three"]


@given(st.text(), st.integers(1, 30))
def test_no_answer_is_longer_than_asked_and_a_cut_one_says_so(text: str, limit: int) -> None:
    whole = chat_reply(body(text), DIGEST, VOICE)
    reply = chat_reply(body(text, max_tokens=limit), DIGEST, VOICE)
    used = reply["usage"]["completion_tokens"]
    assert used == min(limit, whole["usage"]["completion_tokens"])
    cut = used < whole["usage"]["completion_tokens"]
    assert choice(reply)["finish_reason"] == ("length" if cut else "stop")
    assert choice(whole)["message"]["content"].startswith(choice(reply)["message"]["content"])


def test_an_answer_of_ones_own() -> None:
    voice = Voice(answer=lambda body: f"label {body['seed']}\n\nfor\t{body['model']} ")
    reply = ask(voice=voice, n=2, seed=4)
    assert choice(reply, 1)["message"]["content"] == "label 5\n\nfor\tm "


def test_stop_ends_an_answer_before_it() -> None:
    reply = ask(stop=["three", " two"])
    assert choice(reply)["message"]["content"] == "echo -: one"
    assert choice(reply)["finish_reason"] == "stop"
    assert choice(ask(stop="one"))["message"]["content"] == "echo -: "


@pytest.mark.parametrize("k", [0, 1, 5])
def test_logprobs(k: int) -> None:
    reply = ask(logprobs=True, top_logprobs=k, max_tokens=3)
    said = choice(reply)["logprobs"]["content"]
    assert "".join(each["token"] for each in said) == choice(reply)["message"]["content"]
    for each in said:
        assert bytes(each["bytes"]).decode() == each["token"]
        assert len(each["top_logprobs"]) == k
        assert sum(2.718281828 ** top["logprob"] for top in each["top_logprobs"]) <= 1
        assert all(top["logprob"] <= each["logprob"] < 0 for top in each["top_logprobs"])
    assert "logprobs" not in choice(ask())


@pytest.mark.parametrize(
    "choosing", ["auto", "required", {"type": "function", "function": {"name": "look_up"}}]
)
def test_a_tool_is_called(choosing: Any) -> None:
    reply = ask(tools=[TOOL], tool_choice=choosing)
    message = choice(reply)["message"]
    assert choice(reply)["finish_reason"] == "tool_calls"
    assert message["content"] is None
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "look_up"
    assert isinstance(json.loads(call["function"]["arguments"])["order"], int)


def test_no_tool_is_called_when_told_not_to_or_when_it_has_answered() -> None:
    assert choice(ask(tools=[TOOL], tool_choice="none"))["message"]["content"].startswith("echo")
    answered = [*body()["messages"], {"role": "tool", "content": "17", "tool_call_id": "x"}]
    assert choice(ask(tools=[TOOL], messages=answered))["message"]["content"] == "echo -: 17"


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({}, 0),
        ({"reasoning_effort": "low"}, 8),
        ({"reasoning_effort": "none"}, 0),
        ({"chat_template_kwargs": {"enable_thinking": True}}, 16),
        ({"chat_template_kwargs": {"enable_thinking": False}}, 0),
    ],
)
def test_reasoning_comes_when_asked_for(asked: dict[str, Any], tokens: int) -> None:
    reply = ask(**asked)
    details = reply["usage"]["completion_tokens_details"]
    assert details["reasoning_tokens"] == tokens
    assert reply["usage"]["completion_tokens"] == tokens + 5
    assert len(choice(reply)["message"].get("reasoning_content", "").split()) == tokens


def test_reasoning_uses_up_the_tokens_first() -> None:
    voice = Voice(reasoning_tokens=10, reasoning_field="reasoning")
    reply = ask(voice=voice, max_tokens=7)
    assert choice(reply)["message"]["content"] == ""
    assert len(choice(reply)["message"]["reasoning"].split()) == 7
    assert choice(reply)["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 7


def test_json_when_an_object_is_asked_for() -> None:
    reply = ask(response_format={"type": "json_object"})
    said = choice(reply)["message"]["content"]
    assert json.loads(said) == {"echo": "echo -: one two three"}


def test_faults_of_content() -> None:
    refusal = choice(ask("refusal"))
    assert refusal["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "I cannot help with that.",
    }
    filtered = choice(ask("content_filter"))
    assert filtered["finish_reason"] == "content_filter"
    assert filtered["message"]["content"] == "echo -:"
    cut = choice(ask("length"))
    assert (cut["finish_reason"], cut["message"]["content"]) == ("length", "echo -:")
    assert choice(ask("misfit"))["message"]["content"].startswith("Sure!")


def test_a_loop_goes_on_to_the_limit() -> None:
    reply = ask("loop", max_tokens=50)
    assert reply["usage"]["completion_tokens"] == 50
    assert choice(reply)["finish_reason"] == "length"
    assert choice(reply)["message"]["content"].endswith("over and over over and over")
    assert ask("loop")["usage"]["completion_tokens"] == 4096


def test_parts_of_content() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    reply = chat_reply(body([{"type": "text", "text": "look"}, image]), DIGEST, VOICE)
    assert choice(reply)["message"]["content"] == "echo -: look"
    assert reply["usage"]["prompt_tokens"] == 16 + 4 + 16


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"messages": []}, "'messages'"),
        ({"messages": None}, "'messages'"),
        ({"messages": ["hello"]}, "'messages'"),
        ({"messages": [{"content": 7}]}, "'messages'"),
        ({"messages": [{"content": [{"type": "text"}]}]}, "'messages'"),
        ({"n": 0.5}, "'n'"),
        ({"n": 129}, "'n'"),
        ({"max_tokens": -1}, "'max_tokens'"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "x"}}}, "names 'x'"),
    ],
)
def test_what_is_no_chat_request(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says) as caught:
        ask(**asked)
    assert caught.value.status == 400


def test_a_prefix_cache_knows_what_messages_began_with() -> None:
    prefixes = Prefixes()
    system = {"role": "system", "content": "be brief"}
    one, other = body("one")["messages"], body("other")["messages"]
    assert prefixes.cached({"messages": [system, *one]}) == 0
    assert prefixes.cached({"messages": [system, *other]}) == prompt_tokens([system])
    assert prefixes.cached({"messages": [system, *one]}) == prompt_tokens([system, *one])
    assert prefixes.cached({"messages": one}) == 0, "it does not begin so"


# ------------------------------------------------------------------------------------- completions


def test_completions() -> None:
    asked = {"model": "m", "prompt": ["one two", [1, 2]], "n": 2, "max_tokens": 3, "logprobs": 2}
    with pytest.raises(Refusal, match="'prompt'"):
        completion_reply(asked, DIGEST, VOICE)
    asked["prompt"] = ["one two", "three"]
    reply = completion_reply(asked, DIGEST, VOICE)
    assert [each["text"] for each in reply["choices"]] == [
        "echo -: one", "echo -+1: one", "echo -: three", "echo -+1: three",
    ]  # fmt: skip
    assert [each["finish_reason"] for each in reply["choices"]] == ["length"] * 2 + ["stop"] * 2
    assert reply["usage"]["prompt_tokens"] == 12
    logprobs = reply["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == "echo -: one"
    assert logprobs["text_offset"] == [0, 4, 7]
    assert all(len(top) == 2 for top in logprobs["top_logprobs"])
    numbers = completion_reply({"model": "m", "prompt": [7, 8]}, DIGEST, VOICE)
    assert numbers["choices"][0]["text"] == "echo -: 7 8"
