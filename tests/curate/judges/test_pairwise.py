from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.judges.pairwise import PairwiseSettings
from synthkd.errors import Rejected, Unanswered
from synthkd.steps import Step, find_step
from synthkd.teachers.request import Request
from tests.curate.judges.asking import Reply, Voice, always, judged, patient

ROW = {"instruction": "Why is the sky blue?", "response_1": "It scatters light.", "response_2": "?"}


def told(verdict: str, reasoning: str = "Because.") -> str:
    return orjson.dumps({"reasoning": reasoning, "verdict": verdict}).decode()


def likes(text: str) -> Voice:
    """A judge that always prefers this text, wherever it stands."""
    return lambda request: told("first" if request.inputs["first"] == text else "second")


async def test_a_win_where_the_judge_stays_with_it_in_both_orders() -> None:
    done = await judged("judge.pairwise", {}, ROW, likes("?"))
    assert done.verdict == {
        "outcome": "second",
        "score": 0.0,
        "consistent": 1.0,
        "answers": [
            {
                "teacher": "main",
                "sample": 0,
                "order": order,
                "text": told(said),
                "key": f"main-{place}",
                "reasoning": "Because.",
                "outcome": "second",
                "fault": None,
            }
            for place, (order, said) in enumerate((("as_is", "second"), ("swapped", "first")), 1)
        ],
    }
    (fields,) = done.fields
    assert (fields["chosen"], fields["rejected"]) == ("?", "It scatters light.")
    assert done.figures == {
        "pairs": 1,
        "decided": 1,
        "picks": 2,
        "picks the one shown first": 1,
        "asked both ways": 1,
        "same both ways": 1,
        "decided between unequal lengths": 1,
        "the longer wins": 0,
        "score 0, the first is longer by 16": 1,
    }


@pytest.mark.parametrize("place", ["first", "second"])
async def test_a_judge_that_goes_by_the_place_decides_nothing(place: str) -> None:
    done = await judged("judge.pairwise", {}, ROW, always(told(place)))
    assert (done.verdict["outcome"], done.verdict["consistent"]) == ("tie", 0.0)
    (fields,) = done.fields
    assert (fields["chosen"], fields["rejected"]) == (None, None)
    with pytest.raises(Rejected, match="undecided"):
        await judged("judge.pairwise", {"ties": "reject"}, ROW, always(told(place)))


async def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie() -> None:
    def voice(request: Request) -> Reply:
        return told("first" if request.inputs["first"] == "?" else "tie")

    done = await judged("judge.pairwise", {}, ROW, voice)
    assert (done.verdict["outcome"], done.verdict["consistent"]) == ("tie", 0.0)


async def test_equal_answers_are_a_tie_and_nobody_is_asked() -> None:
    row = ROW | {"response_2": " it  scatters LIGHT."}
    done = await judged("judge.pairwise", {}, row, always("never"))
    assert done.asked == []
    assert (done.verdict["outcome"], done.verdict["consistent"]) == ("tie", None)
    tie = "score 0.5, the first is longer by -2"
    assert done.figures == {"pairs": 1, "identical answers": 1, tie: 1}


async def test_one_order_alone_is_half_the_price() -> None:
    done = await judged("judge.pairwise", {"orders": "as_is"}, ROW, always(told("first")))
    assert len(done.asked) == 1
    assert (done.verdict["outcome"], done.verdict["consistent"]) == ("first", None)


async def test_half_a_look_is_no_verdict() -> None:
    def voice(request: Request) -> Reply:
        return "Hm." if request.inputs["first"] == "?" else told("first")

    with pytest.raises(Rejected, match="no_verdict: Hm"):
        await judged("judge.pairwise", {"structured": False}, ROW, voice)


async def test_a_sample_that_cannot_be_read_leaves_the_others() -> None:
    def voice(request: Request) -> Reply:
        return Unanswered("503") if request.sample == 0 else likes("?")(request)

    done = await judged("judge.pairwise", {"samples": 2}, ROW, voice)
    assert done.verdict["outcome"] == "second"
    assert [reason for reason, _ in done.kit.discards] == ["unanswered", "unanswered"]
    with pytest.raises(Unanswered):
        await judged("judge.pairwise", {}, ROW, always(Unanswered("503")))


async def test_the_judge_sees_no_names() -> None:
    row = ROW | {"model_1": "gpt-x"}
    done = await judged("judge.pairwise", {}, row, likes("?"))
    assert set(done.asked[0].inputs) == {"question", "first", "second"}
    assert "gpt-x" not in str(done.asked[0].body)


