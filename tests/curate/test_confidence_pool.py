"""CLEAR on a pool: what several teachers answered already stands for the teacher's own answers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.curate.confidence import ClearSettings
from synthkd.curate.correct import CorrectSettings
from synthkd.errors import Rejected, RowError
from tests.curate.choose.choosing import choose, one
from tests.curate.judges.asking import always, judged

POOL = [one("a", "4"), one("a", "4.0", sample=1), one("b", "4"), one("b", "5", sample=1)]
ROW: dict[str, Any] = {"response": "5", "confident": False}
OWN: dict[str, Any] = {"pool": True}


async def test_the_pool_stands_for_own_answers_and_nobody_is_asked() -> None:
    made = await choose("confidence.clear", POOL, OWN, **ROW)
    assert (made.fields["confidence"], made.kit.keys) == (0.25, [])
    evidence = made.fields["confidence_evidence"]
    assert evidence["answers"] == ["4", "4.0", "4", "5"]
    assert evidence["reflection"] is None
    sure = await choose("confidence.clear", POOL, OWN, response="4")
    assert sure.fields["confidence"] == 0.75  # 4.0 is 4, whatever words they share


async def test_a_target_does_not_confirm_itself() -> None:
    chosen: Any = {"teacher": "b", "sample": 1, "key": None}
    made = await choose("confidence.clear", POOL, OWN, **ROW, chosen=chosen)
    assert made.fields["confidence"] == 0.0
    with pytest.raises(Rejected, match="no_candidate"):
        await choose("confidence.clear", POOL[3:], OWN, **ROW, chosen=chosen)


async def test_a_teacher_may_still_be_asked_about_the_target_itself() -> None:
    row = {"instruction": "2 + 2?", "candidates": POOL, **ROW}
    done = await judged("confidence.clear", OWN, row, always("Fine. Verdict: correct"))
    assert done.fields[0]["confidence"] == pytest.approx(0.7 * 0.25 + 0.3 * 1)
    assert len(done.asked) == 2
    told = always("So. Verdict: unsure")
    done = await judged("confidence.correct", OWN | {"eta": 0.5}, row, told)
    evidence: Any = done.fields[0]["corrected_evidence"]
    assert evidence == {
        "agreement": 0.75,
        "reflection": 0.5,
        "confidence": pytest.approx(0.7 * 0.75 + 0.3 * 0.5),
    }
    assert len(done.asked) == 1
    done = await judged("confidence.correct", OWN | {"eta": 0.5}, row, always("Hm."))
    evidence = done.fields[0]["corrected_evidence"]
    assert evidence["reflection"] == 0.0
    assert [reason for reason, _ in done.kit.discards] == ["no_cue"]


async def test_what_most_of_the_pool_say_takes_the_place_of_the_target() -> None:
    made = await choose("confidence.correct", POOL, OWN | {"eta": 0.7}, **ROW)
    names = ("response", "original", "corrected")
    assert [made.fields[name] for name in names] == ["4", "5", True]
    assert made.fields["corrected_evidence"]["confidence"] == 0.75
    with pytest.raises(Rejected, match=r"not_confident: better with 0\.7500, eta is 0\.8"):
        await choose("confidence.correct", POOL, OWN, **ROW)
    kept = await choose("confidence.correct", POOL, OWN, response="4.0", confident=True)
    assert [kept.fields[name] for name in names] == ["4.0", None, False]
    tied = [POOL[0], POOL[3]]  # not more than half: as unsure as can be
    kept = await choose("confidence.correct", tied, OWN | {"eta": 0}, response="5", confident=True)
    assert kept.fields["corrected"] is False


async def test_a_pool_that_cannot_be_read_fails_the_row() -> None:
    for step in ("confidence.clear", "confidence.correct"):
        with pytest.raises(RowError, match="must be a list of candidates, got 'all'"):
            await choose(step, "all", OWN, **ROW)
        with pytest.raises(Rejected, match="no_candidate: none of 0"):
            await choose(step, [], OWN, **ROW)


def test_somebody_or_the_pool_must_answer() -> None:
    with pytest.raises(ValidationError, match="must have teacher, or pool: true"):
        ClearSettings()
    with pytest.raises(ValidationError, match="similarity: contradiction needs `teacher`"):
        ClearSettings(pool=True, similarity="contradiction")
    for wrong in ({"teacher": "t"}, {"teacher": "t", "candidate": "c", "pool": True}):
        with pytest.raises(ValidationError, match="exactly one of candidate"):
            CorrectSettings.model_validate(wrong)
    with pytest.raises(ValidationError, match="must have teacher"):
        CorrectSettings(candidate="c")
