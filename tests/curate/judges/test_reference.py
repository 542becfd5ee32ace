from __future__ import annotations

from typing import Any

import pytest

from synthkd.errors import MissingField, RowError
from synthkd.steps import find_step
from tests.curate.judges.asking import always, judged, scored

ROW = {"instruction": "Why is the sky blue?", "response": "Light scatters.", "gold": "Scattering."}
SETTINGS = {"reference": "gold"}
GOOD = scored(agreement=4, completeness=2)


async def test_the_judge_sees_the_reference_beside_the_answer() -> None:
    done = await judged("judge.reference", SETTINGS, ROW, always(GOOD))
    assert done.asked[0].inputs["reference"] == "Scattering."
    assert "Scattering." in str(done.asked[0].body["messages"])
    assert done.verdict["score"] == 0.875
    assert done.verdict["same"] is False
    assert done.verdict["rubric"] == "judges/reference"


async def test_a_reference_that_is_the_answer_itself_is_right_by_definition() -> None:
    row = ROW | {"response": " scattering. "}
    done = await judged("judge.reference", SETTINGS | {"keep_at_least": 1.0}, row, always("never"))
    assert done.asked == []
    assert done.verdict == {
        "score": 1.0,
        "scores": {"agreement": 4.0, "completeness": 4.0},
        "rubric": "judges/reference",
        "answers": [],
        "same": True,
    }
    assert done.figures == {"same as the reference": 1, "verdicts": 1, "score from 0.9": 1}


def test_many_answers_that_are_the_reference_are_warned_of() -> None:
    warns: Any = find_step("judge.reference").warns
    figures = {"verdicts": 10, "same as the reference": 9, "score from 0.9": 10}
    (warning,) = warns(figures)
    assert "9 of 10 answers are the reference itself" in warning
    assert [*warns(figures | {"same as the reference": 2})] == []


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"instruction": "x", "response": "y"}, MissingField, "no field 'gold'"),
        (ROW | {"gold": None}, RowError, "gold is null"),
    ],
)
async def test_rows_without_a_reference(
    row: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await judged("judge.reference", SETTINGS, row, always(GOOD))
