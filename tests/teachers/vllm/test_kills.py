"""SIGKILL of whoever keeps a server: nothing of it is left, and no row is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.runs import command, finished
from tests.teachers.vllm.life import alive, awaited, make_model, port_of, starts, told

pytestmark = pytest.mark.timeout(180)  # a run, a server and two guards: slow on a busy machine

PIPELINE = """
name: own
teachers:
  main:
    vllm: {model: model}
    concurrency: 4
    params: {max_tokens: 10}
source: {jsonl: rows.jsonl, id: [id]}
steps:
  - {use: generate, with: {teacher: main}}
export: {format: messages, prompt: instruction, completion: response}
"""
ROWS = 60


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    make_model(tmp_path / "model")
    rows = [json.dumps({"id": n, "instruction": f"say {n}"}) for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    file = tmp_path / "own.yaml"
    file.write_text(PIPELINE, encoding="utf-8")
    return file


def guards() -> dict[str, int]:
    """The watchdogs that run below this folder, by level."""
    found = {}
    for pid in alive("\0watchdog\0"):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if Path(f"/proc/{pid}/cwd").resolve() == Path.cwd():
            found[words[5]] = pid
    return found


def started_run(pipeline: Path, notes: Path) -> subprocess.Popen[bytes]:
    """A run whose server is up and has been asked."""
    run = subprocess.Popen(
        command("run", pipeline, "--quiet"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert awaited(lambda: bool(list(notes.glob("asked-*"))))
    return run


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kept(folder: Path) -> tuple[int, int]:
    """Rows that were read, and those that came through."""
    counts = json.loads((folder / "manifest.json").read_bytes())["counts"]
    return counts["read"], counts["kept"]


def test_a_killed_run_leaves_nothing(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, children=3, slow_s=0.05)
    run = started_run(pipeline, notes)
    assert len(alive(str(notes))) >= 4
    killed(run.pid)
    run.wait()
    assert awaited(lambda: not alive(str(notes)))
    # And the next one goes on from there.
    again = finished("run", pipeline, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"{ROWS} rows read = {ROWS} kept" in again.stdout
    assert not alive(str(notes))


@pytest.mark.parametrize("levels", [["outer"], ["inner"], ["outer", "inner"]])
def test_a_killed_watchdog_leaves_nothing_and_loses_no_row(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, levels: list[str]
) -> None:
    # The last child leaves the process group: only a guard that lives finds it.
    notes = told(monkeypatch, tmp_path, children=0 if len(levels) > 1 else 2, slow_s=0.05)
    run = started_run(pipeline, notes)
    before = set(alive(str(notes))) - {run.pid}
    there = guards()
    for level in levels:
        killed(there[level])
    assert awaited(lambda: not before & set(alive(str(notes))))
    assert run.wait(60) == 0
    assert kept(tmp_path / "data" / "out" / "own") == (ROWS, ROWS)
    assert len(starts(notes)) == 2
    assert not alive(str(notes))


def test_a_killed_run_and_a_killed_watchdog_leave_nothing(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, children=2, slow_s=0.05)
    run = started_run(pipeline, notes)
    outer = guards()["outer"]
    killed(run.pid)
    killed(outer)
    run.wait()
    assert awaited(lambda: not alive(str(notes)))


@pytest.mark.parametrize("pattern", [b"vllm", b"synthkd", b"python", b"api_server"])
def test_all_that_one_pattern_names_killed_at_once_leave_nothing(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: bytes
) -> None:
    notes = told(monkeypatch, tmp_path, children=2, slow_s=0.05)
    run = started_run(pipeline, notes)
    there = [pid for pid in alive(str(notes)) if pattern in command_line(pid) or pid == run.pid]
    assert not set(there) & set(guards().values())
    for pid in there:
        os.kill(pid, signal.SIGSTOP)  # so that they go at once
    for pid in there:
        killed(pid)
    run.wait()
    assert awaited(lambda: not alive(str(notes)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_with_the_run(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    notes = told(monkeypatch, tmp_path, children=2, slow_s=0.05)
    run = started_run(pipeline, notes)
    run.send_signal(number)
    assert run.wait(60) == 130
    assert not alive(str(notes))


def test_two_runs_side_by_side_have_a_server_each(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, slow_s=0.02)
    runs = [
        subprocess.Popen(
            command("run", pipeline, "--quiet", "--out", name, "--ledger", f"{name}.db"),
            stderr=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]
    for run in runs:
        _, said = run.communicate(timeout=60)
        assert run.returncode == 0, said
    ports = {port_of(each) for each in starts(notes)}
    assert len(ports) == 2
    for name in ("a", "b"):
        assert kept(tmp_path / name) == (ROWS, ROWS)
    assert not alive(str(notes))
