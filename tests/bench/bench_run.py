"""What a row costs: `generate` from JSONL to a saved dataset, against a floor in the same run.

    python tests/bench/bench_run.py [ROWS ...]      # 20,000 and 200,000 by default

A local server that answers at once, and then one that takes 0.2 s, stands on the other core. CPU is
user + system of the whole process; the floor is aiohttp and orjson with nothing kept
(tests/bench/floor.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PIPELINE = """
name: bench
teachers:
  main: {{endpoint: {url}, model: fake, concurrency: {in_flight}, params: {{max_tokens: 256}}}}
source: {{jsonl: {source}, id: [id]}}
steps:
  - {{use: generate, with: {{teacher: main}}}}
export: {{format: messages, prompt: instruction, completion: response}}
"""


IN_FLIGHT = 256
SLOW_S, MANY = 0.2, 1024
"""A teacher that takes its time, and how many questions it is asked at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def cost_of(command: Sequence[str | Path], folder: Path) -> Cost:
    """Run to the end and ask the kernel what it took."""
    # With bytecode, as any installed package has it: compiling 200 modules is no part of a run.
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with subprocess.Popen(
        [str(part) for part in command], cwd=folder, stdout=subprocess.DEVNULL, env=settings
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return Cost(
        wall_s=time.perf_counter() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1024,
    )


@contextmanager
def server(latency_s: float = 0.0) -> Iterator[str]:
    """The base URL of a server that answers at once, or after so long."""
    command = [sys.executable, str(HERE / "zero_latency_server.py"), str(latency_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()  # closes its stdin, which ends it


def prompts(path: Path, rows: int) -> None:
    """Instructions of some 30 words, no two alike."""
    words = "please explain to me in a few plain sentences what this means and why it matters"
    with path.open("wb") as file:
        for i in range(rows):
            text = f"Question {i}: {words}, with an example that a beginner understands ({i % 97})."
            file.write(orjson.dumps({"id": f"p{i}", "instruction": text}) + b"\n")


def main() -> None:
    """Print a table for each number of rows, and what starting costs."""
    sizes = [int(size) for size in sys.argv[1:]] or [20_000, 200_000]
    for rows in sizes:
        print(table(rows, measured(rows)), flush=True)
    print(slow_table(sizes[0]), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        helped = cost_of([BIN / "synthkd", "--help"], folder)
        imported = cost_of([sys.executable, "-c", "import synthkd"], folder)
        bare = cost_of([sys.executable, "-c", ""], folder)
    print(
        f"CPU s: `synthkd --help` {helped.cpu_s:.2f}, `import synthkd` {imported.cpu_s:.3f}"
        f" (bare Python {bare.cpu_s:.3f})"
    )


def measured(rows: int) -> dict[str, Cost]:
    """The floor, a run, and the same run again out of the ledger."""
    with tempfile.TemporaryDirectory() as scratch, server() as url:
        folder = Path(scratch)
        source = folder / "prompts.jsonl"
        prompts(source, rows)
        pipeline = folder / "bench.yaml"
        pipeline.write_text(
            PIPELINE.format(url=url, source=source, in_flight=IN_FLIGHT), encoding="utf-8"
        )
        run: list[str | Path] = [BIN / "synthkd", "run", pipeline, "--quiet"]
        cost_of([*run, "--limit", "1", "--out", "warm-up", "--ledger", "warm-up.sqlite"], folder)
        return {
            "floor": cost_of([sys.executable, HERE / "floor.py", url, source, "out"], folder),
            "synthkd": cost_of(run, folder),
            "synthkd, warm replay": cost_of(run, folder),
            "start-up": cost_of([*run, "--limit", "1"], folder),
        }


def table(rows: int, costs: dict[str, Cost]) -> str:
    """Markdown; start-up in CPU seconds, the others a row."""
    floor = costs["floor"].cpu_s
    *whole, (_, start_up) = costs.items()
    about = f"{rows} rows, 256 in flight, a server that answers at once"
    lines = [
        f"{about}; start-up and one row: {start_up.cpu_s:.2f} CPU s\n",
        "| | CPU ms/row | x floor | rows/s | rows per CPU s | peak RSS MB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {1000 * cost.cpu_s / rows:.3f} | {cost.cpu_s / floor:.2f} |"
        f" {rows / cost.wall_s:.0f} | {rows / cost.cpu_s:.0f} | {cost.peak_mb:.0f} |"
        for name, cost in whole
    ]
    return "\n".join([*lines, ""])


def slow_table(rows: int) -> str:
    """Markdown: how much of the rate that so many at once allow is used."""
    with tempfile.TemporaryDirectory() as scratch, server(SLOW_S) as url:
        folder = Path(scratch)
        source = folder / "prompts.jsonl"
        prompts(source, rows)
        pipeline = folder / "bench.yaml"
        text = PIPELINE.format(url=url, source=source, in_flight=MANY)
        pipeline.write_text(text, encoding="utf-8")
        floor = cost_of([sys.executable, HERE / "floor.py", url, source, "out", str(MANY)], folder)
        run = cost_of([BIN / "synthkd", "run", pipeline, "--quiet"], folder)
    ideal = MANY / SLOW_S
    lines = [
        f"{rows} rows, {MANY} in flight, {SLOW_S} s an answer: ideal {ideal:.0f} rows/s\n",
        "| | rows/s | of the ideal | CPU ms/row |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {rows / cost.wall_s:.0f} | {rows / cost.wall_s / ideal:.0%} |"
        f" {1000 * cost.cpu_s / rows:.3f} |"
        for name, cost in (("floor", floor), ("synthkd, start to end", run))
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
