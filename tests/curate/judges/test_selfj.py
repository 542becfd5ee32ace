from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.curate.judges.selfj import SelfJSettings, scale_of, selfj
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.pipeline import Pipeline
from synthkd.rows import Json, source_row
from synthkd.table_kit import TableKit
from tests.curate.judges.asking import patient, shipped

PROMPTS = {name: shipped(name) for name in ("judges/digit", "judges/digit_reference")}
REFERENCE = "light scatters in the air"


def run(
    items: list[dict[str, Json]], tmp_path: Path, **settings: Any
) -> tuple[list[Any], TableKit, list[Any]]:
    sources = [source_row("t", [str(n)], ordinal=n, fields=row) for n, row in enumerate(items)]
    spool = RowSpool.of(tmp_path / "rows", sources)
    kit = TableKit(Desk(step="s", prompts=PROMPTS, work=tmp_path, vectors=tmp_path / "vectors"))
    config = SelfJSettings.model_validate({"reference": "reference", "rows": "one", **settings})
    with spool:
        made = list(selfj(Table(spool), kit, config))
    kit.close()
    return made, kit, kit.take_gone()


def row(score: Any, response: str = REFERENCE) -> dict[str, Json]:
    verdict: Json = {"score": score}
    return {
        "instruction": "Why is the sky blue?",
        "response": response,
        "reference": REFERENCE,
        "verdict": verdict,
    }


ROWS: list[dict[str, Json]] = [row(1.0), row(0.5, "light scatters"), row(0.0, "no idea")]


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_grade_mixes_both_signals_by_the_weight(weight: float, tmp_path: Path) -> None:
    made, kit, gone = run(ROWS, tmp_path, weight=weight)
    found = [int(str(one.fields["grade"])) for one in made]
    assert (found[0], found[2]) == (9, 0)
    cosine = float(str(made[1].fields["cosine"]))
    least, most = (float(str(made[place].fields["cosine"])) for place in (2, 0))
    mixed = (1 - weight) * 0.5 + weight * (cosine - least) / (most - least)
    assert found[1] == min(int(10 * mixed + 1e-9), 9)
    assert gone == []
    assert sum(value for value in kit.figures.values() if isinstance(value, int)) == 3


def test_the_student_is_asked_with_and_without_the_reference(tmp_path: Path) -> None:
    made, _, _ = run(ROWS, tmp_path)
    fields = made[1].fields
    assert "light scatters" in str(fields["judge_prompt"])
    assert REFERENCE not in str(fields["judge_prompt"])
    assert REFERENCE in str(fields["judge_prompt_with_reference"])
    assert fields["self_evaluation"] == 0.5


def test_each_item_is_two_rows_that_differ_in_what_is_asked_alone(tmp_path: Path) -> None:
    one, _, _ = run(ROWS, tmp_path / "one")
    two, kit, gone = run(ROWS, tmp_path / "two", rows="two")
    assert gone == []
    assert sum(value for value in kit.figures.values() if isinstance(value, int)) == 3
    assert len({row.id for row in two}) == len(two) == 6
    for item, plain, with_reference in zip(one, two[::2], two[1::2], strict=True):
        assert (plain.id, plain.roots) == (item.id, item.roots)
        assert with_reference.roots == item.roots
        assert with_reference.order[:-1] == item.order
        asked = item.fields["judge_prompt"], item.fields["judge_prompt_with_reference"]
        assert (plain.fields["judge_prompt"], with_reference.fields["judge_prompt"]) == asked
        assert [row.fields["with_reference"] for row in (plain, with_reference)] == [False, True]
        assert plain.fields["grade"] == with_reference.fields["grade"] == item.fields["grade"]


@pytest.mark.parametrize("score", [None, True, 1.5, -0.1, "1"])
def test_rows_that_cannot_be_graded_are_rejected(score: Any, tmp_path: Path) -> None:
    rows = [*ROWS, row(score), row(0.7, " ")]
    made, _, gone = run(rows, tmp_path)
    assert len(made) == 3
    assert [str(error).partition(":")[0] for _, error in gone] == ["no_verdict", "no_text"]


def test_grades_that_are_all_the_same_are_said(tmp_path: Path) -> None:
    made, kit, _ = run([row(0.5), row(0.5)], tmp_path)
    assert [one.fields["grade"] for one in made] == ["5", "5"]
    assert "nothing to learn" in str(kit.figures["warning"])


@patient
@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1), st.floats(0, 1))
def test_a_scale_maps_its_own_values_to_0_and_1(values: list[float], other: float) -> None:
    scale = scale_of(values, [other] * len(values))
    for value in values:
        if not math.isnan(value):
            assert 0 <= scale.share(value) <= 1


def test_the_pipeline_makes_training_rows(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    pipeline = Pipeline.load(
        "pipelines/selfj.yaml", out=tmp_path / "out", ledger=str(tmp_path / "ledger.sqlite")
    )
    manifest = pipeline.run_sync()
    assert (manifest.counts.read, manifest.counts.kept) == (200, 200)
    grades = manifest.figures["judge.selfj"]
    assert grades["grade 9"] >= manifest.figures["judge.expected"]["same as the reference"]
    assert sum(grades.values()) == 200
    assert manifest.funnel["judge.selfj"].made == 200
    lines = (tmp_path / "out" / "dataset" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [orjson.loads(line) for line in lines]
    assert len(rows) == 400
    for plain, other in zip(rows[::2], rows[1::2], strict=True):
        assert (plain["with_reference"], other["with_reference"]) == (False, True)
        assert plain["completion"] == other["completion"]
        assert "Reference:" not in plain["prompt"]
        assert "Reference:" in other["prompt"]
