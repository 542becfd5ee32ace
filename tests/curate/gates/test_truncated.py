from __future__ import annotations

import pytest

from synthkd.errors import Rejected, RowError
from tests.curate.gates.passing import passes, reason_of


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("First we mix the flour and then we add the", "the word 'the'"),
        ("Zuerst mischen wir das Mehl und", "the word 'und'"),
        ("The colours are red, green,", "','"),
        ("It has three parts (a, b and one more thing", "inside '('"),
        ("Here it is:\n```python\nprint(1)\n", "inside a code fence"),
        ("Look:\n````\n```\nx\n```\n", "inside a code fence"),
    ],
)
async def test_signs_of_a_cut(text: str, sign: str) -> None:
    told = await reason_of("gate.truncated", {}, text)
    assert told is not None
    assert told.startswith("truncated: text ends")
    assert sign in told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "42,",
        "Where did it come from",
        "Take plan A",
        "- the\n- of",
        "x = f(a,",
        "Here:\n```\nf(\n```",
        "It is done (really).",
        "わかりました。",
        "\ud800",
        "Look :(",
    ],
)
async def test_what_is_whole_or_cannot_be_told(text: str) -> None:
    assert await reason_of("gate.truncated", {}, text) is None


async def test_what_the_row_says_comes_first() -> None:
    whole = {"field": "text"}
    assert await passes("gate.truncated", whole, text="we add the", finish="stop")
    with pytest.raises(Rejected, match="truncated: finish is length"):
        await passes("gate.truncated", whole, text="All is well.", finish="length")
    with pytest.raises(Rejected, match="truncated: text ends with the word"):
        await passes("gate.truncated", whole, text="and we add the", finish=None)
    with pytest.raises(RowError, match="finish must be text or null, got 3"):
        await passes("gate.truncated", whole, text="All is well.", finish=3)


async def test_a_stop_may_be_asked_for() -> None:
    text = "This sentence has ten words and ends without any sign"
    assert await reason_of("gate.truncated", {}, text) is None
    assert await reason_of("gate.truncated", {"need_stop": True}, text) is not None
    assert await reason_of("gate.truncated", {"need_stop": True}, text + ".") is None
    assert await reason_of("gate.truncated", {"need_stop": True}, "A short title") is None
