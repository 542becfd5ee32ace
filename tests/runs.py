"""What whole-run tests share: the real command, run to its end or killed at a chosen moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from synthkd.fake_teacher import TeacherProcess

DEADLINE_S = 60
"""When to give up on a process that should long have answered."""


def command(*arguments: str | Path) -> list[str]:
    """The `synthkd` command of this environment."""
    return [sys.executable, "-m", "synthkd", *map(str, arguments)]


def finished(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def killed_after(
    provider: TeacherProcess, requests: int, *arguments: str | Path, cwd: Path
) -> bool:
    """Run the command, and SIGKILL it once the provider was asked so many more times.

    Returns whether it was killed: it may have ended before.
    """
    goal = provider.stats["requests"] + requests
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and provider.stats["requests"] < goal:
        assert time.monotonic() < deadline, "the run neither ended nor got anywhere"
        time.sleep(0.002)
    killed = process.poll() is None
    process.kill()
    process.wait()
    return killed


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by its path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def killed_at(stage: str, *arguments: str | Path, cwd: Path, times: int = 1) -> bool:
    """Run the command, and SIGKILL it as soon as it says that it is at this stage.

    For the `times`-th time, after having been at another one.
    """
    reached, before = 0, False
    with subprocess.Popen(
        command(*arguments), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            reached += (there := f"| {stage} |" in line) and not before
            before = there
            if reached == times:
                process.kill()
                return True
    return False
