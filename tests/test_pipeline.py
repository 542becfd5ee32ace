"""Whole runs in this process: what they leave, how they end, and that mistakes leave nothing."""

from __future__ import annotations

import asyncio
import errno
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

from synthkd.errors import (
    BudgetReached,
    ConfigError,
    DiskFailed,
    NothingToLearn,
    SynthkdError,
    TeacherRefused,
    TooManyLost,
    UserError,
)
from synthkd.fake_teacher import FakeTeacher
from synthkd.flow import run_loop
from synthkd.folder import read_stopped
from synthkd.manifest import Progress
from synthkd.pipeline import Pipeline, read_manifest
from tests.runs import tree_bytes

KEY = "sk-planted-7f3a9c"


def write(folder: Path, rows: int = 12, **changes: Any) -> Path:
    """A pipeline over a few rows; `changes` replace blocks of it. Returns the file."""
    lines = [{"id": f"r{i}", "instruction": f"say {i}", "gold": str(i % 3)} for i in range(rows)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    pipeline = {
        "name": "small",
        "teachers": {"main": {"endpoint": "http://127.0.0.1:9/v1", "model": "fake"}},
        "source": {"jsonl": "rows.jsonl", "id": ["id"]},
        "steps": [{"use": "generate", "with": {"teacher": "main"}}],
        **changes,
    }
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


def teacher(provider: FakeTeacher, **more: Any) -> dict[str, Any]:
    return {"main": {"endpoint": provider.url, "model": "fake", "max_attempts": 2, **more}}


async def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    seen: list[Progress] = []
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider))
        manifest = await Pipeline.load(file, out="out").run(on_progress=seen.append)
    out = tmp_path / "out"
    assert manifest == read_manifest(out)
    assert (manifest.counts.read, manifest.counts.kept) == (12, 12)
    assert {p.name for p in out.iterdir()} == {
        *("rows", "dataset", "rejected.parquet", "failed.parquet", "discarded.parquet"),
        *("manifest.json", "run.json"),
    }
    assert {p.name for p in (out / "dataset").iterdir()} == {
        *("train.parquet", "train.jsonl", "README.md")
    }
    lines = (out / "dataset" / "train.jsonl").read_bytes().splitlines()
    kept = [orjson.loads(line) for line in lines]
    assert [row["instruction"] for row in kept] == [f"say {i}" for i in range(12)]
    assert manifest.teachers["main"].attempts == 12
    assert manifest.spend.usd is None  # the fake's price is unknown, so it is not 0
    assert manifest.prices == {"main": None}
    assert set(manifest.files) == set(tree_bytes(out)) - {"manifest.json", "run.json"}
    stages = list(dict.fromkeys(moment.stage for moment in seen))
    assert stages == ["asking", "sorting", "exporting", "done"]


async def test_a_stream_gives_the_same_rows_and_can_be_left_and_taken_up(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider, concurrency=2))
        stream = Pipeline.load(file, out="out").stream()
        first = await anext(stream)
        await stream.aclose()
        assert not (tmp_path / "out" / "dataset").exists()
        rows = [row async for row in Pipeline.load(file, out="out").stream()]
        assert provider.requests <= 12 + 2 + 2  # at most what was in the air is asked again
    assert first.id in {row.id for row in rows}
    assert sorted(str(row.fields["instruction"]) for row in rows) == sorted(
        f"say {i}" for i in range(12)
    )


async def test_plan_and_run_sync_work_inside_a_running_loop(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider, params={"max_tokens": 7}))
        loaded = Pipeline.load(file, out="out")
        forecast = loaded.plan()
        assert provider.requests == 0
        assert not (tmp_path / "out").exists()
        [calls] = forecast.calls
        assert (calls.calls, calls.completion_tokens, calls.usd) == (12, 84, None)
        assert any("price of fake" in what for what in forecast.unknown)
        manifest = await asyncio.to_thread(loaded.run_sync)
        assert manifest.counts.kept == 12 == provider.requests


