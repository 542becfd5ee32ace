from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.fake_teacher.chat import Voice
from synthkd.fake_teacher.embeddings import embedding_reply, unit_vector
from synthkd.fake_teacher.faults import Refusal


def embedded(given: Any, **more: Any) -> dict[str, Any]:
    return embedding_reply({"model": "m", "input": given, **more}, b"", Voice())


@given(st.text(min_size=1), st.integers(1, 300))
def test_vectors_have_length_1_and_are_the_text_s_alone(text: str, dimensions: int) -> None:
    vector = unit_vector(text, dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.hypot(*vector), 1.0)
    assert vector == unit_vector(text, dimensions)


def test_texts_that_share_words_lie_nearer() -> None:
    def likeness(one: str, other: str) -> float:
        pairs = zip(unit_vector(one, 256), unit_vector(other, 256), strict=True)
        return sum(x * y for x, y in pairs)

    near = likeness("where is my order", "where is my parcel order")
    assert near > 0.7 > likeness("where is my order", "i forgot the password")


def test_a_list_comes_back_in_its_order() -> None:
    reply = embedded(["one", "two"])
    assert [each["index"] for each in reply["data"]] == [0, 1]
    assert reply["data"][1]["embedding"] == embedded("two")["data"][0]["embedding"]
    assert reply["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


def test_base64_is_the_same_vector() -> None:
    plain = embedded("one", dimensions=8)["data"][0]["embedding"]
    packed = embedded("one", dimensions=8, encoding_format="base64")["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(packed)) == pytest.approx(plain, abs=1e-7)


def test_token_numbers() -> None:
    (vector,) = embedded([1, 2])["data"]
    assert vector["embedding"] == embedded([[1, 2], [3]])["data"][0]["embedding"]


@pytest.mark.parametrize("odd", [None, "", [], [""], ["a", None], {}, ["a"] * 2049])
def test_what_cannot_be_embedded(odd: Any) -> None:
    with pytest.raises(Refusal, match="'input'"):
        embedded(odd)


def test_dimensions_that_are_none() -> None:
    with pytest.raises(Refusal, match="'dimensions'"):
        embedded("a", dimensions=5000)
