"""The run's folder: whose it is, who works in it, and that nothing of anybody's is lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd import again as afterwards
from synthkd import running
from synthkd.errors import BudgetReached, LedgerFailed, UserError
from synthkd.fake_teacher import FakeTeacher
from synthkd.folder import RunFolder, open_folder, read_manifest, read_stopped
from synthkd.io.lock import locked
from synthkd.pipeline import Pipeline
from tests.runs import tree_bytes
from tests.test_pipeline import teacher, write


def opened(path: Path, ledger: str | None = None) -> RunFolder:
    with open_folder(path, ledger=ledger, default_ledger="ledger.db") as folder:
        folder.keeps = True
        return folder


@pytest.mark.parametrize("name", ["dataset", "notes.txt", "student"])
def test_a_folder_that_is_no_run_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine" / name / "precious").write_text("x", encoding="utf-8")
    before = tree_bytes(tmp_path)
    with pytest.raises(UserError, match=f"is not the folder of a run and holds {name}"):
        opened(tmp_path / "mine")
    assert tree_bytes(tmp_path) == before


def test_a_run_killed_at_its_very_first_file_can_start_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json.tmp").write_bytes(b'{"run_')
    assert opened(tmp_path / "out").run_id
    assert not (tmp_path / "out" / "run.json.tmp").exists()


def test_a_mistake_takes_back_the_folders_it_made_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def mistake() -> None:
        with open_folder(tmp_path / "there/a/b", ledger=None, default_ledger="l") as folder:
            assert folder.work.is_dir()
            raise UserError("wrong")

    with pytest.raises(UserError, match="wrong"):
        mistake()
    assert list((tmp_path / "there").iterdir()) == []


def test_a_second_run_never_takes_the_first_ones_folder_away(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with open_folder(path, ledger=None, default_ledger="l") as first:
        with pytest.raises(UserError, match="another synthkd works in this folder"):
            opened(path)
        assert first.staged.is_dir()
        first.keeps = True
    assert opened(path).run_id == first.run_id


def test_a_folder_taken_away_while_waiting_is_not_worked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ghost"
    path.mkdir()

    def flock(descriptor: int, operation: int) -> None:
        path.rmdir()  # whoever had it made a mistake and took it back
        path.mkdir()

    monkeypatch.setattr("synthkd.io.lock.fcntl.flock", flock)
    with pytest.raises(BlockingIOError), locked(path):
        raise AssertionError("entered a ghost")


def test_a_run_keeps_its_ledger(tmp_path: Path) -> None:
    first = opened(tmp_path / "out", ledger="mine.db")
    assert first.ledger == str(tmp_path / "mine.db")
    assert opened(tmp_path / "out").ledger == first.ledger
    assert opened(tmp_path / "out", ledger="sqlite:///mine.db").run_id == first.run_id
    with pytest.raises(UserError, match="what this run has spent is in the ledger"):
        opened(tmp_path / "out", ledger="other.db")


@pytest.mark.parametrize("url", ["postgres://host/x", "mysql://x", "", "sqlite:///"])
def test_what_is_no_ledger_makes_no_file(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ledger"):
        opened(tmp_path / "out", ledger=url)
    assert not list(tmp_path.iterdir())


async def paid_project(
    tmp_path: Path, provider: FakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project folder with a run that has used up its budget of 40 requests; we stand in it."""
    project = tmp_path / "project"
    project.mkdir()
    file = write(project, rows=40, teachers=teacher(provider), budget={"requests": 40})
    monkeypatch.chdir(project)
    assert (await Pipeline.load(file.name, out="out").run()).counts.kept == 40
    return project


async def test_a_moved_project_pays_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeTeacher().serve() as provider:
        project = await paid_project(tmp_path, provider, monkeypatch)
        monkeypatch.chdir(project.rename(tmp_path / "elsewhere"))
        assert (await Pipeline.load("small.yaml", out="out").run()).counts.kept == 40
        assert provider.requests == 40
    assert not project.exists()


