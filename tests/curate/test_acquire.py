"""`acquire` in whole runs: a cheap teacher answers all rows, a dear one those that are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from pydantic import ValidationError

from synthkd.curate.acquire import AcquireConfig
from synthkd.pipeline import Pipeline

LABELS = ["tea", "coffee", "juice"]
CLEAR = {
    "tea": "leaves steeped in a warm pot, number",
    "coffee": "beans roasted and ground dark, number",
    "juice": "oranges pressed for breakfast, number",
}
ROWS = [
    *({"text": f"{CLEAR[label]} {n}", "gold": label} for n in range(15) for label in LABELS),
    *({"text": f"leaves beans oranges warm dark {n}", "gold": "juice"} for n in range(6)),
]


def carried_out(
    folder: Path, steps: list[dict[str, Any]] | None = None, **settings: Any
) -> tuple[list[dict[str, Any]], Any]:
    """The final rows and the manifest; the cheap teacher says tea where nothing is clear."""
    source = [row | {"nothing": ""} for row in ROWS]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, source)))
    told = [
        {**row, "cheap": row["gold"] if number < 45 else LABELS[number % 3], "dear": row["gold"]}
        for number, row in enumerate(ROWS)
    ]
    (folder / "said.jsonl").write_bytes(b"\n".join(map(orjson.dumps, told)))
    pipeline = {
        "name": "cascade",
        "teachers": {
            who: {"recorded": {"jsonl": "said.jsonl", "match": "text", "text": who}}
            for who in ("cheap", "dear")
        },
        "source": {"jsonl": "rows.jsonl", "id": ["text"]},
        "steps": steps
        or [
            {"use": "label", "with": {"teacher": "cheap", "labels": LABELS}},
            {
                "use": "acquire",
                "with": {"teachers": ["dear"], "labels": LABELS, "text": "text", **settings},
            },
        ],
        "export": {"format": "rows"},
    }
    (folder / "p.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    loaded = Pipeline.load(
        folder / "p.yaml", out=folder / "out", ledger=str(folder / "ledger.sqlite")
    )
    manifest = loaded.run_sync()
    (file,) = (folder / "out" / "dataset").glob("*.jsonl")
    return [orjson.loads(line) for line in file.read_bytes().splitlines()], manifest


def test_the_dear_teacher_is_asked_where_the_student_is_unsure(tmp_path: Path) -> None:
    rows, manifest = carried_out(tmp_path, rows=6)
    assert len(rows) == len(ROWS)
    acquired = [row for row in rows if row["acquired"]]
    assert {row["text"] for row in acquired} == {row["text"] for row in ROWS[45:]}
    assert min(row["gain"] for row in acquired) > max(
        row["gain"] for row in rows if not row["acquired"]
    )
    for row in rows:
        said = [(one["teacher"], one["label"]) for one in orjson.loads(row["answers"])]
        assert said[1:] == ([("dear", row["gold"])] if row["acquired"] else [])
    assert manifest.figures["acquire"] == {
        "rows": 51,
        "acquired": 6,
        "asked": 6,
        "without_label": 0,
    }
    assert manifest.teachers["dear"].asked == 6


@pytest.mark.parametrize("by", ["rad", "random"])
def test_every_way_asks_as_often_as_the_budget_says(tmp_path: Path, by: str) -> None:
    rows, manifest = carried_out(tmp_path, share=0.3, by=by)
    assert sum(row["acquired"] for row in rows) == 15
    assert manifest.teachers["dear"].asked == 15


def test_calls_are_spread_over_teachers_and_nobody_is_asked_twice(tmp_path: Path) -> None:
    first = {"use": "acquire", "name": "first", "with": {"share": 1.0}}
    second = {"use": "acquire", "name": "second", "with": {"share": 0.5}}
    fit = {"teachers": ["cheap", "dear"], "labels": LABELS, "text": "text"}
    for step in (first, second):
        step["with"] = {**fit, "by": "random", "per_row": 1, **step["with"]}  # type: ignore[dict-item]
    rows, manifest = carried_out(tmp_path, steps=[first, second])
    said = [[one["teacher"] for one in orjson.loads(row["answers"])] for row in rows]
    assert sorted(map(len, said)) == [1] * 26 + [2] * 25  # 25 of 51 rows
    assert all(len({*one}) == len(one) for one in said)
    asked = [manifest.teachers[who].asked for who in ("cheap", "dear")]
    assert sum(asked) == 76
    assert abs(sum(one[0] == "cheap" for one in said) - 25.5) < 1


def test_rows_that_no_student_can_judge_are_asked_about(tmp_path: Path) -> None:
    rows, _ = carried_out(tmp_path, rows=2, label="nothing")
    assert [row["gain"] for row in rows] == [1.0] * len(ROWS)
    assert sum(row["acquired"] for row in rows) == 2


def test_what_the_settings_must_have() -> None:
    fit = {"teachers": ["a"], "labels": LABELS, "text": "text"}
    with pytest.raises(ValidationError, match="exactly one of rows, share"):
        AcquireConfig.model_validate(fit)
    with pytest.raises(ValidationError, match="name each teacher once"):
        AcquireConfig.model_validate(fit | {"rows": 1, "teachers": ["a", "a"]})