async def test_offline_asks_nobody_and_fails_what_was_never_bought(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider), limits={"max_failed": 1.0})
        await Pipeline.load(file, out="out", limit=5).run()
        manifest = await Pipeline.load(file, out="again").run(offline=True)
        assert provider.requests == 5
    assert (manifest.counts.kept, manifest.counts.failed) == (5, 7)
    failed = pq.read_table(tmp_path / "again" / "failed.parquet").to_pylist()
    assert {row["error"] for row in failed} == {"NotInLedger"}


async def test_a_stored_refusal_is_asked_again_only_when_told(tmp_path: Path) -> None:
    async with FakeTeacher(script=["400"]).serve() as provider:
        file = write(tmp_path, rows=1, teachers=teacher(provider), limits={"max_failed": 1.0})
        pipeline = Pipeline.load(file, out="out")
        assert (await pipeline.run()).counts.failed == 1
        assert (await pipeline.run()).counts.failed == 1
        assert provider.requests == 1
        assert (await pipeline.run(retry_failed=True)).counts.kept == 1


@pytest.mark.parametrize(
    ("fault", "changes", "error"),
    [
        ("401", {}, TeacherRefused),
        ("404", {}, TeacherRefused),
        ("quota", {}, TeacherRefused),
        (None, {"budget": {"requests": 3}}, BudgetReached),
        ("400", {}, TooManyLost),
        ("500", {}, TeacherRefused),
    ],
)
async def test_how_runs_end_early_and_what_they_leave(
    fault: str | None, changes: dict[str, Any], error: type[SynthkdError], tmp_path: Path
) -> None:
    rates = {} if fault is None else {fault: 1.0}
    headers = {"Retry-After": "0"}
    async with FakeTeacher(rates=rates, retry_after=headers).serve() as provider:
        who = teacher(provider, max_attempts=1, patience_s=0.5)
        file = write(tmp_path, teachers=who, **changes)
        with pytest.raises(error):
            await Pipeline.load(file, out="out").run()
        assert not (tmp_path / "out" / "manifest.json").exists()
        stopped = read_stopped(tmp_path / "out")
        assert stopped is not None
        assert (stopped.exit_code, stopped.counts.read) == (error.exit_code, 12)
        with pytest.raises(UserError, match="the run ended early"):
            read_manifest(tmp_path / "out")
        provider.rates.clear()
        again = Pipeline.load(file, out="out", overrides=["budget.requests=100"])
        assert (await again.run(retry_failed=True)).counts.kept == 12
        assert read_stopped(tmp_path / "out") is None


@pytest.mark.parametrize(
    "where", ["results.export_dataset", "results.open_rows", "running.train", "results.sha256_of"]
)
async def test_a_full_disk_ends_the_run_resumably_with_a_code_of_its_own(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere/on/the.disk")

    student = {"kind": "linear", "text": "instruction", "label": "gold"}
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider), student=student)
        with monkeypatch.context() as broken:
            broken.setattr(f"synthkd.{where}", full)
            with pytest.raises(DiskFailed, match=r"No space left") as caught:
                await Pipeline.load(file, out="out").run()
        assert caught.value.exit_code == 7
        assert not (tmp_path / "out" / "manifest.json").exists()
        assert (await Pipeline.load(file, out="out").run()).counts.kept == 12
        assert provider.requests == 12


async def test_a_run_that_stops_leaves_the_complete_one_before_it_alone(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider))
        await Pipeline.load(file, out="out").run()
        before = tree_bytes(tmp_path / "out")
        provider.rates["401"] = 1.0
        with pytest.raises(TeacherRefused):
            await Pipeline.load(
                file, out="out", overrides=["teachers.main.params.temperature=0.5"]
            ).run()
    after = tree_bytes(tmp_path / "out")
    assert {k: v for k, v in after.items() if not k.startswith(("stopped/", ".work/"))} == before


