"""`candidates.sums`: what a rationale works out, worked out anew."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.curate.choose.sums import equations, is_whole, sums_of
from synthkd.desk import Desk
from synthkd.kit import Kit
from synthkd.recipes.pool import Candidate
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step


def candidate(rationale: str, answer: str | None) -> Candidate:
    return Candidate(teacher="a", sample=0, rationale=rationale, answer=answer)


@pytest.mark.parametrize(
    ("rationale", "answer", "sums"),
    [
        ("16 - 3 = <<16-3=13>>13 eggs, 13 * 2 = $<<13*2=26>>26.", "26", "right"),
        ("She gets 13 * 2 = 24 dollars.", "24", "wrong"),
        ("13 * 2 = 26, and so on.", "27", "wrong"),  # it answers something else
        ("10 / 3 = 3.33", "3.33", "right"),  # people round
        ("80,000*.5=$<<80000*.5=40000.0>>41,000", "40000", "wrong"),  # the text says otherwise
        ("3 + 4 = 7 + 1 = 8", "8", "right"),  # what goes on is no result
        ("5 / 0 = 3", "3", "wrong"),
        ("9 ** 9 ** 9 = 3", "3", "wrong"),
        ("x = 3, so there are three.", "3", "none"),
        ("", "3", "none"),
        ("2 + 2 = 4", None, "wrong"),
        ("2 + 2 = 4", "four of them", "wrong"),
    ],
)
def test_whether_the_sums_add_up(rationale: str, answer: str | None, sums: str) -> None:
    assert sums_of(candidate(rationale, answer), 0.01) == sums


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        ("3", True),
        ("3.0", True),
        ("2.9999999", True),
        ("-3", False),
        ("2.5", False),
        ("sea", None),
        (None, None),
    ],
)
def test_a_number_of_things_is_whole(answer: str | None, whole: bool | None) -> None:
    assert is_whole(answer) is whole


@given(st.integers(0, 999), st.integers(0, 999), st.integers(-3, 3))
@settings(max_examples=40)
def test_a_sum_is_right_only_if_it_is(one: int, other: int, slip: int) -> None:
    text = f"So it is {one} + {other} = {one + other + slip} in all."
    if one + other + slip >= 0:
        assert [each.worth for each in equations(text)] == [Fraction(one + other)]
        exact = sums_of(candidate(text, str(one + other + slip)), 0)
        assert exact == ("right" if slip == 0 else "wrong")


def test_a_long_rationale_takes_no_longer_than_its_end() -> None:
    long = "3 + 4 = 7\n" * 20_000 + "1+" * 100_000
    assert len(list(equations(long))) == 200


async def test_the_properties_stand_in_the_pool() -> None:
    found = find_step("candidates.sums")
    assert isinstance(found, Step)
    pool: list[Json] = [
        {"teacher": "a", "answer": "4", "rationale": "2 + 2 = 4", "score": 0.5},
        {"teacher": "b", "answer": None, "status": "no_cue", "rationale": ""},
    ]
    row = source_row("t", ["1"], ordinal=0, fields={"candidates": pool})
    kit = Kit(Desk(step=found.name), "row")
    (done,) = [one async for one in found.run(row, kit, found.config())]
    made: Any = done.fields["candidates"]
    told = [(one["sums"], one["whole"], one.get("score")) for one in made]
    assert told == [("right", True, 0.5), ("none", None, None)]
    assert dict(kit.counts) == {"sums right": 1, "sums none": 1}
