"""How much of what a provider allows is used, and how near `concurrency: auto` comes to the best.

    python tests/bench/bench_limits.py [ROWS]       # 1,200 by default: some six minutes

Against the fake teacher in a process of its own, on loopback, through the whole stack with its
ledger. First 600 requests a minute, with and without a burst; then a server that works on so many
at once and lets the others wait, asked with fixed numbers and with `auto`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.fake_teacher import in_process
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.open import open_teachers
from synthkd.teachers.request import Request

A_MINUTE = 600
AT_ONCE = 1024
"""Rows in the step."""
LATENCY_S = 0.25
CAPS = (8, 48)
FIXED = (4, 8, 16, 32, 64, 128, 256, 512)


async def answers_at(url: str, rows: int, settings: Mapping[str, Any]) -> tuple[list[float], int]:
    """Seconds from the first question to each answer, and the 429s on the way."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger(Path(folder) / "ledger.sqlite")
        config = TeacherConfig(endpoint=url, model="m", params={"max_tokens": 20}, **settings)
        done: list[float] = []
        async with open_teachers(
            {"main": config}, base=Path(), ledger=ledger, run_id="r", budget=BudgetConfig()
        ) as gateway:
            main = gateway.teachers["main"]
            numbers = iter(range(rows))

            async def worker() -> None:
                for number in numbers:
                    said: Fields = {"role": "user", "content": f"question {number}"}
                    body: Fields = {"model": "m", "messages": [said]}
                    await main.complete(Request(body=body, max_tokens=20, inputs={}))
                    done.append(time.perf_counter() - started)

            started = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(worker())
            refused = main.stats.rate_limited
        await ledger.close()
    return done, refused


def paced(rows: int) -> None:
    """A table of what was used of 600 requests a minute."""
    print(f"{rows} rows, {A_MINUTE} requests a minute, {LATENCY_S} s an answer\n")
    print("| bucket | requests_per_minute | seconds | used of the allowance | 429s/row |")
    print("|---|---|---|---|---|")
    for burst_s in (60, 1):
        for stated in (None, A_MINUTE):
            options = ["--requests-per-minute", str(A_MINUTE), "--burst", str(burst_s)]
            with in_process(*options, "--latency", str(LATENCY_S)) as teacher:
                settings = {"requests_per_minute": stated}
                done, refused = asyncio.run(answers_at(teacher.url, rows, settings))
            seconds = done[-1]
            allowed = A_MINUTE * (burst_s + seconds - LATENCY_S) / 60
            print(
                f"| {burst_s} s | {stated or 'not stated'} | {seconds:.1f} |"
                f" {min(1.0, rows / allowed):.1%} | {refused / rows:.4f} |",
                flush=True,
            )


def swept(rows: int, cap: int) -> None:
    """A table of rates against a server that works on `cap` at once."""
    print(f"\na server that works on {cap} at once, {LATENCY_S} s each; the others wait in it\n")
    print("| concurrency | answers/s | answers/s, second half |")
    print("|---|---|---|")
    best = 0.0
    for concurrency in (*FIXED, "auto"):
        some = rows if concurrency == "auto" else rows // 2
        with in_process("--concurrency", str(cap), "--latency", str(LATENCY_S)) as teacher:
            done, _ = asyncio.run(answers_at(teacher.url, some, {"concurrency": concurrency}))
        half = len(done) // 2
        rate = (len(done) - half) / (done[-1] - done[half - 1])
        print(f"| {concurrency} | {len(done) / done[-1]:.1f} | {rate:.1f} |", flush=True)
        if concurrency == "auto":
            print(f"\nauto: {rate / best:.1%} of the best fixed number", flush=True)
        best = max(best, rate)


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 1_200
    paced(asked)
    for each in CAPS:
        swept(max(asked, 20 * each), each)
