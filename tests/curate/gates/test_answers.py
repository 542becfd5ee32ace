from __future__ import annotations

from typing import Any

import pytest

from synthkd.errors import MissingField, Rejected, RowError
from synthkd.rows import Json
from tests.curate.gates.passing import passes


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (" Yes\n", "yes"),
        ("two  words", "Two_words."),
        ("$1,200.00", 1200),
        (4, 4.0),
        ([1], [1]),
    ],
)
async def test_gold_accepts(answer: Json, right: Json) -> None:
    assert await passes("gate.gold", {"field": "a", "gold": "g"}, a=answer, g=right)


@pytest.mark.parametrize(("answer", "right"), [("4", 5), (True, 1), (None, ""), ("a", "b")])
async def test_gold_rejects(answer: Json, right: Json) -> None:
    with pytest.raises(Rejected, match=r"wrong_answer: a is .*, g is "):
        await passes("gate.gold", {"field": "a", "gold": "g"}, a=answer, g=right)


@pytest.mark.parametrize(
    ("block", "answer", "right", "reason"),
    [
        ({"type": "number"}, "$1,200 a day", 1200, None),
        ({"type": "number"}, "1/3", "0.3333333333", None),
        ({"type": "number"}, "1200", "1201", "wrong_answer"),
        ({"type": "number"}, "soon", "1201", "wrong_answer"),
        ({"type": "number"}, "1200", "n/a", "bad_gold"),
        ({"type": "number"}, "1200", None, "bad_gold"),
        ({"type": "equation"}, "5 / 0", "5", "wrong_answer"),
        ({"type": "equation"}, "5", "5 / 0", "bad_gold"),
        ({"choices": "c"}, "sea", "(b)", None),
        ({"choices": "c"}, "park", "b", "wrong_answer"),
        ({"choices": "c"}, "park", "(z)", "bad_gold"),
        ({"type": "set"}, '["a", "b"]', ["b", "a"], None),
    ],
)
async def test_gold_of_a_type(
    block: dict[str, Any], answer: Json, right: Json, reason: str | None
) -> None:
    settings = {"field": "a", "gold": "g", "answer": block}
    if reason is None:
        assert await passes("gate.gold", settings, a=answer, g=right, c=["park", "sea"])
        return
    with pytest.raises(Rejected, match=f"{reason}: .*g is "):
        await passes("gate.gold", settings, a=answer, g=right, c=["park", "sea"])


@pytest.mark.parametrize(("votes", "answers", "at_least"), [(3, 5, 0.6), (2, 3, 2 / 3), (1, 1, 1)])
async def test_votes_at_the_threshold_pass(votes: int, answers: int, at_least: float) -> None:
    assert await passes("gate.votes", {"keep_at_least": at_least}, agreement=votes / answers)


async def test_votes_below_the_threshold() -> None:
    with pytest.raises(Rejected, match=r"few_votes: agreement is 0\.4, keep_at_least is 0\.6"):
        await passes("gate.votes", {"keep_at_least": 0.6}, agreement=0.4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gate.length", {"field": "a", "min_chars": 1}),
        ("gate.gold", {"field": "a", "gold": "b"}),
        ("gate.votes", {"field": "a", "keep_at_least": 0.5}),
    ],
)
async def test_a_missing_field_fails_the_row(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(MissingField, match="no field 'a'; it has b"):
        await passes(name, settings, b="x")


@pytest.mark.parametrize(
    ("name", "settings", "value"),
    [
        ("gate.length", {"field": "a", "min_chars": 1}, 7),
        ("gate.votes", {"field": "a", "keep_at_least": 0.5}, "0.9"),
        ("gate.votes", {"field": "a", "keep_at_least": 0.5}, True),
    ],
)
async def test_a_wrong_type_fails_the_row(name: str, settings: dict[str, Any], value: Json) -> None:
    with pytest.raises(RowError, match="a must be") as caught:
        await passes(name, settings, a=value)
    assert not isinstance(caught.value, Rejected)
