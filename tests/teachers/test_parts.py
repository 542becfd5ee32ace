"""Images stand by the hash of their bytes, and go out whole."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import Unrenderable
from synthkd.rows import Json
from synthkd.teachers.budget import IMAGE_TOKENS, prompt_bound
from synthkd.teachers.parts import by_hash, has_parts, image_part, put_back, with_images
from synthkd.teachers.request import Identity, Request, key_of

ME = Identity(served_by="me")


def seeing(*parts: Json) -> list[Json]:
    return [{"role": "system", "content": "Look."}, {"role": "user", "content": list(parts)}]


def key(*parts: Json) -> str:
    messages, images = by_hash(seeing(*parts))
    return key_of(Request(body={"messages": messages}, images=images, inputs={}), ME)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=3))
def test_what_goes_out_is_what_was_given(pictures: list[bytes]) -> None:
    given_ = seeing(*(image_part(picture, "image/png") for picture in pictures))
    messages, images = by_hash(given_)
    assert "data:" not in str(messages)
    assert len(images) == len(set(pictures))
    assert put_back(messages, images) == given_


def test_the_key_is_that_of_the_bytes() -> None:
    picture = image_part(b"\x89PNG", "image/png")
    assert key(picture) == key(image_part(b"\x89PNG", "image/png"))
    assert key(picture) != key(image_part(b"\x89PNH", "image/png"))
    assert key(picture) != key({"type": "image_url", "image_url": {"url": "https://host/x.png"}})


def test_text_and_links_stay() -> None:
    kept = seeing(
        {"type": "text", "text": "data:image/png;base64,AAAA"},
        {"type": "image_url", "image_url": {"url": "https://host/x.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:text/plain,hello"}},
    )
    assert by_hash(kept) == (kept, {})
    assert by_hash("text") == ("text", {})


def test_images_go_into_the_last_message_of_the_user() -> None:
    picture = image_part(b"x", "image/png")
    turns: list[Json] = [
        {"role": "user", "content": "one"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "It"},
    ]
    asked = with_images(Request(body={"messages": turns}, inputs={}), [picture, picture])
    assert put_back(asked.body["messages"], asked.images or {}) == [
        turns[0],
        {"role": "user", "content": [{"type": "text", "text": "two"}, picture, picture]},
        turns[2],
    ]
    for body in ({"prompt": "raw"}, {"messages": [turns[2]]}):
        with pytest.raises(Unrenderable, match="the prompt has none"):
            with_images(Request(body=body, inputs={}), [picture])


def test_an_image_that_is_no_base64() -> None:
    broken: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,a"}}
    with pytest.raises(Unrenderable, match="not valid base64"):
        by_hash(seeing(broken))


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("text", False),
        (None, False),
        (["a", "b"], False),
        ({"type": "text", "text": "a"}, False),
        ({"type": ["image_url"]}, False),
        (image_part(b"x", "image/png"), True),
        ([{"type": "text", "text": "a"}, {"type": "input_audio"}], True),
        ([{"role": "user", "content": []}, [image_part(b"x", "image/png")]], True),
    ],
)
def test_a_value_with_parts_is_known(value: Any, parts: bool) -> None:
    assert has_parts(value) is parts


def test_the_bound_of_an_image_is_not_its_bytes() -> None:
    picture = image_part(base64.b64encode(bytes(10**6)), "image/png")
    messages, _ = by_hash(seeing(picture, picture))
    assert 2 * IMAGE_TOKENS < prompt_bound({"messages": messages}) < 2 * IMAGE_TOKENS + 1000
    assert prompt_bound({"prompt": "four"}) == prompt_bound({"input": "four"}) == 20
