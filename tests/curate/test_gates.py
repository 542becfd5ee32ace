from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.curate.gates import LengthConfig
from synthkd.errors import MissingField, Rejected, RowError
from synthkd.kit import Desk, Kit
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step


async def passes(name: str, settings: dict[str, Any], **fields: Json) -> bool:
    """Whether the gate yields the row it was given; raises what the gate raises."""
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    gate = find_step(name)
    assert isinstance(gate, Step)
    config = gate.config.model_validate(settings)
    kit = Kit(Desk(step=name), row.id)
    return [out async for out in gate.run(row, kit, config)] == [row]


@pytest.mark.parametrize(
    ("limits", "reason", "detail"),
    [
        ({"min_chars": 12}, "too_short", "text has 11 chars, min_chars is 12"),
        ({"max_chars": 10}, "too_long", "text has 11 chars, max_chars is 10"),
        ({"min_words": 3}, "too_short", "text has 2 words, min_words is 3"),
        ({"max_words": 1}, "too_long", "text has 2 words, max_words is 1"),
    ],
)
async def test_length_says_value_and_threshold(
    limits: dict[str, int], reason: str, detail: str
) -> None:
    with pytest.raises(Rejected) as caught:
        await passes("gate.length", {"field": "text", **limits}, text=" hello world\n")
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


async def test_length_at_the_limits_passes() -> None:
    limits = {"min_chars": 11, "max_chars": 11, "min_words": 2, "max_words": 2}
    assert await passes("gate.length", {"field": "text", **limits}, text="hello world")


@pytest.mark.parametrize("limits", [{}, {"min_chars": 3, "max_chars": 2}])
def test_length_limits_that_make_no_sense(limits: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="min_chars"):
        LengthConfig.model_validate({"field": "text", **limits})


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


@pytest.mark.parametrize(("votes", "answers", "at_least"), [(3, 5, 0.6), (2, 3, 2 / 3), (1, 1, 1)])
async def test_votes_at_the_threshold_pass(votes: int, answers: int, at_least: float) -> None:
    assert await passes("gate.votes", {"at_least": at_least}, agreement=votes / answers)


async def test_votes_below_the_threshold() -> None:
    with pytest.raises(Rejected, match=r"few_votes: agreement is 0\.4, at_least is 0\.6"):
        await passes("gate.votes", {"at_least": 0.6}, agreement=0.4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gate.length", {"field": "a", "min_chars": 1}),
        ("gate.gold", {"field": "a", "gold": "b"}),
        ("gate.votes", {"field": "a", "at_least": 0.5}),
    ],
)
async def test_a_missing_field_fails_the_row(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(MissingField, match="no field 'a'; it has b"):
        await passes(name, settings, b="x")


@pytest.mark.parametrize(
    ("name", "settings", "value"),
    [
        ("gate.length", {"field": "a", "min_chars": 1}, 7),
        ("gate.votes", {"field": "a", "at_least": 0.5}, "0.9"),
        ("gate.votes", {"field": "a", "at_least": 0.5}, True),
    ],
)
async def test_a_wrong_type_fails_the_row(name: str, settings: dict[str, Any], value: Json) -> None:
    with pytest.raises(RowError, match="a must be") as caught:
        await passes(name, settings, a=value)
    assert not isinstance(caught.value, Rejected)
