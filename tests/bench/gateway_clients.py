"""The clients that bench_gateway compares, how each is started, and what a process tree took.

Every client reads the same JSONL and leaves its answers as JSONL with an `id` and a `response`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("SYNTHKD_PEERS", HERE.parent.parent / ".venv-peers"))
"""Where `make bench-peers` installs them, each into an environment of its own."""

SAMPLED_EVERY_S = 0.2
TICKS = os.sysconf("SC_CLK_TCK")

PIPELINE = """
name: bench
teachers:
  main:
    endpoint: {url}
    model: fake
    concurrency: {in_flight}
    requests_per_minute: {per_minute}
    params: {{max_tokens: 256}}
source: {{jsonl: {source}, id: [id]}}
steps:
  - {{use: generate, with: {{teacher: main}}}}
export: {{format: rows, keep: [id, response]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Something that asks a teacher about every row of a file."""

    name: str
    python: Path
    package: str
    """Whose version stands in the table."""
    script: str | None = None
    """In tests/bench/peers; None = synthkd."""
    told: bool = False
    """Whether it can be told a limit of requests per minute."""
    rows: int = 20_000
    """How many rows it is timed on: a slow one gets fewer."""

    @property
    def installed(self) -> bool:
        """Whether its environment has it."""
        return self.python.exists() and self.version != ""

    @property
    def version(self) -> str:
        """As its environment says; empty = it is not there."""
        ask = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        told = subprocess.run([self.python, "-c", ask], capture_output=True, text=True, check=False)
        return told.stdout.strip()

    def command(
        self, url: str, source: Path, folder: Path, in_flight: int, per_minute: int | None
    ) -> list[str]:
        """How it is started; the same command again takes up what was begun, if it can."""
        limit = [str(per_minute)] if per_minute is not None and self.told else []
        if self.script is not None:
            script = HERE / "peers" / self.script
            out = folder / "out.jsonl"
            words = [self.python, script, url, source.absolute(), out.absolute(), in_flight, *limit]
            return [str(word) for word in words]
        file = folder / "bench.yaml"
        file.write_text(
            PIPELINE.format(
                url=url,
                source=source.absolute(),
                in_flight=in_flight,
                per_minute=limit[0] if limit else "null",
            ),
            encoding="utf-8",
        )
        return [str(self.python), "-m", "synthkd", "run", str(file.absolute()), "--quiet"]

    def answered(self, folder: Path) -> int:
        """Rows with an answer."""
        out = folder / "out.jsonl"
        if self.script is None:
            out = folder / "data" / "out" / "bench" / "dataset" / "train.jsonl"
        if not out.exists():
            return 0
        rows = map(orjson.loads, out.read_bytes().splitlines())
        return len({row["id"] for row in rows if row.get("response")})


OURS = Path(sys.executable)

CLIENTS = (
    Client(name="synthkd", python=OURS, package="synthkd", told=True),
    Client(name="openai SDK loop", python=OURS, package="openai", script="with_openai.py"),
    Client(
        name="Curator",
        python=PEERS / "curator" / "bin" / "python",
        package="bespokelabs-curator",
        script="with_curator.py",
        told=True,
    ),
    Client(
        name="distilabel",
        python=PEERS / "distilabel" / "bin" / "python",
        package="distilabel",
        script="with_distilabel.py",
        rows=5_000,
    ),
    Client(
        name="Data Designer",
        python=PEERS / "datadesigner" / "bin" / "python",
        package="data-designer",
        script="with_data_designer.py",
        rows=5_000,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What a client and all its processes took."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    """Proportional set size of all its processes together, at its highest."""
    ended: str
    """Empty = it ended well."""


class Running:
    """A client at work, in a process group of its own, which the end of the block ends."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._log = (folder / "log.txt").open("ab")
        self._started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._cpu_s: dict[int, float] = {}
        self._peak_mb = 0.0

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.poll()
        self._log.close()

    def sample(self) -> bool:
        """Look at the whole tree once; returns whether it is still at work."""
        size_mb = 0.0
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._cpu_s[pid] = cpu_s(pid)
                size_mb += pss_mb(pid)
        self._peak_mb = max(self._peak_mb, size_mb)
        status = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return status is None

    def finish(self, limit_s: float) -> Took:
        """Wait for the end, up to a limit; what is still there then is killed."""
        late = False
        while self.sample():
            if time.perf_counter() - self._started > limit_s:
                late = True
                self.kill()
                break
            time.sleep(SAMPLED_EVERY_S)
        _, status, usage = os.wait4(self.process.pid, 0)
        code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.kill()  # what it left behind
        ended = f"not done after {limit_s:.0f} s" if late else f"exit code {code}" if code else ""
        return Took(
            wall_s=time.perf_counter() - self._started,
            # The kernel's sum has the processes that were waited for, the samples all that lived.
            cpu_s=max(usage.ru_utime + usage.ru_stime, sum(self._cpu_s.values())),
            peak_mb=self._peak_mb,
            ended=ended,
        )

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def tree(root: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield root
    for task in Path(f"/proc/{root}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from tree(int(child))


def cpu_s(pid: int) -> float:
    """Seconds of CPU of one process so far, its threads' included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mb(pid: int) -> float:
    """Its memory, with what it shares counted in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
