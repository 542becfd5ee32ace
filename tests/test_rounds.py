"""Rounds: what they hand over, what they learn from, and that nothing is done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd.errors import ConfigError, UserError
from synthkd.io.rows_file import read_rows
from synthkd.io.spool import RowSpool
from synthkd.pipeline import Pipeline, read_manifest
from synthkd.rounds import united
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.students import linear
from tests.runs import finished, killed_at, tree_bytes

SEEN: list[tuple[int, str]] = []
"""What steps were shown of dev rows: (round, text)."""


class GrowSettings(StepSettings):
    """Settings of the step below."""

    copies: bool = False
    """Whether it hands out dev rows themselves."""


@step("test.grow", needs=["text", "label"], gives=["text", "label"], fans_out=True)
async def grow(row: Row, kit: Kit, config: GrowSettings, /) -> AsyncIterator[Row]:
    """The row itself in round 0; later a row like one that the student had wrong, or right."""
    if kit.feedback is None:
        yield row
        return
    SEEN.extend((kit.round, example.text) for example in kit.feedback.examples)
    like = kit.rng.choice(kit.feedback.wrong or kit.feedback.right)
    text = like.text.upper() if config.copies else f"{like.text} again {kit.round}"
    yield row.with_fields(text=text, label=like.gold)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def write(folder: Path, **changes: Any) -> Path:
    kinds = ("cat", "dog", "fish")
    rows = [
        {"text": f"{kinds[n % 3]} word{n % 7} word{n % 5} number{n}", "label": kinds[n % 3]}
        for n in range(90)
    ]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    content = {
        "name": "rounds",
        "source": {
            "jsonl": "rows.jsonl",
            "id": ["text"],
            "holdout": {"dev": 0.3, "test": 0.2, "by": ["text"]},
        },
        "steps": [{"use": "test.grow", "name": "grow"}],
        "student": {"kind": "linear", "text": "text", "label": "label"},
        "evaluate": {"on": "test", "gold": "label", "bootstrap": 50},
        "rounds": 3,
        **changes,
    }
    file = folder / "rounds.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


async def test_the_dataset_is_the_union_and_every_round_is_told(tmp_path: Path) -> None:
    manifest = await Pipeline.load(write(tmp_path), out="out").run()
    assert [record.round for record in manifest.rounds] == [0, 1, 2]
    made = [record.rows for record in manifest.rounds]
    assert made[0] == made[1] == made[2] == manifest.counts.read == manifest.counts.kept
    assert manifest.rounds[-1].rows_so_far == sum(made) == manifest.dataset["rows"]
    assert manifest.funnel["grow"].out == sum(made)
    for record in manifest.rounds:
        folder = tmp_path / "out" / "rounds" / str(record.round)
        assert len(list(read_rows(folder / "rows.parquet"))) == record.rows
        student = linear.load_linear(folder / "student")
        assert student.fingerprint == record.student
        assert student.about["rows"] == record.rows_so_far
        assert f"rounds/{record.round}/feedback.json" in manifest.files
    assert manifest.student is not None
    best = max(manifest.rounds, key=lambda record: record.scores["macro_f1"])
    assert manifest.student["fingerprint"] == best.student
    ids = [row.id for row in read_rows(tmp_path / "out" / "rows" / "rows.parquet")]
    assert len(set(ids)) == len(ids)


async def test_rounds_see_dev_and_never_test(tmp_path: Path) -> None:
    file = write(tmp_path)
    plan = Pipeline.load(file, out="plain", overrides=["rounds=1"])
    await plan.run()
    await Pipeline.load(file, out="out").run()
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    sides = {orjson.loads(line)["text"] for line in lines}
    train = {
        str(row.fields["text"]) for row in read_rows(tmp_path / "plain" / "rows" / "rows.parquet")
    }
    shown = {text for _, text in SEEN}
    assert {number for number, _ in SEEN} == {1, 2}
    assert shown < sides - train
    evaluated = read_manifest(tmp_path / "out").counts.held_out
    assert len(shown) == evaluated["dev"]
    hidden = sides - train - shown
    assert len(hidden) == evaluated["test"]
    for name, content in tree_bytes(tmp_path / "out").items():
        if name.endswith((".json", ".jsonl", ".md")):
            for text in hidden:
                assert text.encode() not in content, name


async def test_new_examples_that_are_held_out_rows_are_not_learnt(tmp_path: Path) -> None:
    steps = [{"use": "test.grow", "name": "grow", "with": {"copies": True}}]
    limits = {"max_rejected": 1.0}
    file = write(tmp_path, steps=steps, rounds=2, limits=limits)
    manifest = await Pipeline.load(file, out="out").run()
    read = manifest.counts.read
    assert [record.rows for record in manifest.rounds] == [read, 0]
    assert manifest.funnel["export"].reasons == {"held_out": read}
    assert manifest.counts.kept == read
    allowed = Pipeline.load(file, out="kept", overrides=["student.allow_leaks=true"])
    assert [record.rows for record in (await allowed.run()).rounds] == [read, read]


async def test_running_again_asks_and_trains_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path)
    first = await Pipeline.load(file, out="out").run()
    before = tree_bytes(tmp_path / "out" / "rounds")

    def untrained(config: Any) -> Any:
        raise AssertionError("a student was trained again")

    monkeypatch.setattr(linear, "unfitted", untrained)
    again = await Pipeline.load(file, out="out").run()
    assert (again.rounds, again.student) == (first.rounds, first.student)
    assert tree_bytes(tmp_path / "out" / "rounds") == before


def test_a_run_that_was_killed_in_a_round_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    steps = [{"use": "gate.length", "with": {"field": "text", "max_chars": 1000}}]
    file = write(tmp_path, steps=steps, rounds=2)
    assert killed_at("training", "run", file, "--out", "killed", cwd=tmp_path)
    for out in ("killed", "whole"):
        done = finished("run", file, "--out", out, "--quiet", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    killed, whole = (tree_bytes(tmp_path / out / "rounds") for out in ("killed", "whole"))
    for number in (0, 1):  # a zip file holds the time at which it was written
        del killed[f"{number}/student/model.skops"], whole[f"{number}/student/model.skops"]
    assert killed == whole
    assert read_manifest(tmp_path / "killed").rounds == read_manifest(tmp_path / "whole").rounds


async def test_patience_ends_the_rounds(tmp_path: Path) -> None:
    steps = [{"use": "gate.length", "with": {"field": "text", "max_chars": 1000}}]
    rounds = {"count": 20, "patience": 2}
    manifest = await Pipeline.load(write(tmp_path, steps=steps, rounds=rounds), out="out").run()
    # The same rows again and again: no round is better than the first.
    assert len(manifest.rounds) == 3
    assert {record.rows_so_far for record in manifest.rounds} == {manifest.counts.read}


def test_of_rows_with_one_id_the_newest_is_in_the_union(tmp_path: Path) -> None:
    def row(number: int, text: str) -> Row:
        return Row(f"{number:016x}", (number,), (), {"text": text})

    old = RowSpool.of(tmp_path / "a", [row(1, "old"), row(2, "old"), row(4, "old")])
    new = RowSpool.of(tmp_path / "b", [row(2, "new"), row(3, "new")])
    newest = RowSpool.of(tmp_path / "c", [row(4, "newest")])
    with old, new, newest:
        texts = [row.fields["text"] for row in united([old, new, newest])]
    assert texts == ["old", "new", "new", "newest"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student": None}, "rounds need a `student` block"),
        ({"evaluate": None}, "rounds need `evaluate.gold`"),
        ({"rounds": 0}, "rounds.count: .* greater than or equal to 1, got 0"),
        ({"rounds": {"count": 2, "by": "beauty"}}, "rounds.by"),
        (
            {"source": {"jsonl": "rows.jsonl", "holdout": {"test": 0.2, "by": ["text"]}}},
            "source.holdout sets none aside",
        ),
    ],
)
def test_what_rounds_need_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pipeline.load(write(tmp_path, **changes))


async def test_a_stream_has_no_rounds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rounds"):
        async for _ in Pipeline.load(write(tmp_path), out="out").stream():
            pass
