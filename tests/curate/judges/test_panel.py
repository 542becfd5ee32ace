from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.judges.panel import PanelSettings
from synthkd.errors import Rejected, Unanswered
from tests.curate.judges.asking import Voice, always, judged, patient, scored

ROW = {"instruction": "Why?", "response": "Because.", "model": "x-small"}
ONE = {"criteria": [{"name": "truth", "asks": "?", "scale": [0, 10]}]}
FAMILIES = {"x-small": "x", "x-large": "x"}
SETTINGS = {"teachers": ["x-small", "x-large", "y", "z"], "families": FAMILIES, "rubric": ONE}

MAJORITY = {"vote": "majority", "keep_at_least": 0.51}


def saying(**truths: int | None) -> dict[str, Voice]:
    """Each teacher's one score; None = it says nothing that can be read."""
    return {
        name.replace("_", "-"): always("Well." if truth is None else scored(truth=truth))
        for name, truth in truths.items()
    }


async def test_each_family_counts_once_in_a_mean() -> None:
    voices = saying(x_small=0, x_large=10, y=8, z=2)
    done = await judged("judge.panel", SETTINGS, ROW, voices)
    assert done.verdict["families"] == {"x": 0.5, "y": 0.8, "z": 0.2}
    assert done.verdict["score"] == 0.5
    assert done.verdict["scores"] == {"truth": 5.0}
    assert [answer["teacher"] for answer in done.verdict["answers"]] == SETTINGS["teachers"]
    assert done.figures == {
        "x: verdicts beside others": 1,
        "x: above the others, thousandths": 0,
        "y: verdicts beside others": 1,
        "y: above the others, thousandths": 450,
        "z: verdicts beside others": 1,
        "z: above the others, thousandths": -450,
        "verdicts": 1,
        "score from 0.5": 1,
    }


async def test_each_family_counts_once_by_criterion_too() -> None:
    """As in the score: of a rubric with one criterion, `scores` is the score on its scale."""
    voices = saying(x_small=0, x_large=2, y=10, z=None)
    done = await judged("judge.panel", SETTINGS | {"structured": False}, ROW, voices)
    assert done.verdict["scores"] == {"truth": 5.5}, "and not 4, the mean of three teachers"
    assert done.verdict["score"] == 0.55


@pytest.mark.parametrize(
    ("truths", "passes"),
    [
        ({"x_small": 7, "x_large": 7, "y": 9, "z": 0}, True),
        ({"x_small": 0, "x_large": 0, "y": 9, "z": 0}, False),
        ({"x_small": None, "x_large": None, "y": 9, "z": 9}, True),
        ({"x_small": None, "x_large": None, "y": 9, "z": 0}, False),
    ],
)
async def test_a_majority_is_more_than_half_of_all_families(
    truths: dict[str, Any], passes: bool
) -> None:
    settings = SETTINGS | MAJORITY | {"yes_from": 0.7, "structured": False}
    if passes:
        done = await judged("judge.panel", settings, ROW, saying(**truths))
        assert done.verdict["score"] == 2 / 3
        return
    with pytest.raises(Rejected, match="low_score"):
        await judged("judge.panel", settings, ROW, saying(**truths))


async def test_a_tie_of_two_families_is_no_majority() -> None:
    settings = {"teachers": ["y", "z"], "rubric": ONE, **MAJORITY, "yes_from": 0.5}
    with pytest.raises(Rejected, match="low_score"):
        await judged("judge.panel", settings, ROW, saying(y=9, z=1))


async def test_half_a_panel_is_no_quorum() -> None:
    settings = {"teachers": ["y", "z"], "rubric": ONE, "structured": False}
    with pytest.raises(Rejected, match="no_quorum: 1 of 2 families; not z"):
        await judged("judge.panel", settings, ROW, saying(y=9, z=None))


async def test_the_author_s_family_is_not_asked() -> None:
    settings = SETTINGS | {"author": "model"}
    done = await judged("judge.panel", settings, ROW, saying(x_small=10, x_large=10, y=4, z=6))
    assert {request.inputs["candidate"] for request in done.asked} == {"Because."}
    assert done.teachers["x-small"].asked == []
    assert done.verdict["families"] == {"y": 0.4, "z": 0.6}
    only = {"teachers": ["y", "z"], "families": {"y": "x", "z": "q"}, "rubric": ONE}
    row = ROW | {"model": "q"}
    done = await judged("judge.panel", only | {"author": "model"}, row, saying(y=4, z=6))
    assert done.verdict["families"] == {"x": 0.4}


@patient
@given(st.lists(st.sampled_from([9, 0, None]), min_size=2, max_size=7))
async def test_a_majority_is_a_strict_one(said: list[int | None]) -> None:
    """Half is a no, and so is the largest of several groups: who is silent is not on its side."""
    names = [f"t{place}" for place in range(len(said))]
    settings = {
        "teachers": names, "rubric": ONE, **MAJORITY, "yes_from": 0.7, "structured": False
    }  # fmt: skip
    voices = saying(**dict(zip(names, said, strict=True)))
    if 2 * said.count(9) > len(said):
        done = await judged("judge.panel", settings, ROW, voices)
        assert done.verdict["score"] == said.count(9) / len(said)
        return
    with pytest.raises(Rejected, match=r"low_score|no_quorum|no_verdict"):
        await judged("judge.panel", settings, ROW, voices)


TRUTHS = st.fixed_dictionaries(
    {name: st.none() | st.integers(0, 10) for name in ("x-small", "x-large", "y", "z")}
)


@patient
@given(
    st.permutations(["x-small", "x-large", "y", "z"]),
    TRUTHS,
    st.sampled_from(["mean", "majority"]),
)
async def test_the_order_of_the_teachers_makes_no_difference(
    order: list[str], truths: dict[str, int | None], vote: str
) -> None:
    voices = {
        name: always(Unanswered("503") if truth is None else scored(truth=truth))
        for name, truth in truths.items()
    }
    gate = MAJORITY | {"yes_from": 0.5} if vote == "majority" else {"keep_at_least": 0.5}
    settings = SETTINGS | gate
    found: list[Any] = []
    for teachers in (SETTINGS["teachers"], order):
        try:
            done = await judged("judge.panel", settings | {"teachers": teachers}, ROW, voices)
            verdict = done.verdict
            found.append((verdict["score"], verdict["scores"], verdict["families"], done.figures))
        except (Rejected, Unanswered) as lost:
            found.append(str(lost))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teachers": ["a"]}, "two families at least"),
        ({"teachers": ["a", "b"], "families": {"a": "x", "b": "x"}}, "two families at least"),
        ({"teachers": ["a", "a", "b"]}, "each teacher once"),
        ({"teachers": ["a", "b"], "families": {"c": "x"}}, "families names 'c'"),
        ({"teachers": ["a", "b"], "vote": "majority"}, "needs `yes_from`"),
        (
            {"teachers": ["a", "b"], **MAJORITY, "yes_from": 0.7, "keep_at_least": 0.5},
            r"must be above 0\.5",
        ),
        ({"teachers": ["a", "b"], "vote": "mean", "yes_from": 0.5}, "needs `yes_from`"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PanelSettings.model_validate(settings)
