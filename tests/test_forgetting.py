"""What a student has forgotten: figures of made-up answers, and two tiny models."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from synthkd.config import PipelineConfig
from synthkd.errors import UserError
from synthkd.evaluate.card import section
from synthkd.evaluate.suite import Item, Suite
from synthkd.forgetting import Asked, compare, forgotten
from synthkd.manifest import Evaluation, Forgetting
from synthkd.scoreboard import evaluation_view
from synthkd.students import kinds
from tests.students.lessons import lesson

SUITE = Suite(
    name="made.jsonl",
    sha256="0" * 64,
    items=tuple(Item(kind=kind, prompt="?", answer="x") for kind in "ab" for _ in range(20)),
)


def compared(before: list[bool], after: list[bool], likely: tuple[float, float] = (-1, -1)) -> Any:
    asked = [
        Asked(right=right, references=[nats] * 10)
        for right, nats in zip((before, after), likely, strict=True)
    ]
    return compare(SUITE, *asked, base="folder", resamples=200, seed=0)


def test_a_loss_of_one_kind_is_named_and_no_change_is_quiet() -> None:
    whole = [True] * 40
    found = compared(whole, [False] * 20 + [True] * 20)
    assert [one.change.value for one in found.kinds] == [-1, 0]
    assert found.overall.change.value == -0.5
    assert (found.overall.change.only_student, found.overall.change.only_other) == (0, 20)
    assert found.overall.change.high < 0
    assert found.warnings == [
        "the student has forgotten: 50.0 points of 40 general questions",
        "the kinds that lost: a (of 2 looked at)",
    ]
    assert compared(whole, whole).warnings == []
    assert compared([False] * 40, whole).warnings == []
    # Two of forty lost may be chance.
    assert compared(whole, [False] * 2 + [True] * 38).warnings == []


def test_a_loss_of_likelihood_shows_before_an_answer_is_lost() -> None:
    found = compared([True] * 40, [True] * 40, (-0.1, -2.5))
    assert found.likelihood.nats_before == pytest.approx(-0.1)
    assert found.likelihood.nats_after == pytest.approx(-2.5)
    (said,) = found.warnings
    assert said.startswith("general texts are less likely")


def test_a_person_sees_it() -> None:
    evaluation = Evaluation(
        on="test", rows=1, labels=1, contestants=[], forgetting=compared([True] * 40, [False] * 40)
    )
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(evaluation_view(evaluation))
    shown = console.export_text()
    for said in ("made.jsonl", "folder", "-100.00", "the student has forgotten"):
        assert said in shown
    assert any(line.startswith("* the student has forgotten") for line in section(evaluation))


TINY = {"hidden_size": 32, "layers": 1, "heads": 2, "tokenizer": "characters"}
BLOCK: dict[str, Any] = {
    "kind": "sft",
    "prompt": "text",
    "completion": "label",
    "epochs": 45,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "max_length": 96,
}
ASKED = [f"{start} {thing}" for start in ("my", "the", "a", "one") for thing in ("card", "rate")]


def taught(folder: Path, labels: dict[str, str], **more: Any) -> Any:
    rows = [{"text": text, "label": labels[text.split()[-1]]} for text in ASKED]
    made = lesson(folder, {**BLOCK, **more}, rows)
    kinds.train(made, lambda _: None)
    return kinds.load(made.folder)


def asked_for(tmp_path: Path, student: Any) -> Forgetting:
    with (tmp_path / "mine.jsonl").open("wb") as lines:
        for text in ASKED:
            row = {"prompt": text, "answer": text.split()[-1], "reference": text}
            lines.write(orjson.dumps(row) + b"\n")
    pipeline = PipelineConfig.model_validate(
        {
            "name": "test",
            "source": {"jsonl": "rows.jsonl"},
            "student": {**BLOCK, "base": "a model"},
            "evaluate": {"forgetting": {"jsonl": "mine.jsonl"}, "bootstrap": 100},
        }
    )
    return forgotten(pipeline, student, base=tmp_path)


def test_what_a_student_unlearns_is_found(tmp_path: Path) -> None:
    base = taught(tmp_path / "base", {"card": "card", "rate": "rate"}, scratch=TINY)
    other = {"card": "rate", "rate": "card"}
    student = taught(tmp_path / "new", other, base=str(base.folder), epochs=15)
    found = asked_for(tmp_path, student)
    assert (found.overall.before.value, found.overall.after.value) == (1, 0)
    assert found.base == str(base.folder)
    assert found.overall.rows == 8
    assert found.kinds == []
    assert found.likelihood is not None
    assert found.likelihood.nats_before < 0
    assert found.warnings[0] == "the student has forgotten: 100.0 points of 8 general questions"
    with pytest.raises(UserError, match="no causal model made from a base"):
        asked_for(tmp_path, base)


@pytest.mark.parametrize(
    "student",
    [None, {**BLOCK, "scratch": {}}, {"kind": "linear", "text": "text", "label": "label"}],
)
def test_it_needs_a_student_with_a_base(student: dict[str, Any] | None) -> None:
    with pytest.raises(ValueError, match="it needs a student of kind sft or dpo with a `base`"):
        PipelineConfig.model_validate(
            {
                "name": "test",
                "source": {"jsonl": "rows.jsonl"},
                "student": student,
                "evaluate": {"forgetting": {}},
            }
        )
