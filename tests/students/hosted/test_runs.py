"""Whole runs with a hosted student: trained, asked, paid for; killed and interrupted for real."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd.config import LocalConfig
from synthkd.errors import BudgetReached, ConfigError, NothingToLearn, UserError
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.fake_teacher.chat import Body
from synthkd.manifest import Contestant, Evaluation
from synthkd.pipeline import Pipeline
from synthkd.students import kinds
from synthkd.students.hosted.student import load_hosted
from synthkd.teachers.students import find_student
from tests.runs import DEADLINE_S, command, finished, tree_bytes
from tests.teachers.batches.driving import DELAY_S, Clock

PRICE = {"prompt": 1.0, "completion": 4.0}
WORDS = {"refund": "money back please", "login": "password is wrong"}


def answer(body: Body) -> str:
    said = body["messages"][-1]["content"]
    return json.dumps({"label": next(name for name, text in WORDS.items() if text in said)})


def pipeline(folder: Path, url: str, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = list(WORDS)
    rows = [
        {"id": f"r{n}", "text": f"case {n}: {WORDS[labels[n % 2]]}", "gold": labels[n % 2]}
        for n in range(60)
    ]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    student = {
        "kind": "hosted",
        "base": "small",
        "endpoint": url,
        "prompt": "text",
        "completion": "label",
        "epochs": 2,
        "usd_per_million_tokens": 25.0,
        "price": PRICE,
        "poll_s": 0.05,
        **more.pop("student", {}),
    }
    block = {"endpoint": url, "model": "large", "price": PRICE, "params": {"max_tokens": 60}}
    config = {
        "name": "hosted",
        "teachers": {"main": block},
        "source": {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.3, "by": ["text"]}},
        "steps": [{"use": "label", "with": {"teacher": "main", "labels": labels}}],
        "student": student,
        "evaluate": {"on": "test", "ask": "label", "gold": "gold", "bootstrap": 20},
        **more,
    }
    file = folder / "p.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


@pytest.fixture
def provider() -> Iterator[FakeTeacher]:
    with in_thread(FakeTeacher(answer=answer)) as teacher:
        yield teacher


def contestant(evaluation: Evaluation | None, name: str) -> Contestant:
    assert evaluation is not None
    return next(one for one in evaluation.contestants if one.name == name)


async def test_a_run_trains_it_asks_it_and_pays_for_both(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    loaded = Pipeline.load(pipeline(tmp_path, provider.url, budget={"usd": 1.0}), out="out")
    manifest = await loaded.run()
    assert manifest.student is not None
    (job,) = provider.fine_tuning.jobs.values()
    assert manifest.student["model"] == job.model
    assert manifest.student["tokens"] == provider.fine_tuning.trained_tokens
    assert manifest.student["rows"] == manifest.counts.kept
    student = contestant(manifest.evaluation, "student")
    assert student.metrics["accuracy"].value == 1.0
    assert student.answered == manifest.counts.held_out["test"]
    assert student.usd_per_1000 is not None
    assert student.usd_per_1000 > 0
    training_usd = 25 * provider.fine_tuning.trained_tokens / 1e6
    asking_usd = (provider.prompt_tokens + 4 * provider.completion_tokens) / 1e6
    assert manifest.spend.usd == pytest.approx(training_usd + asking_usd, abs=1e-7)
    assert manifest.student["usd"] == pytest.approx(training_usd)
    # Again: nothing is bought, and the dataset does not move.
    before, asked = tree_bytes(tmp_path / "out" / "student"), provider.requests
    again = await Pipeline.load(tmp_path / "p.yaml", out="out").run()
    assert again.spend.usd == manifest.spend.usd
    assert tree_bytes(tmp_path / "out" / "student") == before
    assert (provider.requests, len(provider.fine_tuning.jobs)) == (asked, 1)
    offline = await Pipeline.load(tmp_path / "p.yaml", out="out").run(offline=True)
    assert offline.evaluation == again.evaluation


async def test_its_folder_says_all_and_it_can_be_asked_from_there(
    tmp_path: Path, provider: FakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTED_KEY", "sk-planted-0123456789")
    provider.api_key = "sk-planted-0123456789"
    key = {"api_key_env": "HOSTED_KEY"}
    file = pipeline(tmp_path, provider.url, student=key)
    config = yaml.safe_load(file.read_bytes())
    config["teachers"]["main"] |= key
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    await Pipeline.load(file, out="out").run()
    folder = tmp_path / "out" / "student"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "student.json"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    (job,) = provider.fine_tuning.jobs.values()
    for said in (job.model, job.id, "n_epochs 2", "`small`", "`HOSTED_KEY`", provider.url):
        assert said in card
    student = kinds.load(folder)
    assert student.predict(["my money back", "the password"]) == ["refund", "login"]
    assert student.predict([]) == []
    with pytest.raises(UserError, match=rf"at a provider: .* `model: {job.model}` in place"):
        find_student("x", LocalConfig(folder=str(folder)), tmp_path)
    assert not [name for name, content in tree_bytes(tmp_path).items() if b"sk-planted" in content]
    (folder / "student.json").write_text('{"kind": "hosted", "fingerprint": "x"}', encoding="utf-8")
    with pytest.raises(UserError, match="damaged student"):
        load_hosted(folder)


async def test_what_cannot_be_held_within_the_budget_is_said_before_anything_is_asked(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    for name in ("usd_per_million_tokens", "epochs", "price"):
        unknown = {"budget": {"usd": 1.0}, "student": {name: None}}
        loaded = Pipeline.load(pipeline(tmp_path, provider.url, **unknown), out="out")
        with pytest.raises(UserError, match=rf"budget\.usd is set, but student\.{name} is not"):
            await loaded.run()
    assert provider.requests == 0
    small = Pipeline.load(pipeline(tmp_path, provider.url, budget={"usd": 0.05}), out="out")
    with pytest.raises(BudgetReached, match="the fine-tuning job"):
        await small.run()
    assert not provider.batches.files
    # Without a limit an unknown price is no fault; what was spent is unknown then, and not less.
    free = pipeline(tmp_path, provider.url, student={"usd_per_million_tokens": None})
    manifest = await Pipeline.load(free, out="out").run()
    assert manifest.spend.usd is None
    assert (manifest.student or {})["usd"] is None


async def test_rows_that_the_provider_would_not_take_are_not_sent(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    few = pipeline(
        tmp_path, provider.url, source={"jsonl": "rows.jsonl", "limit": 9}, evaluate=None
    )
    with pytest.raises(
        NothingToLearn, match=r"9 examples, and the provider takes no fewer than 10"
    ):
        await Pipeline.load(few, out="out").run()
    assert not provider.batches.files


async def test_rows_on_which_asking_the_student_failed_are_left_out_for_everybody(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    file = pipeline(tmp_path, provider.url, limits={"max_failed": 0.2})

    def refuse(progress: Any) -> None:
        if progress.stage == "evaluating" and not provider.script:
            # The exam's answers come first; then two of the student's are refused.
            held_out = progress.rows_total
            assert held_out
            provider.script.extend([*[None] * tests, "400", "400"])

    tests = (await Pipeline.load(file, out="first").run()).counts.held_out["test"]
    provider.fine_tuning.jobs.clear()
    manifest = await Pipeline.load(file, out="out", ledger="other.sqlite").run(on_progress=refuse)
    assert manifest.evaluation is not None
    assert manifest.evaluation.left_out == 2
    answered = {one.answered for one in manifest.evaluation.contestants if one.name != "base"}
    assert answered == {tests - 2}


def test_a_pipeline_file_says_where_its_student_leaves_for(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    elsewhere = {"endpoint": "https://provider.example/v1"}
    file = pipeline(tmp_path, provider.url, student=elsewhere)
    table = Pipeline.load(file, out="out").plan().table()
    assert "student asks small at provider.example: text (as in the source" in table
    secret = pipeline(tmp_path, provider.url, student={"endpoint": "https://a.example/v1?key=x"})
    with pytest.raises(ConfigError, match="would put a secret into this file"):
        Pipeline.load(secret, out="out")
    rounds = pipeline(tmp_path, provider.url, rounds=2)
    with pytest.raises(ConfigError, match="would buy a job a round"):
        Pipeline.load(rounds, out="out")
    twice = pipeline(tmp_path, provider.url, teachers={"student": {"endpoint": "u", "model": "m"}})
    with pytest.raises(ConfigError, match="a hosted student is asked under this name"):
        Pipeline.load(twice, out="out")


def ended(when: Callable[[], bool], how: int, *arguments: str | Path, cwd: Path) -> tuple[int, str]:
    """Run the command, and send it a signal as soon as something is so: exit code and stderr."""
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and not when():
        assert time.monotonic() < deadline, "the run neither ended nor got anywhere"
        time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(how)
    _, said = process.communicate(timeout=DEADLINE_S)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_and_interrupted_while_it_trains_there_is_one_job(tmp_path: Path) -> None:
    clock = Clock()
    with in_thread(FakeTeacher(answer=answer, job_delay_s=DELAY_S, clock=clock)) as provider:
        jobs = provider.fine_tuning.jobs
        run = ("run", pipeline(tmp_path, provider.url, budget={"usd": 1.0}), "--out", "out")
        code, _ = ended(lambda: bool(jobs), signal.SIGKILL, *run, cwd=tmp_path)
        assert code == -signal.SIGKILL
        looks = provider.batch_calls + 3
        code, said = ended(lambda: provider.batch_calls > looks, signal.SIGINT, *run, cwd=tmp_path)
        (job,) = jobs.values()
        assert (code, f"{job.id} goes on at the provider: run again" in said) == (130, True), said
        shown = finished("job", "show", "out", cwd=tmp_path)
        assert shown.stdout.startswith(f"{job.id} at {provider.url}: validating_files"), (
            shown.stderr
        )
        clock.now += DELAY_S
        done = finished(*run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(provider.fine_tuning.jobs) == 1
        assert finished("job", "show", "out", cwd=tmp_path).returncode == 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["student"]["job"] == job.id


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_given_up_by_the_command_a_new_job_is_made(tmp_path: Path) -> None:
    clock = Clock()
    with in_thread(FakeTeacher(answer=answer, job_delay_s=DELAY_S, clock=clock)) as provider:
        jobs = provider.fine_tuning.jobs
        run = ("run", pipeline(tmp_path, provider.url), "--out", "out")
        code, _ = ended(lambda: len(jobs) == 1, signal.SIGKILL, *run, cwd=tmp_path)
        assert code == -signal.SIGKILL
        clock.now += DELAY_S / 2
        given_up = finished("job", "cancel", "out", cwd=tmp_path)
        assert "is cancelled" in given_up.stdout, given_up.stderr
        code, _ = ended(lambda: len(jobs) == 2, signal.SIGKILL, *run, cwd=tmp_path)
        assert code == -signal.SIGKILL
        clock.now += DELAY_S
        done = finished(*run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        states = [job.status for job in provider.fine_tuning.jobs.values()]
        assert states == ["cancelled", "succeeded"]
