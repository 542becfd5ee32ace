"""The answer of the pool that a judge scores best."""

from __future__ import annotations

from typing import Any

import pytest

from synthkd.errors import Rejected, Unanswered
from synthkd.teachers.request import Request
from tests.curate.choose.choosing import one
from tests.curate.judges.asking import Reply, always, judged, scored

ONE = {"criteria": [{"name": "good", "asks": "?", "scale": [0, 10]}]}
SETTINGS: dict[str, Any] = {"rubric": ONE, "structured": False}
POOL = [one("a", "4"), one("b", "5"), one("b", "5", sample=1), one("c", None)]
ROW: dict[str, Any] = {"instruction": "2 + 2?", "candidates": POOL, "gold": "4"}


def fives(request: Request) -> Reply:
    """A judge that likes fives."""
    return scored(good=7 if "5" in str(request.inputs["candidate"]) else 3)


async def test_the_best_is_taken_and_each_candidate_has_its_score() -> None:
    done = await judged("choose.judged", SETTINGS, ROW, fives)
    (fields,) = done.fields
    assert fields["chosen"] == {"teacher": "b", "sample": 0, "key": "b-0"}
    assert (fields["answer"], fields["confidence"], fields["agreement"]) == ("5", 0.7, 0.5)
    pool: Any = fields["candidates"]
    assert [each.get("score") for each in pool] == [0.3, 0.7, 0.7, None]
    assert len(done.asked) == 2  # b says the same twice, and c has no answer
    assert (done.verdict["score"], done.verdict["place"]) == (0.7, 1)
    assert done.figures["verdicts"] == 1


async def test_only_right_ones_and_only_what_is_learnt() -> None:
    settings = SETTINGS | {"gold": "gold", "judged": "rationale"}
    done = await judged("choose.judged", settings, ROW, fives)
    assert done.fields[0]["answer"] == "4"
    assert [request.inputs["candidate"] for request in done.asked] == ["a thinks."]


@pytest.mark.parametrize(
    ("more", "voice", "error", "message"),
    [
        ({"keep_at_least": 0.9}, fives, Rejected, r"low_score: score 0\.7"),
        ({}, always("Hm."), Rejected, "no_verdict"),
        ({}, always(Unanswered("503")), Unanswered, "503"),
        ({"judged": "text"}, fives, Rejected, "no_candidate"),
    ],
)
async def test_rows_without_a_best(
    more: dict[str, Any], voice: Any, error: type[Exception], message: str
) -> None:
    row = ROW | {"candidates": POOL[3:]} if "judged" in more else ROW
    with pytest.raises(error, match=message):
        await judged("choose.judged", SETTINGS | more, row, voice)