@pytest.mark.parametrize("how", ["gone", "another"])
async def test_without_its_ledger_a_run_does_not_start(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeTeacher().serve() as provider:
        project = await paid_project(tmp_path, provider, monkeypatch)
        ledger = project / ".synthkd" / "ledger.sqlite"
        ledger.unlink()
        if how == "another":
            other = await Pipeline.load("small.yaml", out="other").run()
            assert other.counts.kept == 40
        asked = provider.requests
        with pytest.raises(UserError, match="is missing" if how == "gone" else "does not know"):
            await Pipeline.load("small.yaml", out="out").run()
        assert provider.requests == asked
        assert ledger.exists() == (how == "another")


async def test_a_copied_folder_does_not_spend_beside_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeTeacher().serve() as provider:
        project = await paid_project(tmp_path, provider, monkeypatch)
        shutil.copytree("out", "copy")
        provider.latency_s = 0.05
        more = ["budget.requests=60", "teachers.main.params.temperature=0.1"]
        slow = Pipeline.load("small.yaml", out="out", overrides=more)
        first = asyncio.create_task(slow.run())
        await provider.reached(42)
        with pytest.raises(UserError, match="both would spend one budget"):
            await Pipeline.load("small.yaml", out="copy", overrides=more).run()
        with pytest.raises(BudgetReached):
            await first
        with pytest.raises(BudgetReached):
            await Pipeline.load("small.yaml", out="copy", overrides=more).run()
        assert provider.billed_requests == 60
    assert not list((project / ".synthkd").glob("*.lock"))


async def test_a_ledger_taken_away_in_mid_run_stops_the_run(tmp_path: Path) -> None:
    async with FakeTeacher(latency_s=0.05).serve() as provider:
        file = write(tmp_path, rows=40, teachers=teacher(provider, concurrency=2))
        run = asyncio.create_task(Pipeline.load(file, out="out").run())
        await provider.reached(6)
        (tmp_path / ".synthkd" / "ledger.sqlite").unlink()
        with pytest.raises(LedgerFailed, match="was taken away"):
            await run
        assert provider.requests < 20


def test_a_mistake_in_a_folder_that_was_there_leaves_it_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    opened(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / ".work")
    before = tree_bytes(tmp_path)

    def mistake(name: str) -> None:
        with open_folder(tmp_path / name, ledger=None, default_ledger="ledger.db"):
            raise UserError("wrong")

    for name in ("empty", "run"):
        with pytest.raises(UserError, match="wrong"):
            mistake(name)
    assert tree_bytes(tmp_path) == before
    assert not (tmp_path / "empty" / ".work").exists()


async def test_a_manifest_does_not_list_the_half_one_of_a_killed_run(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write_labelled(tmp_path, provider.url)
        whole = await Pipeline.load(file, out="out").run()
        (tmp_path / "out" / "manifest.json").rename(tmp_path / "out" / "manifest.json.tmp")
        again = await Pipeline.load(file, out="out").run()
    assert again.files.keys() == whole.files.keys()
    assert not (tmp_path / "out" / "manifest.json.tmp").exists()


async def test_a_student_that_was_damaged_is_trained_anew(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write_labelled(tmp_path, provider.url)
        await Pipeline.load(file, out="out").run()
        (tmp_path / "out" / "student" / "model.skops").write_bytes(b"")
        mended = await Pipeline.reopen("out").train()
        assert mended.student is not None
        assert (tmp_path / "out" / "student" / "model.skops").stat().st_size > 1000
        without = Pipeline.load(file, out="out", overrides=["student=null", "evaluate=null"])
        assert not [name for name in (await without.run()).files if name.startswith("student/")]


def test_a_damaged_run_file_is_not_overwritten(tmp_path: Path) -> None:
    opened(tmp_path / "out")
    (tmp_path / "out" / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json: cannot be read"):
        opened(tmp_path / "out")
    assert (tmp_path / "out" / "run.json").read_text(encoding="utf-8") == "{}"


def test_a_manifest_of_a_newer_version_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"new": 1}', encoding="utf-8")
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "stopped.json").write_text("[]", encoding="utf-8")
    for read in (read_manifest, read_stopped):
        with pytest.raises(UserError, match="or use the synthkd that wrote it") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
        assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("run_id", ["", "/../../evil", "x" * 32, "A" * 32])
def test_a_run_id_cannot_lead_out_of_the_ledgers_folder(tmp_path: Path, run_id: str) -> None:
    opened(tmp_path / "out")
    file = tmp_path / "out" / "run.json"
    file.write_bytes(orjson.dumps({**orjson.loads(file.read_bytes()), "run_id": run_id}))
    with pytest.raises(UserError, match=r"run\.json: cannot be read"):
        opened(tmp_path / "out")


ECHO = "---\ninputs: [text]\noutput: label\n---\n{# user #}\n{{ text }}\n"


def write_labelled(folder: Path, url: str, rows: int = 60, **changes: Any) -> Path:
    """With a student and an evaluation; the fake echoes the text, which names its kind."""
    lines = [
        {"id": f"r{i}", "text": f"row {i} is kind{i % 3}", "gold": f"kind{i % 3}"}
        for i in range(rows)
    ]
    (folder / "labelled.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    (folder / "echo.md.j2").write_text(ECHO, encoding="utf-8")
    step = {"teacher": "main", "prompt": "echo", "labels": ["kind0", "kind1", "kind2"]}
    pipeline = {
        "name": "labelled",
        "teachers": {"main": {"endpoint": url, "model": "fake"}},
        "source": {
            "jsonl": "labelled.jsonl",
            "id": ["id"],
            "holdout": {"test": 0.4, "by": ["id"]},
        },
        "steps": [{"use": "label", "with": step}],
        "student": {"kind": "linear", "text": "text", "label": "label"},
        "evaluate": {"on": "test", "ask": "label", "gold": "gold", "bootstrap": 10},
        **changes,
    }
    file = folder / "labelled.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


async def test_train_and_eval_use_the_runs_ledger_and_budget(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write_labelled(tmp_path, provider.url, budget={"requests": 60})
        old = await Pipeline.load(file, out="out", ledger="mine.db").run()
        asked = provider.requests
        assert asked == 60
        again = await Pipeline.reopen("out").evaluate()
        assert provider.requests == asked
        assert again.evaluation is not None
        assert old.evaluation is not None
        assert [one.metrics for one in again.evaluation.contestants] == [
            one.metrics for one in old.evaluation.contestants
        ]
        assert again.teachers == old.teachers
        assert not (tmp_path / ".synthkd").exists()
        raised = Pipeline.reopen("out", overrides=["student.seed=1", "student.regularisation=1.0"])
        trained = await raised.train()
    assert trained.student is not None
    assert old.student is not None
    assert trained.student["fingerprint"] != old.student["fingerprint"]
    assert trained.config["student"]["regularisation"] == 1.0
    assert trained.funnel == old.funnel
    assert read_manifest(tmp_path / "out") == trained
    sums = {k for k in trained.files if k.startswith("student/")}
    assert sums == {f"student/{p.name}" for p in (tmp_path / "out" / "student").iterdir()}
    whole = ["student={kind: linear, text: text, label: label, seed: 7}", "evaluate=null"]
    other = await Pipeline.reopen("out", overrides=whole).train()
    assert (other.config["student"]["seed"], other.evaluation) == (7, None)
    with pytest.raises(UserError, match="the rows are made"):
        Pipeline.reopen("out", overrides=["steps.label.with.samples=2"])


async def test_a_stop_in_the_evaluation_publishes_nothing_and_trains_once(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        file = write_labelled(tmp_path, provider.url, budget={"requests": 45})
        with pytest.raises(BudgetReached):
            await Pipeline.load(file, out="out").run()
        assert not (tmp_path / "out" / "dataset").exists()
        ready = tmp_path / "out" / ".trained" / "student" / "student.json"
        made = ready.stat().st_mtime_ns
        raised = Pipeline.load(file, out="out", overrides=["budget.requests=100"])
        manifest = await raised.run()
        assert provider.requests == 60
    about = tmp_path / "out" / "student" / "student.json"
    assert about.stat().st_mtime_ns == made  # moved into place, not trained again
    assert manifest.student is not None
    assert orjson.loads(about.read_bytes())["fingerprint"] == manifest.student["fingerprint"]
    assert not (tmp_path / "out" / ".trained").exists()


class Killed(BaseException):
    """Stands for a SIGKILL at a chosen place: nothing that a run catches."""


async def train_killed(monkeypatch: pytest.MonkeyPatch, at: str, seed: int) -> None:
    """Train with another seed, and die where that function is called."""

    def kill(*args: Any, **kwargs: Any) -> Any:
        raise Killed

    again = Pipeline.reopen("out", overrides=[f"student.seed={seed}"])
    with monkeypatch.context() as patch:
        patch.setattr(running if hasattr(running, at) else afterwards, at, kill)
        with pytest.raises(Killed):
            await again.train()


async def test_what_a_killed_training_left_is_published_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeTeacher().serve() as provider:
        file = write_labelled(tmp_path, provider.url)
        old = await Pipeline.load(file, out="out").run()
        await train_killed(monkeypatch, "evaluate", seed=1)
        assert (tmp_path / "out" / ".trained" / "student").is_dir()
        evaluated = await Pipeline.reopen("out").evaluate()
        assert evaluated.student == old.student
        assert {k: v for k, v in evaluated.files.items() if k.startswith("student/")} == {
            k: v for k, v in old.files.items() if k.startswith("student/")
        }
        await train_killed(monkeypatch, "evaluate", seed=1)
        without = Pipeline.load(file, out="out", overrides=["student=null", "evaluate=null"])
        assert not [name for name in (await without.run()).files if name.startswith("student/")]
        assert not (tmp_path / "out" / "student").exists()


async def test_a_training_killed_while_it_publishes_is_done_by_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeTeacher().serve() as provider:
        file = write_labelled(tmp_path, provider.url)
        old = await Pipeline.load(file, out="out").run()
        for _ in range(2):
            await train_killed(monkeypatch, "sha256_of", seed=1)
            with pytest.raises(UserError, match="run it again"):
                read_manifest(tmp_path / "out")
            with pytest.raises(UserError, match="run `synthkd train` first"):
                await Pipeline.reopen("out").evaluate()
        trained = await Pipeline.reopen("out", overrides=["student.seed=1"]).train()
        asked = provider.requests
        assert (trained.counts, trained.funnel) == (old.counts, old.funnel)
        assert trained.student != old.student
        assert read_manifest(tmp_path / "out") == trained
        assert not [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]
        await train_killed(monkeypatch, "sha256_of", seed=2)
        whole = await Pipeline.load(file, out="out").run()  # the way that always leads back
        assert (whole.student, whole.counts) == (old.student, old.counts)
        assert provider.requests == asked
