"""The seq2seq student, on a T5 of a few thousand parameters made from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.errors import NothingToLearn, UserError
from synthkd.students import kinds, seq2seq
from synthkd.students.lesson import HeldOutRow
from synthkd.students.seq2seq import EXPLAIN, two_task_loss
from synthkd.students.trainer import IGNORED
from tests.students.lessons import lesson

ROWS = [
    {"text": f"{start} {thing}", "label": thing[::-1], "why": f"back from {thing}"}
    for start in ("turn", "flip", "now turn")
    for thing in ("card", "rate", "loan")
]
BLOCK: dict[str, Any] = {
    "kind": "seq2seq",
    "prompt": "text",
    "completion": "label",
    "scratch": {"hidden_size": 32, "layers": 1, "heads": 2, "tokenizer": "bytes"},
    "epochs": 20,
    "batch_size": 9,
    "learning_rate": 1e-2,
    "max_length": 48,
    "max_new_tokens": 40,
}
WORDS = {"scratch": {**BLOCK["scratch"], "tokenizer": "bpe", "vocabulary": 320}}
"""Shorter sequences, learnt in fewer steps; what they are depends on the rows."""
TWO_TASK = {"target": "two_task", "rationale": "why"}


def taught(folder: Path, *given: Any, **changes: Any) -> tuple[Any, list[str]]:
    """The student, and what was told while it was trained."""
    rows, *held_out = given or (ROWS,)
    made = lesson(folder, {**BLOCK, **changes}, rows, *held_out)
    told: list[str] = []
    kinds.train(made, told.append)
    return kinds.load(made.folder), told


def weights_of(student: Any) -> bytes:
    return bytes((student.folder / "model.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("epochs", "changes"),
    [(40, {}), (60, TWO_TASK), (60, {"target": "rationale_first", "rationale": "why"})],
    ids=["completion", "two_task", "rationale_first"],
)
def test_it_learns_each_target_and_answers_with_the_completion(
    epochs: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    student, _ = taught(tmp_path, epochs=epochs, **WORDS, **changes)
    asked = [row["text"] for row in ROWS]
    assert student.predict(asked) == [row["label"] for row in ROWS]
    assert student.predict([]) == []
    assert student.about["steps"] == epochs


def test_with_alpha_1_two_tasks_are_the_training_on_labels(tmp_path: Path) -> None:
    few = {"epochs": 3, "gradient_accumulation": 2, "batch_size": 3}
    both, _ = taught(tmp_path / "both", **few, **TWO_TASK, alpha=1.0)
    # The label task of two sees its prefix; the tokenizer of bytes does not depend on the rows.
    prefixed = [{**row, "text": f"predict: {row['text']}"} for row in ROWS]
    labels, _ = taught(tmp_path / "labels", prefixed, **few)
    assert weights_of(both) == weights_of(labels)
    half, _ = taught(tmp_path / "half", **few, **TWO_TASK, alpha=0.5)
    assert weights_of(half) != weights_of(labels)


def test_with_alpha_0_only_the_rationale_is_learnt(tmp_path: Path) -> None:
    few = {"epochs": 2}
    none, _ = taught(tmp_path / "none", **few, **TWO_TASK, alpha=0.0)
    explained = [{**row, "text": f"explain: {row['text']}"} for row in ROWS]
    reasons, _ = taught(tmp_path / "reasons", explained, completion="why", **few)
    assert weights_of(none) == weights_of(reasons)


def model_and_batch(n_rows: int = 3) -> tuple[Any, dict[str, Any]]:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=20, decoder_start_token_id=0, dropout_rate=0.0, **shape)
    batch: dict[str, Any] = {}
    for task, longest in (("", 3), (EXPLAIN, 7)):
        ids = torch.randint(1, 20, (n_rows, 5))
        labels = torch.randint(1, 20, (n_rows, longest))
        labels[0, 2:] = IGNORED
        batch |= {f"{task}input_ids": ids, f"{task}attention_mask": torch.ones_like(ids)}
        batch[f"{task}labels"] = labels
    return T5ForConditionalGeneration(config).eval().requires_grad_(False), batch


def plain_loss(model: Any, batch: Mapping[str, Any], task: str = "") -> float:
    """As the model itself has it: the mean over the target tokens."""
    names = ("input_ids", "attention_mask", "labels")
    return float(model(**{name: batch[task + name] for name in names}).loss)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_loss_is_the_formula(alpha: float) -> None:
    model, batch = model_and_batch()
    expected = alpha * plain_loss(model, batch) + (1 - alpha) * plain_loss(model, batch, EXPLAIN)
    assert float(two_task_loss(model, batch, alpha)) == pytest.approx(expected, rel=1e-5)
    alone = {name: value for name, value in batch.items() if not name.startswith(EXPLAIN)}
    assert float(two_task_loss(model, alone, alpha)) == pytest.approx(plain_loss(model, batch))


def test_weights_are_of_the_loss_of_rows() -> None:
    import torch

    model, batch = model_and_batch()
    whole = float(two_task_loss(model, {**batch, "weights": torch.ones(3)}, 0.5))
    assert whole == pytest.approx(float(two_task_loss(model, batch, 0.5)))
    parts = [float(two_task_loss(model, {**batch, "weights": row}, 0.5)) for row in torch.eye(3)]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


def test_weights_in_the_rows_change_what_is_learnt(tmp_path: Path) -> None:
    weighted = [{**row, "weight": 1.0 + place} for place, row in enumerate(ROWS)]
    first, _ = taught(tmp_path / "weighted", weighted, epochs=2)
    assert "loss weights" in first.about["curriculum"]
    second, _ = taught(tmp_path / "ignored", weighted, epochs=2, curriculum=False)
    assert weights_of(first) != weights_of(second)


def test_it_is_measured_on_dev_and_the_card_tells(tmp_path: Path) -> None:
    dev = [HeldOutRow(id="1", side="dev", text="turn card", gold="DRAC.")]
    changes = {**WORDS, **TWO_TASK, "best_by": "accuracy", "evaluate_every_steps": 60}
    changes["hacking"] = {"golden": "likelihood", "rows": 2}
    student, told = taught(tmp_path, ROWS, dev, epochs=60, **changes)
    # Gold is spelt otherwise and counts as the same; the loss is of the label task alone.
    assert student.about["dev"]["accuracy"] == 1
    assert "on the dev rows" in "\n".join(told)
    looks = {one["step"]: one["golden"] for one in student.about["hacking"]["checkpoints"]}
    kept = student.about["hacking"]["kept"]
    assert looks[kept] == pytest.approx(-student.about["dev"]["loss"], rel=1e-3)
    card = (student.folder / "README.md").read_text(encoding="utf-8")
    for said in ("two_task", "`why` and `label`", "AutoModelForSeq2SeqLM", "rows of a test"):
        assert said in card
    assert "vllm" not in card
    again, _ = taught(tmp_path, ROWS, dev, epochs=60, **changes)
    assert again.fingerprint == student.fingerprint


def test_what_is_too_long_is_cut_counted_and_said(tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "text": "turn " * 20}, {**ROWS[0], "label": "x" * 45}]
    student, told = taught(tmp_path, rows, epochs=1)
    assert student.about["truncated"] == 1
    assert student.about["length_quantiles"]["1"] == 101
    assert "1 of 11 answers are longer than max_new_tokens 40" in "\n".join(told)
    assert len(student.predict(["turn " * 90])) == 1


@pytest.mark.parametrize(
    ("rows", "changes", "says"),
    [
        ([], {}, "no rows to learn from"),
        ([{"text": "a"}], {}, "no text in 'label', got None"),
        ([{"text": 7, "label": "x"}], {}, "no text in 'text', got 7"),
        ([{"text": "a", "label": "x"}], TWO_TASK, "no text in 'why', got None"),
    ],
)
def test_rows_that_teach_nothing(
    rows: list[dict[str, Any]], changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(NothingToLearn, match=says):
        taught(tmp_path, rows, **changes)


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    first = {"target": "rationale_first", "rationale": "why", "best_by": "loss"}
    with pytest.raises(ValidationError, match="the loss says nothing"):
        taught(tmp_path, **first)
    with pytest.raises(UserError, match="no rows with an answer are held out as dev"):
        taught(tmp_path, best_by="loss")


def test_a_causal_model_is_no_base(tmp_path: Path) -> None:
    from synthkd.config import SftConfig
    from synthkd.students.scratch import make

    block = {**BLOCK, "kind": "sft"}
    base = make(SftConfig.model_validate(block), ["a text"], tmp_path / "base")
    with pytest.raises(UserError, match=r"student.base: .* cannot be loaded"):
        taught(tmp_path, scratch=None, base=str(base.folder))


def test_a_damaged_student_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, _ = taught(tmp_path, epochs=1)
    whole = weights_of(student)
    with monkeypatch.context() as patch:
        patch.setattr(seq2seq, "_load_base", lambda *_: pytest.fail("trained again"))
        taught(tmp_path, epochs=1)
    (student.folder / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(UserError, match="damaged student"):
        kinds.load(student.folder)
    assert weights_of(taught(tmp_path, epochs=1)[0]) == whole
