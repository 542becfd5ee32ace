"""The teacher gateway beside others: the same rows, the same servers, one table.

    python tests/bench/bench_gateway.py [--quick] [--only NAME ...] [--parts PART ...]

    cost     20,000 rows, 256 in flight, a server that answers at once on the other core
    limit    1,200 rows at 600 requests a minute, with a minute's allowance to begin with
    kill     4,000 rows, SIGKILL to the whole process group after 2,500 requests, and again
    faults   2,000 rows under 5 % 500, 1 % resets, 1 % cut bodies; 0.5 % of them always fail

A slow client is timed on fewer rows, and the table says so. The others are those that
`make bench-peers` has installed. In `limit` all clients run side by side, each with a server of
its own: it takes two minutes and hardly any CPU.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from synthkd.fake_teacher import TeacherProcess, in_process
from synthkd.fake_teacher.faults import Faults
from tests.bench.bench_run import prompts, server
from tests.bench.gateway_clients import CLIENTS, Client, Running, Took

IN_FLIGHT = 256
PER_MINUTE = 600
LIMIT_ROWS = 1_200
KILL_ROWS = 4_000
KILLED_AFTER = 2_500
FAULT_ROWS = 2_000
FAULTS = {"500": 0.05, "reset": 0.01, "cut": 0.01, "poison": 0.005}
LATENCY_S = 0.05
"""Of the teacher in `kill`: so that requests are in the air when the client dies."""

COST_LIMIT_S = 900.0
OTHER_LIMIT_S = 180.0
"""Whoever takes longer is reported as not done: some never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One client at one task: where it works, and on what."""

    client: Client
    folder: Path
    rows: int

    def run(self, url: str, limit_s: float, per_minute: int | None = None) -> Took:
        """Run to the end."""
        with self.start(url, per_minute) as running:
            return running.finish(limit_s)

    def start(self, url: str, per_minute: int | None = None) -> Running:
        """Start, or start again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        source = self.folder / "prompts.jsonl"
        if not source.exists():
            prompts(source, self.rows)
        command = self.client.command(url, source, self.folder, IN_FLIGHT, per_minute)
        return Running(command, self.folder)

    @property
    def lost(self) -> int:
        """Rows without an answer."""
        return self.rows - self.client.answered(self.folder)


# ------------------------------------------------------------------------------------ the tasks


def cost(bench: Bench) -> Mapping[str, str]:
    """Rows a second, CPU, memory, and what starting takes."""
    with server() as url:
        first = replace(bench, folder=bench.folder / "one", rows=1).run(url, COST_LIMIT_S)
        took = bench.run(url, COST_LIMIT_S)
    if took.ended or bench.lost:
        return {"rows/s": took.ended or f"lost {bench.lost}"}
    return {
        "rows timed": f"{bench.rows:,}",
        "rows/s": f"{bench.rows / took.wall_s:,.0f}",
        "CPU ms a row": f"{1000 * took.cpu_s / bench.rows:.2f}",
        "peak MB": f"{took.peak_mb:,.0f}",
        "start-up CPU s": f"{first.cpu_s:.2f}",
    }


def limit(bench: Bench) -> Mapping[str, str]:
    """How much of an allowance is used, and how many requests are wasted on it."""
    with in_process("--requests-per-minute", str(PER_MINUTE)) as teacher:
        took = bench.run(teacher.url, OTHER_LIMIT_S, PER_MINUTE)
        refused = teacher.stats["statuses"].get("429", 0)
    ideal_s = (bench.rows - PER_MINUTE) * 60 / PER_MINUTE
    return {
        "429s a row": f"{refused / bench.rows:.3f}" + ("" if bench.client.told else " (not told)"),
        "seconds (ideal)": f"{took.wall_s:.0f} ({ideal_s:.0f})" + _note(took),
        "lost at the limit": f"{bench.lost}",
    }


def kill(bench: Bench) -> Mapping[str, str]:
    """What is asked twice when a run is killed and started again."""
    with in_process("--latency", str(LATENCY_S)) as teacher:
        with bench.start(teacher.url) as running:
            killed = _kill_after(running, teacher)
            running.finish(OTHER_LIMIT_S)
        again = bench.run(teacher.url, OTHER_LIMIT_S)
        repeats = teacher.repeats
    if not killed:
        return {"repeats after SIGKILL": "ended before it was killed"}
    return {
        "repeats after SIGKILL": f"{repeats:,}" + _note(again),
        "lost then": f"{bench.lost}",
    }


