"""TAPIR's rounds: the mixture that comes of them, and a student that dies in the midst of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkd.errors import RunStopped
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.io.rows_file import ROWS, read_rows
from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline
from synthkd.pipeline_file import read_yaml

ROOT = Path(__file__).parents[3]


def write(folder: Path, **changes: Any) -> Path:
    """The shipped pipeline with other settings, by `block__name`."""
    content: dict[str, Any] = read_yaml(ROOT / "pipelines" / "tapir.yaml")
    content["source"]["jsonl"] = str(ROOT / "data" / "problems.jsonl")
    content["evaluate"]["bootstrap"] = 50
    for place, value in changes.items():
        block, _, name = place.partition("__")
        content[block][name] = value
    for step in content["steps"]:
        if step["use"] == "curriculum.quotas":
            step["with"]["rows"] = 24
    file = folder / "tapir.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def test_shares_are_met_and_each_round_is_told(tmp_path: Path) -> None:
    file = write(tmp_path, source__limit=36)
    manifest = Pipeline.load(file, out="out", ledger="a.db").run_sync()
    first, second, third = manifest.rounds
    assert first.rows == manifest.counts.read == manifest.counts.kept
    for record, share in ((second, 0.3), (third, 0.5)):
        mix = record.figures["curriculum.mix"]
        assert mix["share wanted"] == share
        assert mix["hard"] + mix["seeds"] == record.rows_so_far
        if mix["exact"]:
            assert mix["hard"] == int(share * record.rows_so_far + 0.5)
        spread = record.figures["difficulty.mfd"]["difficulty"]
        assert sum(spread["histogram"].values()) == spread["rows"] == manifest.counts.read
        quotas = record.figures["curriculum.quotas"]
        expand = record.figures["curriculum.expand"]
        made = sum(told["wanted"] for told in quotas.values() if isinstance(told, dict))
        assert expand["accepted"] == made
        assert record.funnel["curriculum.expand"].out == quotas["rows"] == 24
        collapse = record.figures["figures.collapse"]
        assert collapse["rows"] == record.rows_so_far
        assert collapse["synthetic"] == mix["hard"]
    card = (tmp_path / "out" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert '- `curriculum.mix`: `{"field":"expanded"}`' in card
    rows = list(read_rows(tmp_path / "out" / ROWS))
    assert (
        sum(bool(row.fields["expanded"]) for row in rows) == third.figures["curriculum.mix"]["hard"]
    )
    assert all(row.fields["task"] in {"Math", "Reasoning", "Common-Sense"} for row in rows)


class Student(FakeTeacher):
    """A student behind an endpoint: it is right of the easy problems, and may die."""

    def __init__(self, lives_for: int | None = None) -> None:
        dies = [] if lives_for is None else [*[None] * lives_for, *["reset"] * 10_000]
        super().__init__(answer=self._says, script=dies)

    def _says(self, body: Any) -> str:
        asked = body["messages"][-1]["content"]
        return str(len(re.findall(r"owl|bee|cod|dog", asked)))


def run(folder: Path, student: FakeTeacher, out: str, ledger: str) -> Manifest:
    own = {
        "endpoint": student.url,
        "model": "student",
        "price": {"prompt": 1, "completion": 1},
        "patience_s": 0.01,
        "max_attempts": 2,
        "concurrency": 4,
    }
    file = write(folder, source__limit=40, teachers__own=own, rounds__count=2)
    return Pipeline.load(file, out=out, ledger=ledger).run_sync()


def test_a_student_that_dies_in_round_two_costs_nothing_twice(tmp_path: Path) -> None:
    with in_thread(Student()) as calm:
        whole = run(tmp_path, calm, "whole", "whole.db")
    read = whole.counts.read
    assert whole.teachers["own"].attempts == 2 * read
    with in_thread(Student(lives_for=read + read // 2)) as dying:
        port = int(re.findall(r":(\d+)", dying.url)[0])
        with pytest.raises(RunStopped, match="has done nothing but fail"):
            run(tmp_path, dying, "out", "out.db")
    assert 0 < dying.billed_tokens < calm.billed_tokens
    with in_thread(Student(), port) as mended:
        again = run(tmp_path, mended, "out", "out.db")
    assert dying.billed_tokens + mended.billed_tokens == calm.billed_tokens
    assert again.teachers["own"].hits == read + read // 2
    assert again.rounds == whole.rounds
    # Who answers has another port in its name, and with it other keys.
    ended, calmly = (
        [(row.id, row.order, row.fields) for row in read_rows(tmp_path / out / ROWS)]
        for out in ("out", "whole")
    )
    assert ended == calmly
    assert again.student == whole.student
