"""Training in a process of its own: real processes, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from synthkd.errors import DiskFailed, NothingToLearn, TrainingFailed
from synthkd.students import job, kinds
from synthkd.students.job import train_apart
from synthkd.students.lesson import HeldOutRow, Lesson
from tests.students.lessons import lesson

BLOCK = {"kind": "linear", "text": "text", "label": "label"}
ROWS = [{"text": f"word{n % 2} and more", "label": f"kind{n % 2}"} for n in range(20)]
WAITS_S = 40.0
T = TypeVar("T")


def hanging(folder: Path) -> Lesson:
    """A lesson whose rows are a pipe that nobody writes to: training waits for ever."""
    made = lesson(folder, BLOCK, ROWS)
    os.mkfifo(folder / "pipe")
    return replace(made, rows=folder / "pipe")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return state != "Z"


def running(folder: Path) -> int | None:
    """The process that trains the lesson in the folder."""
    order = str(folder / "work" / job.ORDER).encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended just now
            words = entry.read_bytes().split(b"\0")
            if order in words and b"synthkd.students.job" in words:
                return int(entry.parent.name)
    return None


async def until(holds: Callable[[], T | None]) -> T:
    """What it says, as soon as it says something."""
    async with asyncio.timeout(WAITS_S):
        while True:
            said = holds()
            if said:
                return said
            await asyncio.sleep(0.05)


def test_a_lesson_goes_through_json(tmp_path: Path) -> None:
    held_out = [HeldOutRow(id="a", side="dev", text="x", gold=None)]
    made = lesson(tmp_path, BLOCK, ROWS, held_out)
    assert Lesson.from_json(made.to_json()) == made
    assert list(made.held_out_rows("dev")) == held_out
    assert list(made.held_out_rows("test")) == []


async def test_it_trains_there_what_is_loaded_here(tmp_path: Path) -> None:
    made = lesson(tmp_path, BLOCK, ROWS)
    await train_apart(made, lambda line: None)
    assert kinds.load(made.folder).predict(["word1 and more"]) == ["kind1"]


async def test_what_it_raises_there_is_raised_here(tmp_path: Path) -> None:
    one_label = lesson(tmp_path / "a", BLOCK, [{"text": "x", "label": "y"}] * 3)
    with pytest.raises(NothingToLearn, match="all 3 rows have the label 'y'"):
        await train_apart(one_label, lambda line: None)
    made = lesson(tmp_path / "b", BLOCK, ROWS)
    (tmp_path / "b" / "file").write_text("no folder")
    with pytest.raises(DiskFailed, match=r"cannot use .*file"):
        await train_apart(replace(made, folder=tmp_path / "b" / "file" / "s"), lambda line: None)


async def test_a_process_that_dies_without_a_word_is_told_of_with_its_log(tmp_path: Path) -> None:
    made = hanging(tmp_path)
    training = asyncio.create_task(train_apart(made, lambda line: None))
    os.kill(await until(lambda: running(tmp_path)), signal.SIGKILL)
    with pytest.raises(TrainingFailed, match=r"ended by SIGKILL; .* memory ran out"):
        await training


async def test_cancelled_it_leaves_no_process(tmp_path: Path) -> None:
    training = asyncio.create_task(train_apart(hanging(tmp_path), lambda line: None))
    pid = await until(lambda: running(tmp_path))
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert not is_alive(pid)


async def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    made = hanging(tmp_path)
    made.work.mkdir()
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from synthkd.students.job import train_apart\n"
        "from synthkd.students.lesson import Lesson\n"
        "lesson = Lesson.from_json(Path(sys.argv[1]).read_bytes())\n"
        "asyncio.run(train_apart(lesson, print))\n"
    )
    (tmp_path / "lesson.json").write_bytes(made.to_json())
    parent = await asyncio.create_subprocess_exec(sys.executable, script, tmp_path / "lesson.json")
    pid = await until(lambda: running(tmp_path))
    parent.kill()
    await parent.wait()
    assert await until(lambda: not is_alive(pid))
