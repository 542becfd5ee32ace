"""Supervised fine-tuning, on a model of a few thousand parameters made from nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from synthkd.students import kinds
from synthkd.students.lesson import HeldOutRow, Lesson
from tests.students.lessons import lesson

pytestmark = pytest.mark.filterwarnings(
    # TRL sets the old name itself, whatever we give.
    "ignore:`gradient_checkpointing` is deprecated:FutureWarning",
)
THINGS = ("card", "rate")
ROWS = [
    {
        "text": f"{start} {thing}",
        "label": thing,
        "why": f"it is about a {thing}",
    }
    for start in ("my", "the", "a", "one")
    for thing in THINGS
]
TINY = {"hidden_size": 32, "layers": 1, "heads": 2, "tokenizer": "characters"}
BLOCK: dict[str, Any] = {
    "kind": "sft",
    "prompt": "text",
    "completion": "label",
    "scratch": TINY,
    "epochs": 60,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "max_length": 96,
    "max_new_tokens": 12,
}


def taught(
    folder: Path,
    rows: Iterable[Mapping[str, Any]] = ROWS,
    held_out: Iterable[HeldOutRow] = (),
    **changes: Any,
) -> tuple[Any, list[str]]:
    """The student, and what was told while it was trained."""
    made = made_lesson(folder, rows, held_out, **changes)
    told: list[str] = []
    kinds.train(made, told.append)
    return kinds.load(made.folder), told


def made_lesson(
    folder: Path,
    rows: Iterable[Mapping[str, Any]] = ROWS,
    held_out: Iterable[HeldOutRow] = (),
    **changes: Any,
) -> Lesson:
    block = {name: value for name, value in {**BLOCK, **changes}.items() if value is not None}
    return lesson(folder, block, rows, held_out)


def test_it_learns_and_its_folder_says_how(tmp_path: Path) -> None:
    student, told = taught(tmp_path)
    assert student.predict(["my card", "the rate"]) == ["card", "rate"]
    assert student.about["loss"] < 0.1
    assert student.about["tokens_learnt"] == 8 * 5  # four letters and the end
    assert any(line.startswith("step 60 of 60, loss ") for line in told)
    preview = (tmp_path / "student" / "preview.md").read_text(encoding="utf-8")
    assert "**learnt**\n\n```text\ncard</s>\n```" in preview
    card = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    for said in ("rows of a test", "rows: 8", "`text` and learns `label`", "vllm serve", "fp32"):
        assert said in card
