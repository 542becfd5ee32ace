"""MFD: higher is harder for the student, both ways of asking; what cannot be read; round 0."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.difficulty.mfd import MfdSettings
from synthkd.errors import Rejected, RowError, Unanswered
from synthkd.teachers.request import Request
from tests.curate.difficulty.measuring import Measured, measure
from tests.curate.judges.asking import Reply, Voice, always, said, scored

RUBRIC = {
    "scale": [1, 10],
    "criteria": [{"name": "truth", "asks": "?", "weight": 3}, {"name": "style", "asks": "?"}],
}
SETTINGS = {"student": "own", "judge": "judge", "rubric": RUBRIC}
BOTH = {**SETTINGS, "way": "both"}
ROW = {"instruction": "Name the capital.", "input": "France", "output": "Paris it is."}


def judge(points: dict[str, Any]) -> Voice:
    """Gives each answer its points; of two the one that is shown first two more, if it can."""

    def voice(request: Request) -> Reply:
        shown = request.inputs
        if "candidate" in shown:
            return scored(**dict.fromkeys(("truth", "style"), points[str(shown["candidate"])]))
        first, second = points[str(shown["first"])], points[str(shown["second"])]
        return scored(
            first_truth=first + 2, first_style=first + 2, second_truth=second, second_style=second
        )

    return voice


async def mfd(settings: dict[str, Any], student: str, points: dict[str, Any]) -> Measured:
    return await measure(
        "difficulty.mfd", settings, ROW, {"own": always(student), "judge": judge(points)}
    )


@pytest.mark.parametrize(("settings", "higher"), [(SETTINGS, 0), (BOTH, 1)])
async def test_what_the_student_lacks(settings: dict[str, Any], higher: int) -> None:
    done = await mfd(settings, "Lyon, I think.", {ROW["output"]: 7, "Lyon, I think.": 3})
    parts = done.fields["difficulty_parts"]
    assert done.fields["difficulty"] == 4.0  # each place is shown first once: its bonus is even
    assert (parts["by"], parts["teacher"], parts["student"]) == (
        "difficulty.mfd", 7.0 + higher, 3.0 + higher
    )  # fmt: skip
    assert parts["scores"]["student"] == {"truth": 3.0 + higher, "style": 3.0 + higher}
    assert parts["student_answer"] == "Lyon, I think."
    assert [one["fault"] for one in parts["answers"]] == [None, None]
    asked = done.teachers["own"].asked[0]
    assert asked.body["messages"][-1]["content"] == "Name the capital.\n\nFrance"  # type: ignore[index, call-overload]
    assert len(done.teachers["judge"].asked) == 2
    assert done.figures["difficulty"] == {"rows": 1, "mean": 4.0, "histogram": {"4": 1}}
    assert done.figures["verdicts that could not be read"] == 0


@hypothesis_settings(max_examples=12)
@given(st.data())
def test_a_better_student_never_makes_it_harder(data: st.DataObject) -> None:
    level = st.integers(1, 8)
    teacher, worse, better = data.draw(level), data.draw(level), data.draw(level)
    worse, better = sorted((worse, better))
    way = data.draw(st.sampled_from([SETTINGS, BOTH]))

    def difficulty(of_teacher: int, of_student: int) -> float:
        done = mfd(way, "Well.", {str(ROW["output"]): of_teacher, "Well.": of_student})
        return float(asyncio.run(done).fields["difficulty"])

    hard = difficulty(teacher, worse)
    assert hard >= difficulty(teacher, better)  # falls with the student
    assert difficulty(worse, teacher) <= difficulty(better, teacher)  # rises with the teacher
    assert hard == pytest.approx(teacher - worse)
    assert -9 <= hard <= 9


async def test_the_same_answer_is_not_hard_and_no_answer_is_as_bad_as_can_be() -> None:
    same = await mfd(SETTINGS, " paris  it is.", {})
    assert (same.fields["difficulty"], same.fields["difficulty_parts"]["same"]) == (0.0, True)
    assert not same.teachers["judge"].asked
    for settings, teacher in ((SETTINGS, 8.0), (BOTH, 9.0)):
        silent = await mfd(settings, " ", {str(ROW["output"]): 8, "": 4})
        assert silent.fields["difficulty"] == teacher - 1
        assert silent.fields["difficulty_parts"]["scores"]["student"] == {
            "truth": 1.0, "style": 1.0
        }  # fmt: skip
        assert silent.figures["the student says nothing"] == 1


async def test_where_there_is_no_student_yet_the_row_stays_unmeasured() -> None:
    settings = {**SETTINGS, "keep_at_least": 2.0}
    voices = {"own": always("x"), "judge": always("x")}
    done = await measure("difficulty.mfd", settings, ROW, voices, missing="own")
    assert done.fields["difficulty"] is None
    assert done.fields["difficulty_parts"] == {
        "by": "difficulty.mfd", "why_not": "no student yet"
    }  # fmt: skip
    assert done.figures == {"no student yet": 1}
    assert not any(teacher.asked for teacher in done.teachers.values())


async def test_the_filter_is_off_and_can_be_set() -> None:
    points = {str(ROW["output"]): 6, "Lyon.": 5}
    assert (await mfd(SETTINGS, "Lyon.", points)).fields["difficulty"] == 1.0
    assert (await mfd({**SETTINGS, "keep_at_least": 1.0}, "Lyon.", points)).fields
    with pytest.raises(Rejected, match="too_easy: difficulty is 1, keep_at_least is 2"):
        await mfd({**SETTINGS, "keep_at_least": 2.0}, "Lyon.", points)


async def test_answers_may_be_in_the_row() -> None:
    settings = {"answered": "weak", "judge": "judge", "rubric": RUBRIC}
    voice = judge({str(ROW["output"]): 6, "Lyon.": 2})
    voices = {"own": always(said("Lyon.", finish="length")), "judge": voice}
    cut = await measure("difficulty.mfd", SETTINGS, ROW, voices)
    assert cut.figures["student's answers cut at max_tokens"] == 1  # and judged as it stands
    done = await measure("difficulty.mfd", settings, {**ROW, "weak": "Lyon."}, {"judge": voice})
    assert done.fields["difficulty"] == 4.0


async def test_what_cannot_be_read_is_no_score() -> None:
    good = scored(truth=5, style=5)

    def once(*replies: Reply) -> Voice:
        left = [*replies]
        return lambda _: left.pop(0)

    for replies, reason in (
        ((good, "Well."), "no_verdict"),
        ((scored(truth=11, style=5), good), "off_scale"),
        ((good, said("", refusal="No.")), "refused"),
    ):
        voices = {"own": always("Lyon."), "judge": once(*replies)}
        with pytest.raises(Rejected, match=reason):
            await measure("difficulty.mfd", {**SETTINGS, "structured": False}, ROW, voices)
    settings = {**SETTINGS, "structured": False, "samples": 2}
    voices = {"own": always("Lyon."), "judge": once(good, "Well.", good, good)}
    done = await measure("difficulty.mfd", settings, ROW, voices)
    assert [reason for reason, _ in done.kit.discards] == ["no_verdict"]
    assert done.figures["verdicts that could not be read"] == 1
    # One order alone would bring the liking for a place back.
    pair = scored(first_truth=5, first_style=5, second_truth=5, second_style=5)
    voices = {"own": always("Lyon."), "judge": once(pair, "Well.")}
    with pytest.raises(Rejected, match="no_verdict"):
        await measure("difficulty.mfd", {**BOTH, "structured": False}, ROW, voices)


async def test_losses() -> None:
    voices = {"own": always(said("", refusal="No.")), "judge": always("")}
    with pytest.raises(Rejected, match="refused"):
        await measure("difficulty.mfd", SETTINGS, ROW, voices)
    voices = {"own": always(Unanswered("503")), "judge": always("")}
    with pytest.raises(Unanswered):
        await measure("difficulty.mfd", SETTINGS, ROW, voices)
    with pytest.raises(Rejected, match="nothing_to_judge"):
        await measure("difficulty.mfd", SETTINGS, {**ROW, "output": " "}, voices)
    with pytest.raises(RowError, match="output must be text"):
        await measure("difficulty.mfd", SETTINGS, {**ROW, "output": None}, voices)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"judge": "j"}, "exactly one of student"),
        ({"judge": "j", "student": "s", "answered": "x"}, "exactly one of student"),
        ({"judge": "j", "answered": "output"}, "the same field"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        MfdSettings.model_validate(settings)
