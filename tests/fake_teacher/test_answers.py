"""Whatever a client sends, it gets an answer or is refused; only a mistake in `answer` is loud."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.fake_teacher.answers import ANSWERS, WHOLE, reply_to
from synthkd.fake_teacher.chat import Body, Voice
from synthkd.fake_teacher.faults import FAULTS, Refusal
from synthkd.fake_teacher.streams import events

NAMES = [
    "messages", "prompt", "input", "n", "seed", "stop", "max_tokens", "logprobs", "top_logprobs",
    "tools", "tool_choice", "response_format", "json_schema", "schema", "type", "function", "name",
    "parameters", "properties", "required", "content", "role", "text", "reasoning_effort",
    "chat_template_kwargs", "enable_thinking", "dimensions", "encoding_format", "stream_options",
    "use_activation",
]  # fmt: skip
WORDS = ["user", "tool", "text", "auto", "required", "json_schema", "object", "array", "base64"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False)
    | st.text("aé 1", max_size=5)
    | st.sampled_from(WORDS)
)
PARTS = SCALARS | st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=3)
JSON = (
    PARTS
    | st.lists(PARTS, max_size=3)
    | st.dictionaries(st.sampled_from(NAMES), PARTS | st.lists(PARTS, max_size=2), max_size=3)
)
GOOD = {"messages": [{"role": "user", "content": "one two"}], "prompt": "one", "input": "one"}


@given(
    st.sampled_from(list(ANSWERS)),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5),
    st.booleans(),
    st.sampled_from([None, *FAULTS]),
)
def test_any_body_is_answered_or_refused(
    path: str, given: dict[str, Any], good: bool, fault: str | None
) -> None:
    body = {"model": "m", **(GOOD if good else {}), **given}
    digest = hashlib.sha256(orjson.dumps(body)).digest()
    try:
        reply = reply_to(path, body, digest, Voice(), fault)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017  an answer is as good
        return
    assert orjson.dumps(reply) == orjson.dumps(reply_to(path, body, digest, Voice(), fault))
    assert reply["usage"]["total_tokens"] >= 0
    if path not in WHOLE:
        assert list(events(reply, include_usage=True))


@pytest.mark.parametrize("path", list(ANSWERS))
def test_a_plain_request_is_answered(path: str) -> None:
    assert reply_to(path, {"model": "m", **GOOD}, b"", Voice())["model"] == "m-served"


def test_a_mistake_in_ones_own_answer_is_not_taken_for_one_in_the_body() -> None:
    def answer(body: Body) -> str:
        return str(body["no such field"])

    with pytest.raises(RuntimeError, match="the `answer` of this fake teacher raised KeyError"):
        reply_to("/v1/chat/completions", {"model": "m", **GOOD}, b"", Voice(answer=answer))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"top_logprobs": 2}, "needs 'logprobs'"),
        ({"top_logprobs": 21, "logprobs": True}, "within 0 and 20"),
        ({"stream_options": "yes"}, "'stream_options' must be an object"),
        ({"tools": [7]}, "the body cannot be read"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        reply_to("/v1/chat/completions", {"model": "m", **GOOD, **changes}, b"", Voice())