@pytest.mark.parametrize("fault", ["401", "400", "500", "429", "reset", "cut", "json", "redirect"])
async def test_the_key_shows_nowhere(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    headers = {"Retry-After": "0"}
    async with FakeTeacher(rates={fault: 1.0}, retry_after=headers).serve() as provider:
        named = teacher(provider, api_key_env="PLANTED_KEY", max_attempts=1)
        file = write(tmp_path, rows=2, teachers=named, limits={"max_failed": 1.0})
        shown = ""
        try:
            shown = repr(await Pipeline.load(file, out="out").run())
        except SynthkdError as error:
            shown = repr(error) + str(error) + repr(error.__cause__) + repr(error.__context__)
        assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"
    for name, content in tree_bytes(tmp_path).items():
        assert KEY.encode() not in content, name
    assert KEY not in shown + caplog.text


async def test_two_runs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    async with FakeTeacher(latency_s=0.05).serve() as provider:
        file = write(tmp_path, teachers=teacher(provider, concurrency=1))
        first = asyncio.create_task(Pipeline.load(file, out="out").run())
        await provider.reached(2)
        with pytest.raises(UserError, match="another synthkd works in this folder"):
            await Pipeline.load(file, out="out").run()
        assert (await first).counts.kept == 12


async def test_wall_time_is_a_budget_too(tmp_path: Path) -> None:
    async with FakeTeacher(latency_s=0.2).serve() as provider:
        file = write(tmp_path, teachers=teacher(provider, concurrency=1), budget={"wall_s": 0.5})
        with pytest.raises(BudgetReached, match=r"wall_s of 0\.5 s"):
            await Pipeline.load(file, out="out").run()
        asked = provider.requests
        assert read_stopped(tmp_path / "out") is not None
        with pytest.raises(BudgetReached):  # it is used up over all restarts
            await Pipeline.load(file, out="out").run()
        assert provider.requests <= asked + 1
        raised = Pipeline.load(file, out="out", overrides=["budget.wall_s=60"])
        assert (await raised.run()).counts.kept == 12


Changes = Mapping[str, Any]
GENERATE = {"use": "generate", "with": {"teacher": "main"}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": {"jsonl": "nowhere.jsonl"}}, ["nowhere.jsonl", "no such file"]),
        ({"source": {"jsonl": "rows.jsonl", "id": ["gold"]}}, ["rows 1 and 10", "gold"]),
        ({"source": {"jsonl": "rows.jsonl", "id": ["idd"]}}, ["'idd'", "did you mean id?"]),
        ({"source": {"jsonl": "rows.jsonl", "where": {"id": "x"}}}, ["no row is left to read"]),
        (
            {"source": {"jsonl": "rows.jsonl", "holdout": {"test": 0.999999, "by": ["id"]}}},
            ["no row is left to read", "12 are held out for test"],
        ),
        ({"steps": [{**GENERATE, "name": "export"}]}, ["steps[0]", "'export'"]),
        ({"steps": [{**GENERATE, "name": "source"}]}, ["steps[0]", "'source'"]),
        (
            {"steps": [{"use": "generate", "with": {"teacher": "main", "into": "finish"}}]},
            ["steps[0].with", "two things", "'finish'"],
        ),
        (
            {
                "source": {"jsonl": "rows.jsonl", "holdout": {"test": 1e-9, "by": ["id"]}},
                "evaluate": {"on": "test", "gold": "gold"},
            },
            ["no row is held out for test"],
        ),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": 10**23}, ["seed"]),
        ({"budget": {"requests": 10**26}}, ["budget.requests"]),
        ({"budget": {"usd": 1e300}}, ["budget.usd"]),
        (
            {"steps": [{"use": "aggregate", "with": {"smoothing": 1e308}}]},
            ["steps[0].with.smoothing", "1e+308"],
        ),
        (
            {"steps": [{"use": "gate.length", "with": {"field": "gold", "min_chars": 10**27}}]},
            ["steps[0].with.min_chars", "64 bits"],
        ),
        (
            {"steps": [{"use": "generate", "with": {"teacher": "main", "samples": 10**12}}]},
            ["steps[0].with.samples", "10000"],
        ),
        (
            {"steps": [{"use": "generate", "with": {"teacher": "main", "longer": 10**13}}]},
            ["steps[0].with.longer"],
        ),
        ({"steps": [{**GENERATE, "in_flight": 10**12}]}, ["steps[0].in_flight"]),
        ({"steps": [{"use": "generat"}]}, ["steps[0].use", "generate"]),
        ({"steps": [{"use": "generate", "with": {"teacher": "mian"}}]}, ["mian", "main"]),
        (
            {"steps": [{"use": "generate", "with": {"teacher": "main", "samples": "two"}}]},
            ["steps[0].with.samples", "'two'"],
        ),
        (
            {"steps": [{"use": "generate", "with": {"teacher": "main", "prompt": "generat/x"}}]},
            ["steps[0].with.prompt", "generat/x"],
        ),
        ({"steps": [GENERATE, GENERATE]}, ["second step named 'generate'"]),
        ({"name": "../evil"}, ["name", "../evil"]),
        (
            {"steps": [{**GENERATE, "name": "a/../../b"}]},
            ["steps[0].name", "a/../../b"],
        ),
        ({"rounds": 2}, ["rounds", "2"]),
        ({"sauce": {}}, ["sauce"]),
        ({"budget": {"usd": 1}}, ["budget.usd", "price"]),
        ({"evaluate": {"on": "test", "gold": "gold"}}, ["source.holdout"]),
        (
            {"export": {"format": "messages", "prompt": "instrution", "completion": "response"}},
            ["export.prompt", "instrution", "did you mean instruction"],
        ),
        (
            {"student": {"kind": "linear", "text": "text", "label": "gold"}},
            ["student.text", "'text'"],
        ),
        (
            {
                "teachers": {
                    "main": {
                        "endpoint": "http://127.0.0.1:9/v1",
                        "model": "m",
                        "api_key_env": "NOT_SET_ANYWHERE",
                    }
                }
            },
            ["api_key_env", "NOT_SET_ANYWHERE"],
        ),
        (
            {
                "teachers": {
                    "main": {
                        "endpoint": "http://127.0.0.1:9/v1",
                        "model": "m",
                        "headers": {"Authorization": f"Bearer {KEY}"},
                    }
                }
            },
            ["teachers.main", "api_key_env"],
        ),
        (
            {
                "teachers": {
                    "main": {"recorded": {"jsonl": "no", "match": "instruction", "text": "x"}}
                }
            },
            ["no: no such file"],
        ),
        ({"teachers": {"main": {"simulated": {"world": "tikets"}}}}, ["tikets", "tickets"]),
    ],
)
async def test_a_mistake_gets_one_message_and_leaves_nothing(
    changes: Changes, says: list[str], tmp_path: Path
) -> None:
    file = write(tmp_path, **changes)
    before = tree_bytes(tmp_path)
    with pytest.raises(UserError) as caught:
        await Pipeline.load(file, out="deep/out").run()
    for words in says:
        assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert tree_bytes(tmp_path) == before
    assert not (tmp_path / "deep").exists()
    assert not (tmp_path / ".synthkd").exists()


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        name="a b",
        source={"jsonl": "rows.jsonl", "limit": 0},
        steps=[{"use": "generat"}, {"use": "gate.length", "with": {"min_chars": -1}}],
    )
    with pytest.raises(ConfigError) as caught:
        Pipeline.load(file)
    places = ["name:", "source.limit:", "steps[0].use:", "steps[1].with"]
    for place in places:
        assert any(f"small.yaml: {place}" in fault for fault in caught.value.faults), place


