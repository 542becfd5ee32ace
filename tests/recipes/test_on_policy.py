"""on_policy: whose answer is learnt, which pairs come of it, and what a teacher cannot spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from synthkd.errors import Rejected, RequestRefused, Unanswered
from synthkd.pipeline import Pipeline
from synthkd.pipeline_file import read_yaml
from synthkd.plan import compile_plan
from tests.recipes.conftest import said

ROW = {"question": "How many are 2 and 3?"}
SETTINGS = {"student": "own", "teacher": "main"}
RANK = {**SETTINGS, "way": "rank", "samples": 3}


def ranks(best: int, worst: int) -> str:
    return orjson.dumps({"best": best, "worst": worst}).decode()


def made(done: Any) -> tuple[str, str | None, str | None]:
    fields = done.fields
    return fields["response"], fields["chosen"], fields["rejected"]


async def test_an_edit_is_learnt_and_preferred_to_what_it_was_made_of(
    ask: Callable[..., Any],
) -> None:
    done = await ask("on_policy", SETTINGS, ROW, {"own": ["It is 6."], "main": ["It is 5."]})
    assert made(done) == ("It is 5.", "It is 5.", "It is 6.")
    assert done.kit.counts == [("edited", 1)]
    (request,) = done.teachers["main"].asked
    assert "It is 6." in request.body["messages"][-1]["content"]
    done = await ask("on_policy", SETTINGS, ROW, {"own": ["It is 5."], "main": ["it is  5."]})
    assert made(done) == ("it is  5.", None, None)
    assert done.kit.counts == [("kept", 1)]


async def test_the_best_is_preferred_to_the_worst_of_different_answers(
    ask: Callable[..., Any],
) -> None:
    own = ["six", "five", "Six"]
    done = await ask("on_policy", RANK, ROW, {"own": own, "main": [ranks(2, 1)]})
    assert made(done) == ("five", "five", "six")
    (request,) = done.teachers["main"].asked
    assert request.body["messages"][-1]["content"].count("Answer ") == 2
    same = await ask("on_policy", RANK, ROW, {"own": ["five"] * 3, "main": []})
    assert made(same) == ("five", None, None)


@pytest.mark.parametrize("rank", [ranks(1, 1), ranks(0, 1), ranks(3, 1)])
async def test_a_rank_that_is_none_rejects_the_row(ask: Callable[..., Any], rank: str) -> None:
    with pytest.raises(Rejected, match="bad_rank"):
        await ask("on_policy", RANK, ROW, {"own": ["a", "b", "a"], "main": [rank]})


async def test_losses(ask: Callable[..., Any]) -> None:
    with pytest.raises(Unanswered):
        await ask("on_policy", SETTINGS, ROW, {"own": [Unanswered("down")], "main": ["5"]})
    with pytest.raises(RequestRefused):
        await ask("on_policy", SETTINGS, ROW, {"own": [RequestRefused(400, "no")], "main": ["5"]})
    refusal = said("", refusal="no")
    with pytest.raises(Rejected, match="refused"):
        await ask("on_policy", SETTINGS, ROW, {"own": ["6"], "main": [refusal]})
    with pytest.raises(Rejected, match="no_question"):
        await ask("on_policy", SETTINGS, {"question": None}, {"own": ["6"], "main": ["5"]})
    # An answer that cannot be used is as none: the teacher answers itself.
    done = await ask("on_policy", SETTINGS, ROW, {"own": [" "], "main": ["5"]})
    assert made(done) == ("5", None, None)
    assert done.kit.counts == [("written by the teacher", 1)]


def test_the_pipeline_edits_what_the_student_of_round_0_says(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    ledger = str(tmp_path / "ledger.db")
    pipeline = Pipeline.load(
        "pipelines/on_policy.yaml",
        overrides=["source.limit=150"],
        out=tmp_path / "out",
        ledger=ledger,
    )
    manifest = pipeline.run_sync()
    figures = manifest.figures["on_policy"]
    read = manifest.counts.read
    assert figures["written by the teacher"] == read == manifest.teachers["own"].asked
    assert int(str(figures["edited"])) + int(str(figures["kept"])) == read
    rows = pq.read_table(tmp_path / "out" / "dataset" / "train.parquet").to_pylist()
    assert sum(row["rejected"] is not None for row in rows) == figures["edited"]
    assert all(row["chosen"] in {None, row["response"]} for row in rows)


def test_the_block_for_preferences_fits(project: Path) -> None:
    raw = dict(read_yaml(project / "pipelines" / "on_policy.yaml", ["rounds=1"]))
    raw["teachers"]["own"] = {"student": {"folder": "somewhere"}}
    raw["student"] = {
        **{"kind": "dpo", "prompt": "text", "chosen": "chosen", "rejected": "rejected"},
        "base": "somewhere",
    }
    plan = compile_plan(raw, project / "pipelines" / "on_policy.yaml")
    assert plan.config.student is not None
    assert plan.config.student.kind == "dpo"
