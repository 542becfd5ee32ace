"""Several seeds of one student in whole runs: trained once each, pooled by the evaluation.

The teacher is simulated. A linear student is the same by every seed, so what differs is checked by
the fingerprints, and that the figures are of all by figures of other answers.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.errors import ConfigError, UserError
from synthkd.evaluate.predictions import read_predictions
from synthkd.examinees import Named
from synthkd.manifest import Contestant, Manifest
from synthkd.pipeline import Pipeline
from synthkd.pipeline_file import parse_config
from synthkd.students import linear
from synthkd.trial import Trial

PIPELINE = """
name: seeded
teachers: {main: {simulated: {world: tickets, seed: 1}}}
source: {jsonl: rows.jsonl, id: [id], holdout: {test: 0.4, by: [id]}}
steps:
  - use: label
    with: {teacher: main, labels: [order_status, return_item]}
student: {kind: linear, text: text, label: label, seed: 5}
evaluate: {on: test, gold: gold, metrics: [accuracy], bootstrap: 20}
"""
TEXTS = {"order_status": "Where is my order {}?", "return_item": "I want to return item {}."}


@pytest.fixture
def pipeline(own_folder: None) -> Path:
    rows = [
        {"id": f"{label}{i}", "text": text.format(i), "gold": label}
        for label, text in TEXTS.items()
        for i in range(20)
    ]
    Path("rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    Path("seeded.yaml").write_text(PIPELINE, encoding="utf-8")
    return Path("seeded.yaml")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the students that are really trained, in order."""
    seeds: list[int] = []
    write = linear._write

    def counted(folder: Path, model: Any, about: dict[str, Any]) -> None:
        seeds.append(about["config"]["seed"])
        write(folder, model, about)

    monkeypatch.setattr(linear, "_write", counted)
    return seeds


def student_of(manifest: Manifest) -> Contestant:
    assert manifest.evaluation is not None
    return next(it for it in manifest.evaluation.contestants if it.role == "student")


async def test_more_seeds_train_the_new_ones_alone(pipeline: Path, made: list[int]) -> None:
    first = await Pipeline.load(pipeline, out="out").run()
    assert (made, student_of(first).seeds) == ([5], 1)
    three = await Pipeline.reopen("out", overrides=["student.seeds=3"]).train()
    assert made == [5, 6, 7]
    assert three.student is not None
    assert first.student is not None
    assert three.student["fingerprint"] == first.student["fingerprint"]
    assert set(three.student["seeds"]) == {"6", "7"}
    assert three.student["fingerprint"] not in three.student["seeds"].values()
    assert student_of(three).seeds == 3
    kept = read_predictions(Path("out/predictions.parquet"))
    assert list(kept.answers["student"]) == [5, 6, 7]
    assert "seeds/7/student/student.json" in three.files
    again = await Pipeline.load(pipeline, out="out", overrides=["student.seeds=4"]).run()
    assert made == [5, 6, 7, 8]
    assert student_of(again).seeds == 4
    evaluated = await Pipeline.reopen("out").evaluate()
    assert student_of(evaluated).metrics == student_of(again).metrics
    trial = Trial.load(pipeline, Named(student=Path("out")), out="trial")
    record = await trial.carry_out()
    assert [it.seeds for it in record.evaluation.contestants] == [1, 4]
    one = await Pipeline.reopen("out", overrides=["student.seeds=1"]).train()
    assert (made, student_of(one).seeds) == ([5, 6, 7, 8], 1)
    assert not [name for name in one.files if name.startswith("seeds/")]


def unpublish(folder: Path) -> None:
    """The folder as a kill leaves it when students of further seeds are ready."""
    (folder / ".trained").mkdir()
    (folder / "seeds").rename(folder / ".trained" / "seeds")
    told = orjson.loads((folder / "manifest.json").read_bytes())
    del told["student"]["seeds"]
    (folder / "manifest.json").write_bytes(orjson.dumps(told))


async def test_an_evaluation_leaves_the_seeds_of_a_training_that_was_killed(
    pipeline: Path, made: list[int]
) -> None:
    await Pipeline.load(pipeline, out="out", overrides=["student.seeds=2"]).run()
    unpublish(Path("out"))
    await Pipeline.reopen("out", overrides=["student.seeds=1"]).evaluate()
    two = await Pipeline.reopen("out", overrides=["student.seeds=2"]).train()
    assert (made, student_of(two).seeds) == ([5, 6], 2)


async def test_figures_are_of_all_seeds(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = await Pipeline.load(pipeline, out="out", overrides=["student.seeds=2"]).run()
    assert student_of(two).metrics["accuracy"].value == 1
    predict = linear.LinearStudent.predict

    def partly(self: linear.LinearStudent, texts: list[str]) -> list[str]:
        said = predict(self, texts)
        return said if self.about["config"]["seed"] == 5 else ["return_item"] * len(said)

    monkeypatch.setattr(linear.LinearStudent, "predict", partly)
    worse = await Pipeline.reopen("out").evaluate()
    assert worse.evaluation is not None
    kept = read_predictions(Path("out/predictions.parquet"))
    share = sum(gold == "return_item" for gold in kept.gold.values()) / len(kept.gold)
    figure = student_of(worse).metrics["accuracy"]
    assert figure.value == pytest.approx((1 + share) / 2)
    assert figure.low == 0  # two seeds that far apart: t with one degree of freedom
    assert student_of(worse).confidences is not None  # of the first alone


async def test_a_kill_between_two_seeds_trains_none_twice(
    pipeline: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> Any:
        raise Killed

    several = Pipeline.load(pipeline, out="out", overrides=["student.seeds=3"])
    with monkeypatch.context() as patch:
        patch.setattr("synthkd.running.evaluate", kill)
        with pytest.raises(Killed):
            await several.run()
    assert made == [5, 6, 7]
    whole = await several.run()
    assert (made, student_of(whole).seeds) == ([5, 6, 7], 3)


def test_seeds_that_are_not_those_of_the_manifest_are_not_evaluated(pipeline: Path) -> None:
    Pipeline.load(pipeline, out="out", overrides=["student.seeds=2"]).run_sync()
    Path("out/seeds/6").rename("out/seeds/9")
    with pytest.raises(UserError, match="run `synthkd train` first"):
        asyncio.run(Pipeline.reopen("out").evaluate())


def test_where_several_seeds_make_no_sense(pipeline: Path) -> None:
    rounds = ["student.seeds=2", "rounds=2", "source.holdout.dev=0.2"]
    with pytest.raises(ConfigError, match=r"student.seeds: 2, and rounds: 2: each round asks by"):
        Pipeline.load(pipeline, overrides=rounds)
    hosted = {"kind": "hosted", "base": "b", "endpoint": "http://x/v1", "seeds": 2}
    raw = {
        "name": "x",
        "source": {"jsonl": "x"},
        "student": {**hosted, "prompt": "p", "completion": "c"},
    }
    _, faults = parse_config(raw, "x.yaml")
    assert "2 jobs would be bought" in faults[0]
    with pytest.raises(ConfigError, match=r"seed \+ seeds must be at most 2\^32"):
        Pipeline.load(pipeline, overrides=["student.seeds=2", f"student.seed={2**32 - 1}"])