TEMPLATE = "---\ninputs: [instruction]\noutput: text\n---\n{# user #}\n%s\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{{ instruction.__class__.__mro__ }}", "__mro__"),
        ("{{ instruction }} {{ missing }}", "missing"),
        ("{{ instruction", "line"),
    ],
)
async def test_a_bad_template_stops_before_anything_is_asked(
    body: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.md.j2").write_text(TEMPLATE % body, encoding="utf-8")
    step = {"use": "generate", "with": {"teacher": "main", "prompt": "mine"}}
    file = write(tmp_path, steps=[step])
    with pytest.raises(UserError, match=says):
        await Pipeline.load(file, out="out").run()
    assert not (tmp_path / "out").exists()


async def test_an_unreadable_row_is_a_failed_row_not_the_end(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider), limits={"max_failed": 0.2})
        lines = (tmp_path / "rows.jsonl").read_bytes().split(b"\n")
        lines[6] = b'{"id": "r6", "instruc'
        (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
        manifest = await Pipeline.load(file, out="out").run()
        assert (manifest.counts.read, manifest.counts.kept, manifest.counts.failed) == (12, 11, 1)
        [failed] = pq.read_table(tmp_path / "out" / "failed.parquet").to_pylist()
        assert failed["step"] == "source"
        assert "rows.jsonl line 7" in failed["message"]
        strict = Pipeline.load(file, out="strict", overrides=["limits.max_failed=0.01"])
        with pytest.raises(TooManyLost, match="1 of 12 source rows failed"):
            await strict.run()
        assert provider.requests == 11


async def test_a_value_that_the_template_cannot_take_fails_its_row_alone(tmp_path: Path) -> None:
    prompt = "---\ninputs: [tags]\n---\n{# user #}\n{{ tags | join(', ') }}\n"
    (tmp_path / "tagged.md.j2").write_text(prompt, encoding="utf-8")
    steps = [{"use": "generate", "with": {"teacher": "main", "prompt": "tagged"}}]
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider), steps=steps, limits={"max_failed": 0.5})
        tagged = [{"id": f"r{i}", "tags": [f"tag {i}"] if i != 7 else None} for i in range(12)]
        (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, tagged)))
        manifest = await Pipeline.load(file, out="out").run()
        assert (manifest.counts.kept, manifest.counts.failed, provider.requests) == (11, 1, 11)
    [failed] = pq.read_table(tmp_path / "out" / "failed.parquet").to_pylist()
    assert (failed["step"], failed["error"]) == ("generate", "Unrenderable")
    assert "tagged.md.j2 line 5: cannot be rendered" in failed["message"]


