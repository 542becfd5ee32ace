"""The shipped pipeline runs from end to end, and again from the ledger with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkd.pipeline import Pipeline
from tests.runs import tree_bytes


def test_the_pipeline_of_judges(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    ledger = str(tmp_path / "ledger.sqlite")
    runs = []
    for name, offline in (("one", False), ("two", True)):
        pipeline = Pipeline.load("pipelines/judge.yaml", out=tmp_path / name, ledger=ledger)
        runs.append(pipeline.run_sync(offline=offline))
    first, again = runs
    assert (first.counts.read, first.counts.kept, first.counts.rejected) == (200, 161, 39)
    assert first.counts.failed == 0
    assert first.funnel["judge.panel"].reasons == {"low_score": 39}
    assert first.figures == again.figures
    assert again.spend.requests == 0
    assert tree_bytes(tmp_path / "one" / "dataset") == tree_bytes(tmp_path / "two" / "dataset")
    figures = first.figures["judge.pairwise"]
    # Answers that are the same are not asked about; a judge that errs picks the one shown first.
    assert figures["pairs"] == 200
    assert figures["picks the one shown first"] > figures["picks"] / 2
    rate = figures["win rate"]
    assert rate["pairs"] == 200
    for name in ("first wins", "at equal length"):
        assert 0 < rate[name]["low"] < rate[name]["value"] < rate[name]["high"] < 1
    assert not [name for name in figures if name.startswith("score ")]
    assert figures["same both ways"] < figures["asked both ways"] <= 96


def test_a_judge_that_always_says_the_same_is_warned_of_in_the_manifest(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    answers = tmp_path / "rows.jsonl"
    answers.write_text(
        "".join(f'{{"question": "q{n}", "response": "a{n}"}}\n' for n in range(30)),
        encoding="utf-8",
    )
    file = tmp_path / "same.yaml"
    file.write_text(
        """
name: same
teachers: {judge: {simulated: {world: arithmetic}}}
source: {jsonl: rows.jsonl, id: [question]}
steps:
  - use: judge.rubric
    with: {teacher: judge, question: question}
export: {format: rows}
""",
        encoding="utf-8",
    )
    pipeline = Pipeline.load(file, out=tmp_path / "out", ledger=str(tmp_path / "ledger.sqlite"))
    (warning,) = pipeline.run_sync().warnings
    assert warning.startswith("judge.rubric: all 30 scores are in the tenth from ")


@pytest.mark.parametrize(("step", "calls"), [("judge.pairwise", 400), ("judge.best_of", 600)])
def test_the_forecast_knows_how_often_a_judge_is_asked(
    step: str, calls: int, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    pipeline = Pipeline.load("pipelines/judge.yaml", out=tmp_path / "out")
    forecast = pipeline.plan()
    assert {call.calls for call in forecast.calls if call.step == step} == {calls}
