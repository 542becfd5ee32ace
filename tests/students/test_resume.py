"""A training that is killed, or asked to end, goes on as if nothing had been: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.errors import Interrupted
from synthkd.students import job, kinds
from synthkd.students.lesson import Lesson
from tests.students.lessons import peft_warns
from tests.students.test_sft import made_lesson

pytestmark = [peft_warns, pytest.mark.timeout(300)]  # two starts of Python with torch
CHANGES: dict[str, Any] = {
    "batch_size": 2,
    "gradient_accumulation": 2,
    "epochs": 20,
    "save_every_steps": 5,
    "lora": {"rank": 4, "dropout": 0.2},  # random numbers in every step
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = made_lesson(tmp_path_factory.mktemp("undisturbed"), **CHANGES)
    kinds.train(made, lambda line: None)
    return (made.folder / "model.safetensors").read_bytes()


def killed_at(made: Lesson, step: int) -> None:
    """Train in a process of its own until the step was told of, and no further."""
    made.work.mkdir(parents=True)
    order = made.work / job.ORDER
    order.write_bytes(made.to_json())
    with (
        (made.work / job.LOG).open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "synthkd.students.job", str(order)],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if orjson.loads(line).get("told", "").startswith(f"step {step} of"):
                process.kill()
    assert process.returncode == -signal.SIGKILL


def asked_to_end_at(made: Lesson, step: int) -> None:
    """Train here until SIGTERM, which comes once the step was told of: the next is ended."""

    def tell(line: str) -> None:
        if line.startswith(f"step {step} of"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=rf"goes on from step {step + 1}"):
        kinds.train(made, tell)


@pytest.mark.parametrize(("end", "goes_on_from"), [(killed_at, 10), (asked_to_end_at, 14)])
def test_it_goes_on_to_the_same_weights_bit_by_bit(
    end: Callable[[Lesson, int], None], goes_on_from: int, undisturbed: bytes, tmp_path: Path
) -> None:
    made = made_lesson(tmp_path, **CHANGES)
    end(made, 13)
    assert not made.folder.exists()
    told: list[str] = []
    kinds.train(made, told.append)
    # A killed process may have come a step or two further than it was heard to say.
    assert f"going on from step {goes_on_from}" in told or "going on from step 15" in told
    assert (made.folder / "model.safetensors").read_bytes() == undisturbed
