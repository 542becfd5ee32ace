"""The pipelines about choosing, from the file to a dataset that trainers can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import SftConfig
from synthkd.errors import ConfigError
from synthkd.io.rows_file import read_rows
from synthkd.pipeline import Pipeline
from synthkd.rows import Row
from synthkd.students import scratch
from synthkd.text import same_answer

ROWS = 40


def ran(name: str, out: Path, *overrides: str) -> tuple[list[Row], list[Any], Any]:
    """The final rows, the lines of the dataset, the manifest."""
    pipeline = Pipeline.load(
        f"pipelines/{name}.yaml", out=out, ledger=str(out) + ".db", overrides=overrides, limit=ROWS
    )
    manifest = pipeline.run_sync()
    lines = (out / "dataset" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return list(read_rows(out / "rows" / "rows.parquet")), [*map(json.loads, lines)], manifest


@pytest.fixture(autouse=True)
def _in_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def gold(project: Path) -> dict[str, str]:
    lines = (project / "data" / "arithmetic.jsonl").read_text(encoding="utf-8").splitlines()
    return {(line := json.loads(one))["question"]: line["answer"] for one in lines}


def test_one_of_six_answers_is_exported_with_its_weight(tmp_path: Path) -> None:
    rows, lines, manifest = ran("choose", tmp_path / "out")
    assert len(lines) == ROWS
    assert set(lines[0]) == {"id", "prompt", "completion", "answer", "chosen", "weight"}
    for row, line in zip(rows, lines, strict=True):
        pool: Any = row.fields["candidates"]
        whose: Any = row.fields["chosen"]
        (taken,) = [
            each
            for each in pool
            if (each["teacher"], each["sample"]) == (whose["teacher"], whose["sample"])
        ]
        assert len(pool) == 6
        assert taken["score"] == max(each.get("score") or 0 for each in pool)
        assert line["completion"] == f"{taken['rationale']}\nThe answer is {taken['answer']}"
        assert 0 < line["weight"] <= 1
    assert len(manifest.simulated) == 4


def test_pairs_prefer_what_the_vote_says_to_what_it_does_not(tmp_path: Path, project: Path) -> None:
    rows, lines, _ = ran("contrast", tmp_path / "out")
    right, good, bad = gold(project), 0, 0
    for row, line in zip(rows, lines, strict=True):
        chosen, rejected = (line[side].rpartition(" ")[2] for side in ("chosen", "rejected"))
        assert line["prompt"] == row.fields["question"]
        assert not same_answer(chosen, rejected)
        good += same_answer(chosen, right[line["prompt"]])
        bad += same_answer(rejected, right[line["prompt"]])
    assert good > 0.9 * len(lines)  # a vote of five is wrong now and then
    assert bad < 0.1 * len(lines)
    whose: list[Any] = [row.fields["rejected_from"] for row in rows]
    assert sum(one["teacher"] == "student" for one in whose) > len(lines) / 4


def test_confidence_of_a_pool_mends_targets_and_asks_nobody(tmp_path: Path, project: Path) -> None:
    rows, _, manifest = ran("clear", tmp_path / "out")
    right = gold(project)

    def share(rows: list[Row], field: str) -> float:
        found = [same_answer(row.fields[field], right[str(row.fields["question"])]) for row in rows]
        return sum(found) / len(found)

    mended = [row for row in rows if row.fields["corrected"]]
    assert share(rows, "answer") > 0.95
    assert share(mended, "answer") > share(mended, "original")
    assert sum(teacher.asked for teacher in manifest.teachers.values()) == 6 * ROWS


def test_the_likeliest_under_a_student_in_a_folder(tmp_path: Path) -> None:
    block: dict[str, Any] = {"kind": "sft", "prompt": "question", "completion": "answer"}
    tiny = {"hidden_size": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    config = SftConfig.model_validate(block | {"scratch": tiny, "max_length": 1024})
    scratch.make(config, ["Ruth has 5 bowls."], tmp_path / "base")
    student = f"teachers.student.student.folder={tmp_path / 'base'}"
    rows, _, manifest = ran("grape", tmp_path / "out", student, "source.limit=6")
    for row in rows:
        pool: Any = row.fields["candidates"]
        whose: Any = row.fields["chosen"]
        known = [each for each in pool if each.get("likelihood") is not None]
        best = max(known, key=lambda each: (each["likelihood"], -each["tokens"]))
        assert (best["teacher"], best["sample"]) == (whose["teacher"], whose["sample"])
        assert all(same_answer(each["answer"], row.fields["answer"]) for each in known)
    assert rows
    assert manifest.figures["grape"]["tokens, chosen"] > 10
    with pytest.raises(ConfigError, match="cannot say how likely a given text is"):
        ran("grape", tmp_path / "no", "steps.grape.with.teacher=strong")