def faults(bench: Bench) -> Mapping[str, str]:
    """What a client loses of what could have been answered."""
    options = [word for name, share in FAULTS.items() for word in ("--fault", f"{name}={share}")]
    with in_process(*options) as teacher:
        took = bench.run(teacher.url, OTHER_LIMIT_S)
        stats = teacher.stats
    poisoned = _poisoned(stats["bodies"])
    return {
        "lost beside poison": f"{bench.lost - poisoned:,} of {bench.rows:,}" + _note(took),
        "requests a row": f"{stats['requests'] / bench.rows:.3f}",
    }


def _poisoned(bodies: Iterable[str]) -> int:
    """How many questions can have no answer, as the teacher decides it by their bodies."""
    decides = Faults(FAULTS, (), 0)
    return sum(
        all(decides.next(bytes.fromhex(digest), before) == "500" for before in range(20))
        for digest in bodies
    )


def _note(took: Took) -> str:
    return f" ({took.ended})" if took.ended else ""


def _kill_after(running: Running, teacher: TeacherProcess) -> bool:
    """SIGKILL once enough was asked; returns whether it was still at work."""
    started = time.perf_counter()
    while running.sample():
        if teacher.stats["requests"] >= KILLED_AFTER:
            running.kill()
            return True
        if time.perf_counter() - started > OTHER_LIMIT_S:
            running.kill()
            return False
        time.sleep(0.02)
    return False


# ------------------------------------------------------------------------------------ the table

TASKS: Mapping[str, tuple[Callable[[Bench], Mapping[str, str]], int]] = {
    "cost": (cost, 0),
    "limit": (limit, LIMIT_ROWS),
    "kill": (kill, KILL_ROWS),
    "faults": (faults, FAULT_ROWS),
}
"""Part -> what is done, and with how many rows (0 = the client's own number)."""


def measured(
    clients: Sequence[Client], parts: Sequence[str], scale: float
) -> dict[str, dict[str, str]]:
    """Client -> column -> figure; one client after the other, but for `limit`."""
    table: dict[str, dict[str, str]] = {client.name: {} for client in clients}
    with tempfile.TemporaryDirectory() as scratch:
        for part in parts:
            act, rows = TASKS[part]
            benches = [
                Bench(
                    client=client,
                    folder=Path(scratch, part, client.name.replace(" ", "-")),
                    rows=max(1, round((rows or client.rows) * (scale if part == "cost" else 1))),
                )
                for client in clients
            ]
            workers = len(benches) if part == "limit" else 1
            with ThreadPoolExecutor(workers) as pool:
                for bench, figures in zip(benches, pool.map(act, benches), strict=True):
                    table[bench.client.name] |= figures
                    print(f"{part}: {bench.client.name}: {dict(figures)}", flush=True)
    return table


def markdown(table: Mapping[str, Mapping[str, str]]) -> str:
    """One line a client."""
    columns = list(dict.fromkeys(name for figures in table.values() for name in figures))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figures in table.items():
        lines.append(f"| {name} | " + " | ".join(figures.get(c, "") for c in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows in `cost`")
    names = [client.name for client in CLIENTS]
    parser.add_argument("--only", action="append", choices=names, help="may be repeated")
    parser.add_argument("--parts", action="append", choices=list(TASKS), help="may be repeated")
    options = parser.parse_args()
    wanted = [client for client in CLIENTS if not options.only or client.name in options.only]
    missing = [client.name for client in wanted if not client.installed]
    clients = [client for client in wanted if client.name not in missing]
    versions = ", ".join(f"{client.name} {client.version}" for client in clients)
    load = os.getloadavg()[0]
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load")
    print(f"{load:.1f}, Python {platform.python_version()}: {versions}")
    if missing:
        print(f"not installed, so left out: {', '.join(missing)} (`make bench-peers`)")
    table = measured(clients, options.parts or list(TASKS), 0.1 if options.quick else 1.0)
    print(f"\n{markdown(table)}\n\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
