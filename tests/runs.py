"""What whole-run tests share: a provider in a process of its own, and the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEADLINE_S = 60
"""When to give up on a process that should long have answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedProvider:
    """A fake provider in another process, so that killing a run leaves its books alone."""

    url: str

    @property
    def stats(self) -> dict[str, Any]:
        """What it was asked and what it billed."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=10) as reply:
            stats: dict[str, Any] = json.load(reply)
            return stats

    @property
    def repeats(self) -> int:
        """Requests beyond the first of each body."""
        return sum(count - 1 for count in self.stats["bodies"].values())


@contextmanager
def served_provider(*options: str) -> Iterator[ServedProvider]:
    """Start tests/provider.py with these options; stop it afterwards."""
    command = [sys.executable, str(HERE / "provider.py"), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield ServedProvider(url=process.stdout.readline().strip())
        finally:
            process.send_signal(signal.SIGTERM)


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
    provider: ServedProvider, requests: int, *arguments: str | Path, cwd: Path
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


def killed_at(stage: str, *arguments: str | Path, cwd: Path) -> bool:
    """Run the command, and SIGKILL it as soon as it says that it is at this stage."""
    with subprocess.Popen(
        command(*arguments), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if f"| {stage} |" in line:
                process.kill()
                return True
    return False
