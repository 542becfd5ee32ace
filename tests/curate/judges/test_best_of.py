from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.config import TeacherConfig
from synthkd.curate.judges.best_of import BestOfSettings, curve_of, expected_best
from synthkd.errors import MissingField, Rejected, RowError, Unanswered
from synthkd.steps import Step, find_step
from synthkd.teachers.request import Request
from tests.curate.judges.asking import Reply, Voice, always, judged, patient, said, scored

ONE = {"criteria": [{"name": "good", "asks": "?", "scale": [0, 10]}]}
ROW: dict[str, Any] = {
    "instruction": "Count.",
    "answers": ["1", {"text": "1 2 3", "teacher": "gpt-x"}, "1 2"],
}
SETTINGS = {"rubric": ONE, "structured": False}


def longer(request: Request) -> Reply:
    """A judge that goes by length."""
    return scored(good=min(len(str(request.inputs["candidate"])), 10))


def shorter(request: Request) -> Reply:
    return scored(good=max(10 - len(str(request.inputs["candidate"])), 0))


def warnings_of(figures: Any) -> list[str]:
    step = find_step("judge.best_of")
    assert isinstance(step, Step)
    assert step.warns is not None
    return list(step.warns(figures))


async def test_the_best_answer_is_kept_with_all_scores() -> None:
    done = await judged("judge.best_of", SETTINGS, ROW, longer)
    (fields,) = done.fields
    assert fields["response"] == "1 2 3"
    assert (done.verdict["score"], done.verdict["place"]) == (0.5, 1)
    assert done.verdict["scores"] == [0.1, 0.5, 0.3]
    assert done.verdict["check"] is None
    assert [answer["place"] for answer in done.verdict["answers"]] == [0, 1, 2]
    assert "gpt-x" not in str([request.body for request in done.asked])


def rewards(request: Request) -> Reply:
    """A reward model that goes by length; it has nothing to say of one answer."""
    text = str(request.inputs["candidate"])
    return Unanswered("503") if text == "1" else said(f"[{len(text) - 4}.0]")


async def test_a_reward_model_may_choose_and_a_judge_with_a_rubric_look_on() -> None:
    settings = SETTINGS | {"reward": True, "middle": 1.0, "check_teacher": "check", "samples": 2}
    voices = {"main": rewards, "check": shorter}
    done = await judged("judge.best_of", settings | {"teacher": "main"}, ROW, voices)
    (fields,) = done.fields
    assert fields["response"] == "1 2 3"
    scores = done.verdict["scores"]
    assert scores[0] is None
    assert scores[1:] == pytest.approx([0.5, 1 / (1 + math.exp(2))])
    assert done.verdict["check"] == [0.9, 0.5, 0.7]
    assert [request.api for request in done.teachers["main"].asked] == ["classify"] * 3
    assert len(done.teachers["check"].asked) == 6
    assert [reason for reason, _ in done.kit.discards] == ["unanswered"]
    assert len(done.kit.keys) == 8
    figures: Any = done.figures
    assert curve_of(figures, "by the check") == {1: 0.6, 2: 0.5}
    alone = await judged("judge.best_of", {"reward": True}, ROW, rewards)
    assert alone.verdict["place"] == 1
    assert {request.api for request in alone.asked} == {"classify"}


async def test_a_reward_model_that_is_away_fails_the_row() -> None:
    with pytest.raises(Unanswered):
        await judged("judge.best_of", {"reward": True}, ROW, always(Unanswered("503")))


def test_who_cannot_be_a_reward_model_is_refused() -> None:
    config = BestOfSettings(teacher="a", reward=True)
    simulated = TeacherConfig.model_validate({"simulated": {"world": "arithmetic"}})
    (fault,) = config.teacher_faults({"a": simulated})
    assert "is simulated, and no reward model" in fault
    assert list(BestOfSettings(teacher="a").teacher_faults({"a": simulated})) == []
    with pytest.raises(ValidationError, match="a reward is the same each time"):
        BestOfSettings(teacher="a", reward=True, samples=2)


async def test_the_first_of_equals_wins_and_what_cannot_be_scored_does_not() -> None:
    def voice(request: Request) -> Reply:
        return "Hm." if request.inputs["candidate"] == "1 2 3" else scored(good=4)

    done = await judged("judge.best_of", SETTINGS, ROW, voice)
    assert done.verdict["place"] == 0
    assert done.verdict["scores"] == [0.4, None, 0.4]


