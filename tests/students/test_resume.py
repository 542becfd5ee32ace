"""A training that is killed, or asked to end, goes on as if nothing had been: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.students import job, kinds
from synthkd.students.lesson import Lesson
from tests.students.lessons import peft_warns
from tests.students.test_sft import made_lesson

pytestmark = [peft_warns, pytest.mark.timeout(300)]  # three starts of Python with torch
CHANGES: dict[str, Any] = {
    "batch_size": 2,
    "gradient_accumulation": 2,
    "epochs": 20,
    "save_every_steps": 5,
    "lora": {"rank": 4, "dropout": 0.2},  # random numbers in every step
}


def started(made: Lesson) -> subprocess.Popen[bytes]:
    made.work.mkdir(parents=True, exist_ok=True)
    order = made.work / job.ORDER
    order.write_bytes(made.to_json())
    with (made.work / job.LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "synthkd.students.job", str(order)],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def said_by(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield orjson.loads(line)


def ended_at(made: Lesson, step: int, by: signal.Signals) -> tuple[int, list[dict[str, Any]]]:
    """Send the signal once the step was told of; the exit code, and what was said after it."""
    with started(made) as process:
        for said in said_by(process):
            if said.get("told", "").startswith(f"step {step} of"):
                process.send_signal(by)
                break
        after = list(said_by(process))
    return process.returncode, after


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = made_lesson(tmp_path_factory.mktemp("undisturbed"), **CHANGES)
    kinds.train(made, lambda line: None)
    return (made.folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_on_to_the_same_weights_bit_by_bit(
    by: signal.Signals, undisturbed: bytes, tmp_path: Path
) -> None:
    made = made_lesson(tmp_path, **CHANGES)
    code, after = ended_at(made, 13, by)
    (work,) = [path for path in made.work.iterdir() if path.name not in {"scratch", *job_files()}]
    saved = sorted(int(path.name.split("-")[1]) for path in work.iterdir())
    if by is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert after[-1]["error"] == "Interrupted"
        assert saved[-1] >= 13  # it ended the step it was at, and saved
    assert not made.folder.exists()
    told: list[str] = []
    kinds.train(made, told.append)
    assert f"going on from step {saved[-1]}" in told
    assert (made.folder / "model.safetensors").read_bytes() == undisturbed


def job_files() -> set[str]:
    return {job.ORDER, job.LOG}
