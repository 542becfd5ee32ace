"""Preferences, on a model of a few thousand parameters made from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.config import DpoConfig
from synthkd.errors import NothingToLearn
from synthkd.students import kinds
from tests.students.lessons import lesson, peft_warns
from tests.students.test_sft import BLOCK, TINY

pytestmark = peft_warns
ROWS = [
    {"text": f"{start} {good}", "good": good, "bad": "nothing"}
    for start in ("my", "the", "a", "one")
    for good in ("card", "rate")
]
DPO: dict[str, Any] = {
    **{name: value for name, value in BLOCK.items() if name != "completion"},
    "kind": "dpo",
    "chosen": "good",
    "rejected": "bad",
    "scratch": TINY,
    "epochs": 10,
}


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_it_prefers_what_it_was_shown_to_prefer(lora: Any, tmp_path: Path) -> None:
    made = lesson(tmp_path, {**DPO, "lora": lora}, ROWS)
    told: list[str] = []
    kinds.train(made, told.append)
    student = kinds.load(made.folder)
    losses = student.about["losses"]
    assert losses[0][1] == pytest.approx(0.693, abs=0.01)  # log 2: it begins as its reference
    assert losses[-1][1] < 0.68
    assert len(student.predict(["my card"])) == 1
    assert (made.folder / "adapter").exists() is (lora is not None)
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "after `text` it prefers `good` to `bad`" in card


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="prefers 'card' to itself"):
        kinds.train(lesson(tmp_path, DPO, [{"text": "a", "good": "card", "bad": "Card"}]), print)
    for setting in ({"best_by": "loss"}, {"evaluate_every_steps": 5}):
        with pytest.raises(ValidationError, match="no rejected answer"):
            DpoConfig.model_validate({**DPO, **setting})
