"""The key: what changes an answer is in it, what does not is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.config import TeacherConfig
from synthkd.ledger import Entry
from synthkd.teachers.endpoint import http_identity
from synthkd.teachers.request import Identity, Request, key_of

ME = Identity(served_by="http://host/v1")
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Why?"}],
    "temperature": 0.7,
}
REQUEST = Request(body=BODY, max_tokens=64, inputs={"question": "Why?"}, prompt="ask")
KEY = key_of(REQUEST, ME)


@pytest.mark.parametrize(
    "other",
    [
        REQUEST._replace(body={**BODY, "messages": [{"role": "user", "content": "Why not?"}]}),
        REQUEST._replace(body={**BODY, "model": "n"}),
        REQUEST._replace(body={**BODY, "temperature": 0.8}),
        REQUEST._replace(body={**BODY, "top_p": 0.9}),
        REQUEST._replace(body={name: BODY[name] for name in ("model", "messages")}),
        REQUEST._replace(sample=1),
        REQUEST._replace(api="completions"),
    ],
)
def test_what_changes_an_answer_changes_the_key(other: Request) -> None:
    assert key_of(other, ME) != KEY


def test_who_answers_changes_the_key() -> None:
    assert key_of(REQUEST, Identity(served_by="http://other/v1")) != KEY


@pytest.mark.parametrize(
    "other",
    [
        REQUEST._replace(body=dict(reversed(BODY.items()))),
        REQUEST._replace(max_tokens=None),
        REQUEST._replace(rank=3),
        REQUEST._replace(prompt="other", inputs={}),
    ],
)
def test_what_does_not_change_an_answer_does_not_change_the_key(other: Request) -> None:
    assert key_of(other, ME) == KEY


def test_inputs_and_prompt_count_for_those_who_answer_from_them() -> None:
    reader = replace(ME, reads_inputs=True)
    keys = {
        key_of(request, reader)
        for request in (
            REQUEST,
            REQUEST._replace(inputs={"question": "How?"}),
            REQUEST._replace(prompt="other"),
        )
    }
    assert len(keys) == 3
    assert KEY not in keys


values = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.randoms())
def test_no_key_order_matters(params: dict[str, Any], rng: Any) -> None:
    names = list(params)
    rng.shuffle(names)
    shuffled = {name: params[name] for name in names}
    one, other = (REQUEST._replace(body={**BODY, "extra": p}) for p in (params, shuffled))
    assert key_of(one, ME) == key_of(other, ME)


@given(values, values)
def test_different_values_have_different_keys(one: Any, other: Any) -> None:
    keys = {key_of(REQUEST._replace(body={**BODY, "x": value}), ME) for value in (one, other)}
    same = (type(one), one) == (type(other), other)
    assert (len(keys) == 1) == same


def entry(**changes: Any) -> Entry:
    stored = Entry(
        key=KEY, max_tokens=64, status=200, finish="stop", completion_tokens=10, reply=b""
    )
    return stored._replace(**changes)


@pytest.mark.parametrize(
    ("stored", "asked", "same"),
    [
        (entry(), 64, True),
        (entry(), None, True),
        (entry(), 10, True),
        (entry(), 9, False),
        (entry(), 4096, True),
        (entry(completion_tokens=None), 63, False),
        (entry(completion_tokens=None), 64, True),
        (entry(finish="length", completion_tokens=64), 64, True),
        (entry(finish="length", completion_tokens=64), 128, False),
        (entry(finish="length", completion_tokens=64), None, False),
        (entry(status=400, finish=""), 64, True),
        (entry(status=400, finish=""), 128, False),
        (entry(max_tokens=None), 10, True),
        (entry(max_tokens=None), None, True),
    ],
)
def test_at_which_length_an_answer_is_the_same(
    stored: Entry, asked: int | None, same: bool
) -> None:
    assert stored.answers(asked) is same


def who(**settings: Any) -> str:
    return http_identity(TeacherConfig(model="m", **settings)).served_by


def test_who_answers_over_http() -> None:
    assert who(endpoint="http://a:8000/v1") == "http://a:8000/v1"
    assert who(endpoint="http://a:8000/v1/") == "http://a:8000/v1"
    assert who(endpoint="http://a:8000/v1") != who(endpoint="http://a:8001/v1")
    assert who(endpoint="http://a:1/v1", served_by="lab") == who(
        endpoint="http://b:2/v1", served_by="lab"
    )
    assert who(endpoint=["http://a/v1", "http://b/v1"]) == who(
        endpoint=["http://b/v1", "http://a/v1", "http://a/v1"]
    )
    assert who(endpoint="http://a/v1?api-version=1") != who(endpoint="http://a/v1?api-version=2")
    assert who(endpoint="http://a/v1", headers={"X-Tier": "fast"}) != who(endpoint="http://a/v1")
    assert who(endpoint="http://a/v1", headers={"X-Tier": "fast"}) == who(
        endpoint="http://a/v1", headers={"x-tier": "fast"}
    )
    assert who(endpoint="http://a/v1", timeout_s=1, api_key_env="X", concurrency=1) == who(
        endpoint="http://a/v1"
    )
