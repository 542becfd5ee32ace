"""Confidence and the critic in whole runs, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from synthkd.cli import app
from synthkd.pipeline import read_manifest


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(name: str, records: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def dataset(folder: str) -> list[dict[str, Any]]:
    text = Path(folder, "dataset", "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_targets_that_a_teacher_is_sure_of_stay() -> None:
    """The recorded teacher says 7 to all questions, is sure of all, and prefers nothing."""
    lines("said.jsonl", [{"question": str(n), "said": SAYS} for n in range(10)])
    lines(
        "rows.jsonl",
        [{"question": str(n), "answer": str(7 + n % 2), "candidate": "7"} for n in range(10)],
    )
    teacher = {"recorded": {"jsonl": "said.jsonl", "match": "question", "text": "said"}}
    fields = {"teacher": "main", "question": "question", "target": "answer"}
    pipeline = {
        "name": "sure",
        "teachers": {"main": teacher},
        "source": {"jsonl": "rows.jsonl", "id": ["question"]},
        "steps": [
            {"use": "confidence.clear", "with": fields},
            {"use": "confidence.filter", "with": {"above": 0.5, "reject": False}},
            {"use": "confidence.correct", "with": {**fields, "candidate": "candidate"}},
        ],
        "export": {"format": "rows"},
        "limits": {"max_rejected": 1},
    }
    Path("sure.yaml").write_text(json.dumps(pipeline), encoding="utf-8")
    plan = invoke("plan", "sure.yaml")
    assert plan.exit_code == 0, plan.output
    assert "70" in plan.output  # five answers and two reflections a row
    result = invoke("run", "sure.yaml", "--out", "out")
    assert result.exit_code == 0, result.output
    kept = dataset("out")
    assert {row["answer"] for row in kept} == {"7"}
    assert {row["confidence"] for row in kept} == {1.0}
    assert not any(row["corrected"] for row in kept)
    assert len(kept) == 5
    manifest = read_manifest(Path("out"))
    assert manifest.funnel["confidence.correct"].reasons == {"not_confident": 5}
    assert manifest.figures["confidence.filter"] == {"threshold": 0.5, "above": 5}


SAYS = "Four and three.\nSo the answer is 7.\nVerdict: correct"


def test_a_critic_before_a_gate() -> None:
    words = {True: "clear helpful exact", False: "vague wrong rude"}
    lines(
        "rows.jsonl",
        [
            {"n": str(n), "text": f"{words[n % 3 == 0]} {n}"}
            | ({"verdict": {"score": 0.9 if n % 3 == 0 else 0.1}} if n < 120 else {})
            for n in range(200)
        ],
    )
    step = {"field": "text", "label": "verdict.score", "good_from": 0.5, "recall": 1.0}
    pipeline = {
        "name": "criticised",
        "source": {"jsonl": "rows.jsonl", "id": ["n"]},
        "steps": [{"use": "critic", "with": step}],
        "export": {"format": "rows"},
    }
    Path("critic.yaml").write_text(json.dumps(pipeline), encoding="utf-8")
    result = invoke("run", "critic.yaml", "--out", "out")
    assert result.exit_code == 0, result.output
    assert all(int(row["n"]) % 3 == 0 for row in dataset("out"))
    figures = read_manifest(Path("out")).figures["critic"]
    assert figures["unlabelled"] == 80
    assert figures["below_threshold"] == 53
    assert "share_below" in invoke("show", "out").output
    again = invoke("run", "critic.yaml", "--out", "again")
    assert again.exit_code == 0
    one, other = (Path(name, "dataset", "train.parquet").read_bytes() for name in ("out", "again"))
    assert one == other