async def test_a_second_judge_draws_the_curve() -> None:
    settings = SETTINGS | {"check_teacher": "check", "teacher": "main"}
    done = await judged("judge.best_of", settings, ROW, {"main": longer, "check": shorter})
    assert done.verdict["check"] == [0.9, 0.5, 0.7]
    figures: Any = done.figures
    assert curve_of(figures, "by the judge") == {1: 0.3, 2: 0.433, 3: 0.5}
    assert curve_of(figures, "by the check") == {1: 0.7, 2: 0.567, 3: 0.5}
    (warning,) = warnings_of(figures)
    assert warning.startswith("the check scores the best of 3 at 0.500, the best of 1 at 0.700")
    alone = await judged("judge.best_of", SETTINGS, ROW, longer)
    alone_figures: Any = alone.figures
    assert [*warnings_of(alone_figures)] == []


async def test_a_curve_is_of_rows_with_as_many_answers() -> None:
    """Many easy rows of two answers and a hard one of four: no curve falls, so none is told of."""
    settings = SETTINGS | {"check_teacher": "check", "teacher": "main"}
    figures: Counter[str] = Counter()
    for answers in [["1" * 9, "1" * 8]] * 5 + [["1", "11", "111", "1111"]]:
        row = ROW | {"answers": answers}
        done = await judged("judge.best_of", settings, row, {"main": longer, "check": longer})
        figures.update(done.figures)
    found: Any = dict(figures)
    assert curve_of(found, "by the check") == pytest.approx({1: 0.85, 2: 0.9})
    assert found["rows with  4 answers"] == 1
    assert [*warnings_of(found)] == []


async def test_of_numbers_that_are_as_common_the_curve_is_of_the_larger() -> None:
    figures: Counter[str] = Counter()
    for answers in (["1", "11"], ["1", "11", "111"]):
        done = await judged("judge.best_of", SETTINGS, ROW | {"answers": answers}, longer)
        figures.update(done.figures)
    found: Any = dict(figures)
    assert curve_of(found, "by the judge") == pytest.approx({1: 0.2, 2: 0.267, 3: 0.3})
    assert curve_of(found, "by the check") == {}
    assert curve_of({}, "by the check") == {}


@patient
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=6), st.data())
def test_the_expected_best_is_the_mean_over_all_draws(
    scores: list[tuple[int, int]], data: st.DataObject
) -> None:
    of = data.draw(st.integers(1, len(scores)))
    mine, others = [float(a) for a, _ in scores], [float(b) for _, b in scores]
    values = []
    for draw in itertools.combinations(range(len(scores)), of):
        best = max(mine[place] for place in draw)
        equals = [others[place] for place in draw if mine[place] == best]
        values.append(sum(equals) / len(equals))
    assert expected_best(mine, others, of) == pytest.approx(sum(values) / len(values))
    order = data.draw(st.permutations(range(len(scores))))
    moved = expected_best([mine[p] for p in order], [others[p] for p in order], of)
    assert moved == pytest.approx(expected_best(mine, others, of))


@patient
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_judge_s_own_curve_never_falls(scores: list[float]) -> None:
    curve = [expected_best(scores, scores, of) for of in range(1, len(scores) + 1)]
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(curve))
    assert curve[-1] == pytest.approx(max(scores))


@pytest.mark.parametrize(
    ("row", "voice", "error", "message"),
    [
        (ROW | {"answers": []}, longer, Rejected, "nothing_to_judge"),
        (ROW | {"answers": "x"}, longer, MissingField, "must hold a list of answers"),
        (ROW | {"answers": [3]}, longer, RowError, r"answers\[0\] must be a text"),
        (ROW | {"answers": ["x"] * 65}, longer, RowError, "at most 64"),
        (ROW, always("Hm."), Rejected, "no_verdict"),
        (ROW, always(Unanswered("503")), Unanswered, "503"),
    ],
)
async def test_rows_that_have_no_best(
    row: dict[str, Any], voice: Voice, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await judged("judge.best_of", SETTINGS, row, voice)


async def test_a_best_that_is_not_good_enough_is_rejected() -> None:
    with pytest.raises(Rejected, match=r"low_score: score 0\.5, keep_at_least is 0\.9"):
        await judged("judge.best_of", SETTINGS | {"keep_at_least": 0.9}, ROW, longer)


def test_a_judge_cannot_check_itself() -> None:
    with pytest.raises(ValidationError, match="must be another teacher"):
        BestOfSettings(teacher="a", check_teacher="a")


async def test_an_empty_answer_never_wins() -> None:
    row = {"instruction": "Count.", "answers": ["", " ", "1"]}
    done = await judged("judge.best_of", SETTINGS, row, always(scored(good=4)))
    assert (done.verdict["place"], done.verdict["scores"]) == (2, [None, None, 0.4])
    empty = {"instruction": "Count.", "answers": ["", " "]}
    with pytest.raises(Rejected, match="no answer with a text"):
        await judged("judge.best_of", SETTINGS, empty, always(scored(good=4)))


def test_no_field_with_answers_is_a_fault_of_the_file() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        BestOfSettings.model_validate({"teacher": "j", "answers": []})
