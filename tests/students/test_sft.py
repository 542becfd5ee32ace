"""Supervised fine-tuning, on a model of a few thousand parameters made from nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from synthkd.errors import UserError
from synthkd.students import kinds, trainer
from synthkd.students.data import turns, written
from synthkd.students.job import train_apart
from synthkd.students.lesson import HeldOutRow, Lesson
from synthkd.students.targets import answer_in
from tests.students.lessons import lesson, peft_warns

pytestmark = peft_warns
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


def test_packed_rows_do_not_see_each_other(tmp_path: Path) -> None:
    alone, _ = taught(tmp_path / "alone")
    packed, _ = taught(tmp_path / "packed", packing=True, max_length=64, batch_size=2)
    assert packed.about["packing"] > 0.9
    # Both steps see all rows, so each is the same but for rounding.
    assert [loss for _, loss in packed.about["losses"]] == pytest.approx(
        [loss for _, loss in alone.about["losses"]], rel=1e-4
    )
    assert packed.predict(["my card"]) == ["card"]


def test_adapters_are_kept_alone_and_merged_in(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    student, _ = taught(tmp_path, lora={"rank": 4}, epochs=5)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "work" / "scratch")
    added = PeftModel.from_pretrained(base, str(tmp_path / "student" / "adapter"))
    tokens = student.tokenizer("my card", return_tensors="pt")
    apart, merged = added(**tokens).logits, student.model(**tokens).logits
    assert apart.tolist() == [
        [pytest.approx(row, abs=1e-4) for row in rows] for rows in merged.tolist()
    ]


def test_the_rationale_comes_first_and_the_answer_is_read_after_the_cue(tmp_path: Path) -> None:
    student, _ = taught(
        tmp_path, rationale="why", target="rationale_first", epochs=120, max_new_tokens=60
    )
    assert student.predict(["my card", "the rate"]) == ["card", "rate"]
    config = student.config
    assert answer_in(config, "The answer is no. It is late.\nThe answer is card ") == "card"
    assert answer_in(config, "it is about a card") is None


def test_two_tasks_are_weighed_by_alpha_however_long_they_are(tmp_path: Path) -> None:
    """The loss of all rows together is alpha x mean over labels + (1 - alpha) x over rationales."""
    import torch

    student, _ = taught(
        tmp_path, rationale="why", target="two_task", alpha=0.7, epochs=1, batch_size=16,
        learning_rate=1e-12, warmup=0,
    )  # fmt: skip
    means = []
    for field, prefix in (("label", "predict: "), ("why", "explain: ")):
        losses: list[float] = []
        for row in ROWS:
            messages = turns(prefix + str(row["text"]), str(row[field]))
            prompt = written(student.tokenizer, messages[:-1], ask=True)
            ids = torch.tensor([written(student.tokenizer, messages)])
            logits = student.model(ids).logits[0, len(prompt) - 1 : -1]
            losses += torch.nn.functional.cross_entropy(
                logits, ids[0, len(prompt) :], reduction="none"
            ).tolist()
        means.append(sum(losses) / len(losses))
    expected = 0.7 * means[0] + 0.3 * means[1]
    assert student.about["loss"] == pytest.approx(expected, rel=1e-4)


def test_a_row_that_weighs_more_is_learnt_sooner(tmp_path: Path) -> None:
    same = {"text": "my card"}
    rows = [{**same, "label": "card", "weight": 3}, {**same, "label": "rate", "weight": 1.0}]
    student, _ = taught(tmp_path, rows)
    assert student.predict(["my card"]) == ["card"]
    assert "loss weights of 0.5 to 1.5 times the mean" in student.about["curriculum"]


def test_stages_and_orders_are_obeyed_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    real = trainer.with_rows

    def watched(collate: Any) -> Any:
        both = real(collate)

        def noted(examples: list[dict[str, Any]]) -> Any:
            seen.append([example["row"] for example in examples])
            return both(examples)

        return noted

    monkeypatch.setattr(trainer, "with_rows", watched)
    staged = [{**row, "stage": 1 - place % 2} for place, row in enumerate(ROWS)]
    taught(tmp_path / "staged", staged, epochs=2, batch_size=2)
    shown = [place for batch in seen for place in batch]
    for epoch in (shown[:8], shown[8:]):
        assert sorted(epoch[:4]) == [1, 3, 5, 7]
        assert sorted(epoch[4:]) == [0, 2, 4, 6]
    assert shown[:8] != shown[8:]
    seen.clear()
    ordered = [{**row, "order": -place} for place, row in enumerate(ROWS)]
    taught(tmp_path / "ordered", ordered, epochs=1, batch_size=2)
    assert seen == [[7, 6], [5, 4], [3, 2], [1, 0]]
    with pytest.raises(UserError, match="packing fills sequences by length"):
        taught(tmp_path / "packed", ordered, packing=True)


def test_the_best_checkpoint_is_kept_and_training_ends_without_progress(tmp_path: Path) -> None:
    dev = [HeldOutRow(id=t, side="dev", text=f"any {t}", gold=t) for t in THINGS]
    student, told = taught(
        tmp_path,
        held_out=dev,
        best_by="accuracy",
        patience=2,
        evaluate_every_steps=10,
        hacking={"golden": "likelihood"},
    )
    looks = {one["step"]: one["golden"] for one in student.about["hacking"]["checkpoints"]}
    assert looks[student.about["hacking"]["kept"]] == pytest.approx(
        -student.about["dev"]["loss"], rel=1e-3
    )
    assert student.about["dev"]["accuracy"] == 1
    assert student.about["steps"] < 60
    assert student.predict([row.text for row in dev]) == list(THINGS)
    assert any("on the dev rows loss" in line and "macro_f1 1" in line for line in told)


def test_a_whole_student_is_not_trained_again_and_a_damaged_one_is(tmp_path: Path) -> None:
    made = made_lesson(tmp_path, epochs=1)
    told: list[str] = []
    kinds.train(made, told.append)
    first = (made.folder / "model.safetensors").read_bytes()
    told.clear()
    kinds.train(made, told.append)
    assert told == []
    for name, damage in (("model.safetensors", first[:100]), ("config.json", b"{")):
        (made.folder / name).write_bytes(damage)
        with pytest.raises(UserError, match="damaged"):
            kinds.load(made.folder)
    kinds.train(made, told.append)
    assert told
    assert (made.folder / "model.safetensors").read_bytes() == first


@pytest.mark.timeout(300)  # three starts of Python with torch
async def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Also with weights, which are put together over processes and batches by our own code."""
    rows = [{**row, "weight": 1 + place} for place, row in enumerate(ROWS)]
    alone, _ = taught(tmp_path / "alone", rows, epochs=8)
    split: dict[str, Any] = {"batch_size": 2, "gradient_accumulation": 2, "processes": 2}
    made = made_lesson(tmp_path / "two", rows, epochs=8, **split)
    told: list[str] = []
    await train_apart(made, told.append)
    together = kinds.load(made.folder)
    assert any("2 processes: 8 examples, 8 steps of 2 x 4" in line for line in told)
    assert [loss for _, loss in together.about["losses"]] == pytest.approx(
        [loss for _, loss in alone.about["losses"]], rel=1e-3
    )
