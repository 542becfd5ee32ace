"""Rows as a trainer that is not ours reads them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.curate.targets import TargetsSettings
from synthkd.errors import MissingField, Rejected, RowError
from tests.curate.choose.choosing import choose

FIELDS: dict[str, Any] = {
    "question": "2 + 2?",
    "answer": "4",
    "rationale": "Two twos.",
    "agreement": 0.6,
}


async def made(more: dict[str, Any], **fields: Any) -> Any:
    done = await choose("targets", [], more, **(FIELDS | fields))
    names = ("prompt", "completion", "task", "weight")
    return [{name: row.fields[name] for name in names if name in row.fields} for row in done.rows]


async def test_two_tasks_are_two_rows() -> None:
    label = {"prompt": "predict: 2 + 2?", "completion": "4", "task": "predict"}
    reason = {"prompt": "explain: 2 + 2?", "completion": "Two twos.", "task": "explain"}
    assert await made({}) == [label, reason]
    assert await made({"weight": "agreement", "alpha": 0.75}) == [
        label | {"weight": 0.6 * 0.75},
        reason | {"weight": 0.6 * 0.25},
    ]
    assert await made({"alpha": 1}) == [label | {"weight": 1.0}]


async def test_one_sequence_or_the_label_alone() -> None:
    assert await made({"target": "rationale_first", "weight": "agreement"}) == [
        {
            "prompt": "2 + 2?",
            "completion": "Two twos.\nThe answer is 4",
            "task": "predict",
            "weight": 0.6,
        }
    ]
    assert await made({"target": "completion"}, rationale=None) == [
        {"prompt": "2 + 2?", "completion": "4", "task": "predict"}
    ]


async def test_what_cannot_be_learnt() -> None:
    with pytest.raises(Rejected, match="no_rationale: rationale is empty"):
        await made({}, rationale=" ")
    for wrong in (0, -1, True, "much", None):
        with pytest.raises(Rejected, match="no_weight: agreement must be a number above 0"):
            await made({"weight": "agreement"}, agreement=wrong)
    with pytest.raises(RowError, match="answer must be text"):
        await made({}, answer=4)
    with pytest.raises(MissingField):
        await made({"weight": "confidence"})
    with pytest.raises(ValidationError, match="alpha is of target two_task"):
        TargetsSettings(target="completion", alpha=1)


async def test_surer_rows_count_more() -> None:
    for settings, weight in (({}, 0.6), ({"power": 2}, 0.36), ({"by": "confidence"}, 0.9)):
        done = await choose("weigh", [], settings, **FIELDS, confidence=0.9)
        assert done.fields["weight"] == pytest.approx(weight)
    with pytest.raises(Rejected, match="no_weight: agreement must be a number above 0, got 0"):
        await choose("weigh", [], **(FIELDS | {"agreement": 0}))


@pytest.mark.parametrize("number", [1e308, 1e-308])
async def test_a_weight_that_no_float_holds(number: float) -> None:
    with pytest.raises(Rejected, match="no_weight"):
        await choose("weigh", [], {"power": 10}, **(FIELDS | {"agreement": number}))
