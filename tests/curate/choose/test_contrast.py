"""Rationales to learn beside rationales to keep away from, and pairs of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.contrast import PairsSettings, spread
from synthkd.errors import Rejected, RowError
from synthkd.steps import Step, find_step
from tests.curate.choose.choosing import choose, one

POOL = [
    one("a", "4", rationale="2 + 2 = 4."),
    one("a", "4.0", sample=1, rationale="Two twos are four."),
    one("a", "5", sample=2, rationale="2 + 2 = 5."),
    one("a", "4", sample=3, rationale="2  + 2 = 4."),
    one("a", None, sample=4, rationale="I wonder"),
    one("s", "9", rationale="2 + 2 = 9."),
    one("s", "4", sample=1, rationale="It is 4."),
    one("s", "4", sample=2, rationale=""),
]
STUDENTS: dict[str, Any] = {"students": ["s"]}


def texts(candidates: Any) -> list[str]:
    return [each["rationale"] for each in candidates]


async def test_the_vote_of_the_teachers_says_what_is_right() -> None:
    made = await choose("contrast", POOL, STUDENTS)
    assert texts(made.fields["positives"]) == ["2 + 2 = 4.", "Two twos are four."]
    assert texts(made.fields["negatives"]) == ["2 + 2 = 5.", "2 + 2 = 9."]
    assert (made.fields["answer"], made.fields["agreement"]) == ("4", 3 / 5)
    assert made.fields["candidates"] == POOL
    assert made.figures == {"positives": 2, "negatives": 2, "negatives of students": 1}


async def test_gold_overrules_the_vote_where_it_is_known() -> None:
    made = await choose("contrast", POOL, STUDENTS | {"gold": "gold"}, gold=5)
    assert texts(made.fields["positives"]) == ["2 + 2 = 5."]
    assert texts(made.fields["negatives"]) == [
        *("2 + 2 = 4.", "Two twos are four.", "2 + 2 = 9.", "It is 4."),
    ]
    unknown = await choose("contrast", POOL, STUDENTS | {"gold": "gold"}, gold=None)
    assert unknown.fields["answer"] == "4"
    with pytest.raises(Rejected, match=r"no_positive: right is 6, answered 4; 4\.0; 5"):
        await choose("contrast", POOL, STUDENTS | {"gold": "gold"}, gold="6")


async def test_what_counts_as_a_negative_is_a_setting() -> None:
    paper = await choose("contrast", POOL, STUDENTS | {"student_negatives": "all"})
    assert texts(paper.fields["negatives"]) == ["2 + 2 = 5.", "2 + 2 = 9.", "It is 4."]
    unread = await choose("contrast", POOL, STUDENTS | {"unread": True, "most": 2})
    assert texts(unread.fields["negatives"]) == ["2 + 2 = 5.", "I wonder"]
    voting = await choose("contrast", POOL, {})
    assert "It is 4." in texts(voting.fields["positives"])


async def test_a_right_answer_that_a_filter_was_against_is_nothing_to_keep_away_from() -> None:
    long = one("a", "4", sample=9, rationale="On and on.", status="too_long")
    made = await choose("contrast", [*POOL, long], STUDENTS | {"unread": True})
    assert "On and on." not in texts(made.fields["positives"] + made.fields["negatives"])


async def test_rows_without_both_sides() -> None:
    alike = POOL[:1] + POOL[3:4]
    with pytest.raises(Rejected, match="no_negative: 0 different"):
        await choose("contrast", alike)
    kept = await choose("contrast", alike, {"negatives_at_least": 0})
    assert (len(kept.fields["positives"]), kept.fields["negatives"]) == (1, [])
    with pytest.raises(Rejected, match="no_candidate: none of 1 can be used: 1 no_cue"):
        await choose("contrast", POOL[4:], STUDENTS)
    with pytest.raises(Rejected, match="no_positive"):  # right, but nothing to learn from
        await choose("contrast", POOL[7:])
    with pytest.raises(RowError, match="must be a list"):
        await choose("contrast", {"teacher": "a"})


async def paired(more: dict[str, Any], **lists: Any) -> Any:
    return await choose("contrast.pairs", [], more, **lists)


async def test_pairs_are_what_dpo_learns_from() -> None:
    lists: dict[str, Any] = {"positives": POOL[:2], "negatives": [POOL[2], POOL[5]]}
    made = await paired({"most": 2}, **lists)
    assert [(row.fields["chosen"], row.fields["rejected"]) for row in made.rows] == [
        ("2 + 2 = 4.\nThe answer is 4", "2 + 2 = 5.\nThe answer is 5"),
        ("Two twos are four.\nThe answer is 4.0", "2 + 2 = 9.\nThe answer is 9"),
    ]
    assert made.rows[0].fields["rejected_from"] == {"teacher": "a", "sample": 2, "key": "a-2"}
    assert made.rows[0].fields["margin"] is None
    assert made.figures == {
        **{"pairs": 2, "pairs of unequal length": 1, "chosen is longer": 1},
        **{"characters of the chosen": 62, "characters of the rejected": 52},
    }
    near = await paired({"most": 2, "near": True, "write": "rationale"}, **lists)
    assert {row.fields["chosen"] for row in near.rows} == {"2 + 2 = 4."}
    short = await paired({"most": 9, "ratio": 1.2}, **lists)
    assert len(short.rows) == 2


async def test_a_margin_is_of_scores() -> None:
    good = [{**POOL[0], "score": 0.9}, {**POOL[1], "score": 0.5}]
    bad = [{**POOL[2], "score": 0.4}, POOL[5]]
    made = await paired({"score": "score", "margin": 0.2, "most": 9}, positives=good, negatives=bad)
    assert [row.fields["margin"] for row in made.rows] == [0.5]
    with pytest.raises(Rejected, match="no_pair: of 1 positives and 1 negatives none may be"):
        await paired({"score": "score"}, positives=bad[:1], negatives=good[:1])
    with pytest.raises(ValidationError, match="margin needs `score`"):
        PairsSettings(margin=0.1)


async def test_no_pair_prefers_a_text_to_itself_or_has_an_empty_side() -> None:
    same = one("b", "4", rationale="2 + 2 = 4.")
    for bad in (same, one("b", None, rationale="Hm."), one("b", "5", text=None)):
        write = "text" if bad["text"] is None else "rationale_first"
        with pytest.raises(Rejected, match="no_pair"):
            await paired({"write": write}, positives=POOL[:1], negatives=[bad])


def test_pairs_that_lean_one_way_are_told_of() -> None:
    step = find_step("contrast.pairs")
    assert isinstance(step, Step)
    assert step.warns is not None
    (warning,) = step.warns({"pairs of unequal length": 40, "chosen is longer": 31})
    assert "the longer one in 31 of 40 pairs" in warning
    assert not list(step.warns({"pairs of unequal length": 40, "chosen is longer": 26}))
    assert not list(step.warns({"pairs of unequal length": 19, "chosen is longer": 19}))


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 20))
def test_pairs_use_each_side_about_as_often(good: int, bad: int, most: int) -> None:
    left = {(p, n): ("x", "y", None) for p in range(good) for n in range(bad)}
    found = spread(left, most, near=False)
    assert len(found) == len(set(found)) == min(most, good * bad)
    uses = Counter(pair[0] for pair in found)
    if most <= good:
        assert max(uses.values()) <= max(1, -(-most // min(good, bad)))


def test_many_pairs_are_spread_in_a_moment() -> None:
    """A pool of a thousand: looking at all that is left for each pair took minutes."""
    left = {(a, b): ("x" * (10 + a), "y" * (10 + b), None) for a in range(120) for b in range(120)}
    found = spread(left, 2_000, near=True)
    assert len(set(found)) == 2_000
    assert set(found[:120]) == {(place, place) for place in range(120)}
