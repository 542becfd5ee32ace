"""A whole run that stops early and weighs its teachers: resumed, it asks nobody again."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkd.pipeline import Pipeline


def test_a_replay_asks_for_the_same_samples(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    ledger, few = str(tmp_path / "ledger.db"), ["source.limit=20"]
    runs = [
        Pipeline.load(
            "pipelines/panel.yaml", out=tmp_path / name, ledger=ledger, overrides=few
        ).run_sync()
        for name in ("first", "again")
    ]
    bought = [sum(one.attempts for one in run.teachers.values()) for run in runs]
    figures = [run.figures["candidates"] for run in runs]
    assert bought == [20 * 9 - int(str(figures[0]["calls saved"])), 0]
    assert figures[0] == figures[1]
    rows = [
        (tmp_path / name / "dataset" / "train.jsonl").read_bytes() for name in ("first", "again")
    ]
    assert rows[0] == rows[1]