async def test_rows_without_a_text_to_export_are_rejected_and_the_rest_is_published(
    tmp_path: Path,
) -> None:
    export = {"format": "messages", "prompt": "instruction", "completion": "gold"}
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, teachers=teacher(provider), export=export)
        lines = [{"id": f"r{i}", "instruction": f"say {i}", "gold": "x"} for i in range(12)]
        lines[3]["gold"] = None  # type: ignore[assignment]
        del lines[4]["gold"]
        (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
        manifest = await Pipeline.load(file, out="out").run()
    assert (manifest.counts.kept, manifest.counts.rejected) == (10, 2)
    line = manifest.funnel["export"]
    assert (line.entered, line.out, line.reasons) == (12, 10, {"no_text_to_export": 2})
    lost = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert [row["detail"] for row in lost] == [
        "'gold', which export.completion names for 'messages', is null",
        "'gold', which export.completion names for 'messages', is missing",
    ]
    assert manifest.dataset["rows"] == 10


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("same", "all 12 rows have the label 'x'"),
        ("number", r"student: row \w+ has no text in 'number', got 3"),
        ("none", "the student has no rows to learn from"),
    ],
)
async def test_rows_that_cannot_teach_stop_the_run_and_nothing_is_bought_twice(
    label: str, says: str, tmp_path: Path
) -> None:
    student = {"kind": "linear", "text": "instruction", "label": label}
    limits = {"max_rejected": 1.0}
    steps = [{"use": "generate", "with": {"teacher": "main"}}]
    if label == "none":
        gate = {"use": "gate.length", "with": {"field": "instruction", "min_words": 99}}
        steps.append(gate)
    async with FakeTeacher().serve() as provider:
        file = write(
            tmp_path, teachers=teacher(provider), student=student, limits=limits, steps=steps
        )
        lines = [
            {"id": f"r{i}", "instruction": f"say {i}", "same": "x", "number": 3, "none": "x"}
            for i in range(12)
        ]
        (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
        with pytest.raises(NothingToLearn, match=says):
            await Pipeline.load(file, out="out").run()
        stopped = read_stopped(tmp_path / "out")
        assert stopped is not None
        assert stopped.exit_code == 4
        without = Pipeline.load(file, out="out", overrides=["student=null"])
        assert (await without.run()).counts.read == 12
        assert provider.requests == 12


async def test_without_a_row_kept_nobody_is_examined(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write(
            tmp_path,
            rows=40,
            teachers=teacher(provider),
            source={"jsonl": "rows.jsonl", "holdout": {"test": 0.5, "by": ["id"]}},
            steps=[
                {"use": "label", "with": {"teacher": "main", "labels": ["0", "1"], "prompt": "p"}},
                {"use": "gate.length", "with": {"field": "instruction", "max_chars": 1}},
            ],
            evaluate={"on": "test", "ask": "label", "gold": "gold"},
            limits={"max_rejected": 1},
        )
        (tmp_path / "p.md.j2").write_text(
            "---\ninputs: [instruction]\n---\n{# user #}\n{{ instruction }}\n", encoding="utf-8"
        )
        with pytest.raises(NothingToLearn, match="no row was kept"):
            await Pipeline.load(file, out="out").run()
        stopped = read_stopped(tmp_path / "out")
    assert stopped is not None
    assert provider.requests == stopped.counts.read < 40


async def test_discarded_candidates_are_written_down_with_their_row(tmp_path: Path) -> None:
    steps = [{"use": "generate", "with": {"teacher": "main", "samples": 3}}]
    async with FakeTeacher(script=["400"]).serve() as provider:
        file = write(tmp_path, rows=2, teachers=teacher(provider), steps=steps)
        manifest = await Pipeline.load(file, out="out").run()
    assert (manifest.counts.kept, manifest.counts.rejected, manifest.counts.failed) == (2, 0, 0)
    [lost] = pq.read_table(tmp_path / "out" / "discarded.parquet").to_pylist()
    assert lost["step"] == "generate"
    assert lost["roots"] == [lost["row_id"]]
    assert manifest.funnel["generate"].discarded == {lost["reason"]: 1}
    assert "scripted 400" in lost["detail"]


async def test_held_out_rows_are_not_read_and_never_reach_the_dataset(tmp_path: Path) -> None:
    source = {
        "jsonl": "rows.jsonl",
        "id": ["id"],
        "holdout": {"dev": 0.2, "test": 0.3, "by": ["instruction"]},
    }
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, rows=200, teachers=teacher(provider), source=source)
        manifest = await Pipeline.load(file, out="out").run()
        assert provider.requests == manifest.counts.read
    held_out = manifest.counts.held_out
    assert manifest.counts.read + held_out["dev"] + held_out["test"] == 200
    assert 20 <= held_out["dev"] <= 60
    assert 40 <= held_out["test"] <= 80


def test_the_quickstart_ends_well_and_calls_its_teacher_simulated(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    pipeline = Pipeline.load(
        "pipelines/quickstart.yaml", out=tmp_path / "out", ledger=str(tmp_path / "ledger.db")
    )
    manifest = pipeline.run_sync()
    assert manifest.simulated == ["main"]
    assert manifest.counts.read == manifest.counts.kept + manifest.counts.rejected
    assert manifest.evaluation is not None
    who = {one.role: one for one in manifest.evaluation.contestants}
    assert who["base"].metrics["accuracy"].value < 0.3
    assert who["student"].metrics["accuracy"].value > who["teacher"].metrics["accuracy"].value
    assert all(one.simulated for one in manifest.evaluation.contestants)
    card = (tmp_path / "out" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "SIMULATED" in card
    assert b'"intent"' not in (tmp_path / "out" / "dataset" / "train.jsonl").read_bytes()
    again = Pipeline.reopen(tmp_path / "out", ledger=str(tmp_path / "ledger.db"))
    trained = run_loop(again.train())
    assert trained.student == manifest.student
    assert json.loads((tmp_path / "out" / "manifest.json").read_bytes())["counts"]["read"] > 500


PIPELINES = Path(__file__).parent.parent / "pipelines"
SIMULATED = sorted(
    file.stem
    for file in PIPELINES.glob("*.yaml")
    # One that asks an earlier student is tested with one: tests/curate/choose/test_pipelines.py.
    if "simulated:" in (text := file.read_text("utf-8")) and "\n  student: {student:" not in text
)
SHORTER = {
    "tapir": ["source.limit=40"],
    "step_by_step": ["student.epochs=1"],
    "ontology_kg_recorded": ["source.limit=400"],
}
"""What a test need not learn or read."""
RECORDED = {
    # Accuracy over all rows, unparsed counted wrong, is the share that is kept.
    "cqa_recorded": (9741, 7388, {"wrong_answer": 2171, "several_answers": 179, "bad_label": 3}),
    "anli_recorded": (1000, 674, {"wrong_answer": 324, "no_cue": 2}),
    "gsm8k_recorded": (660, 496, {"wrong_answer": 164}),
    "bbh_recorded": (250, 101, {"wrong_answer": 3, "no_cue": 146}),
    "ontology_kg_recorded": (400, 269, {"no_triples": 131}),
}


@pytest.mark.timeout(180)  # one of them trains a network in a process of its own
@pytest.mark.parametrize("name", [*SIMULATED, "import"])  # the answers of one stand in data/
def test_every_pipeline_without_a_key_runs(
    name: str, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    ledger = str(tmp_path / "ledger.db")
    file, overrides = f"pipelines/{name}.yaml", SHORTER.get(name, [])
    pipeline = Pipeline.load(file, overrides=overrides, out=tmp_path / "out", ledger=ledger)
    manifest = pipeline.run_sync()
    assert bool(manifest.simulated) == (name in SIMULATED)
    told = manifest.config["rounds"]["count"]
    assert [record.round for record in manifest.rounds] == list(range(told if told > 1 else 0))
    assert manifest.counts.kept > 0.5 * manifest.counts.read
    assert manifest.counts.failed == 0
    assert len(tree_bytes(tmp_path / "out" / "dataset")) == 3


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_pipelines_give_the_known_figures(
    name: str,
    tmp_path: Path,
    project: Path,
    recorded_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("SYNTHKD_DATA", str(recorded_data))
    ledger = str(tmp_path / "ledger.db")
    file, overrides = f"pipelines/{name}.yaml", SHORTER.get(name, [])
    pipeline = Pipeline.load(file, overrides=overrides, out=tmp_path / "out", ledger=ledger)
    counts = pipeline.run_sync().counts
    read, kept, reasons = RECORDED[name]
    assert (counts.read, counts.kept, counts.failed) == (read, kept, 0)
    rejected = pq.read_table(tmp_path / "out" / "rejected.parquet", columns=["reason"])
    found = Counter(rejected.column("reason").to_pylist())
    assert found == reasons