FLIP = {"first": "second", "second": "first", "tie": "tie"}


def whimsical(seed: int) -> Voice:
    """A judge that says anything: a function of what it is shown, in this order."""

    def voice(request: Request) -> Reply:
        shown = orjson.dumps([seed, request.inputs["first"], request.inputs["second"]])
        rng = random.Random(shown + bytes([request.sample]))
        replies: list[Reply] = [told(each) for each in ("first", "second", "tie")]
        return rng.choice([*replies, "I cannot say.", Unanswered("503")])

    return voice


async def outcome_of(settings: dict[str, Any], row: dict[str, Any], voices: Any) -> Any:
    try:
        done = await judged("judge.pairwise", settings | {"structured": False}, row, voices)
    except (Rejected, Unanswered) as lost:
        return type(lost).__name__, getattr(lost, "reason", "")
    return done.verdict["outcome"], done.verdict["score"], done.verdict["consistent"]


@patient
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 4))
async def test_swapping_the_answers_only_mirrors_the_outcome(a: int, b: int, samples: int) -> None:
    settings = {"teachers": ["a", "b"], "samples": samples}
    voices = {"a": whimsical(a), "b": whimsical(b)}
    swapped = ROW | {"response_1": ROW["response_2"], "response_2": ROW["response_1"]}
    there = await outcome_of(settings, ROW, voices)
    back = await outcome_of(settings, swapped, voices)
    if len(there) == 2:
        assert back[0] == there[0]
        return
    assert back == (FLIP[there[0]], pytest.approx(1 - there[1]), there[2])


@patient
@given(st.permutations(["a", "b", "c"]), st.integers(0, 10**6))
async def test_the_order_of_the_teachers_makes_no_difference(order: list[str], seed: int) -> None:
    voices = {name: whimsical(seed + place) for place, name in enumerate("abc")}
    there = await outcome_of({"teachers": ["a", "b", "c"]}, ROW, voices)
    here = await outcome_of({"teachers": order}, ROW, voices)
    assert here[0] == there[0]
    if len(there) == 3:
        assert here == there


def warnings(**figures: int) -> list[str]:
    step = find_step("judge.pairwise")
    assert isinstance(step, Step)
    assert step.warns is not None
    return list(step.warns({name.replace("_", " "): value for name, value in figures.items()}))


def test_a_judge_that_goes_by_the_place_is_warned_of() -> None:
    (warning,) = warnings(
        pairs=50, decided=10, asked_both_ways=50, same_both_ways=10, picks=100,
        picks_the_one_shown_first=90,
    )  # fmt: skip
    assert "10 of 50 pairs" in warning
    assert "90 of 100 picks" in warning


def test_all_ties_are_warned_of() -> None:
    (warning,) = warnings(pairs=50, asked_both_ways=50, same_both_ways=50)
    assert warning.startswith("all 50 pairs are ties")
    assert warnings(pairs=50, identical_answers=40) == []
    assert warnings(pairs=50, decided=40, asked_both_ways=50, same_both_ways=45) == []


def test_a_win_rate_that_length_explains_is_warned_of() -> None:
    counted = {
        "score 1, the first is longer by 100": 50, "score 0, the first is longer by 100": 2,
        "score 0, the first is longer by -100": 14, "score 1, the first is longer by 1": 8,
        "score 0, the first is longer by 1": 12, "pairs": 86, "decided": 86,
    }  # fmt: skip
    step = find_step("judge.pairwise")
    assert isinstance(step, Step)
    assert step.sums_up is not None
    figures: Any = step.sums_up(counted)
    assert set(figures) == {"pairs", "decided", "win rate"}
    rate = figures["win rate"]
    assert rate["pairs"] == 86
    assert rate["first wins"]["value"] == pytest.approx(58 / 86)
    assert rate["at equal length"]["high"] < 58 / 86
    assert rate["effect of length"] > 1
    assert step.warns is not None
    (warning,) = step.warns(figures)
    assert warning.startswith("the first answers win 67.4% of 86 pairs, and at equal length ")
    assert step.sums_up({"pairs": 1}) == {"pairs": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of teacher, teachers"),
        ({"teachers": ["a", "a"]}, "each teacher once"),
        ({"teacher": "a", "first": "x", "second": "x"}, "the same field, 'x'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PairwiseSettings.model_validate(settings)
