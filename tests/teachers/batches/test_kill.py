"""SIGKILL of the real command between any two calls: the same bytes, every question billed once."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from synthkd.fake_teacher import FakeTeacher, in_thread
from tests.runs import DEADLINE_S, command, finished, tree_bytes
from tests.teachers.batches.driving import DELAY_S, Clock, online, pipeline

FAST = ("--set", "teachers.main.batch.poll_s=0.05")
QUESTIONS = 18
"""Of three rows: three samples, and one more question for each."""


def ended_at(provider: FakeTeacher, fault: str, how: int, *arguments: str | Path, cwd: Path) -> int:
    """Run the command, and send it a signal as soon as it has met the fault; its exit code."""
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + DEADLINE_S
    met = provider.faults[fault]
    while process.poll() is None and provider.faults[fault] == met:
        assert time.monotonic() < deadline, "the run neither ended nor got anywhere"
        time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(how)
    return process.wait(DEADLINE_S)


@pytest.mark.slow
@pytest.mark.timeout(180)
# The calls are: upload, create, look, download; the same again for the second step.
async def test_killed_between_any_two_calls_nothing_is_bought_twice(tmp_path: Path) -> None:
    with in_thread(FakeTeacher()) as provider:
        pipeline(tmp_path, provider, rows=3)
        _, wanted = await online(tmp_path, provider, rows=3)
        file = tmp_path / "p.yaml"
        pipeline(tmp_path, provider, rows=3)
        # After each call is done, and before the batch is made.
        for fault, call in (("hang", 0), ("stall", 1), ("hang", 1), ("hang", 2), ("hang", 3)):
            out = f"{fault}{call}"
            run = ("run", file, "--out", out, "--ledger", f"{out}.db", "--wait", *FAST)
            billed = provider.billed_requests
            provider.batch_call_script.extend([*[None] * call, fault])
            code = ended_at(provider, fault, signal.SIGKILL, *run, cwd=tmp_path)
            assert code == -signal.SIGKILL
            assert not (tmp_path / out / "manifest.json").exists()
            again = finished(*run, cwd=tmp_path)
            assert again.returncode == 0, again.stderr
            assert tree_bytes(tmp_path / out / "dataset") == wanted
            assert provider.billed_requests - billed == QUESTIONS, out


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ctrl_c_while_it_waits_ends_with_130_and_is_resumed(tmp_path: Path) -> None:
    clock = Clock()
    with in_thread(FakeTeacher(batch_delay_s=DELAY_S, clock=clock)) as provider:
        pipeline(tmp_path, provider, rows=3)
        run = ("run", tmp_path / "p.yaml", "--out", "o", "--ledger", "o.db", "--wait", *FAST)
        provider.batch_call_script.extend([None, None, "500"])  # the first look
        assert ended_at(provider, "500", signal.SIGINT, *run, cwd=tmp_path) == 130
        shown = finished("show", "o", cwd=tmp_path)
        assert "interrupted" in shown.stdout
        clock.now += DELAY_S
        done = finished(*run[:-3], cwd=tmp_path)
        assert done.returncode == 6, done.stderr  # the second step waits now
        clock.now += DELAY_S
        done = finished(*run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert provider.billed_requests == QUESTIONS
