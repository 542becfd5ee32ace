"""How near `concurrency: auto` comes to the best fixed number, on a real vLLM server.

    python tests/bench/bench_vllm.py [ROWS [TIMES]]      # 2,000 and 3 by default: some ten minutes

A tiny model on the CPU (tests/vllm/tiny_model.py) is asked the same prompts with each fixed number
and with `auto`, in turns, through the whole stack with its ledger. Client and server share the
cores, so a rate is the median of several turns. The same prompts through vLLM's own offline
`LLM.generate` are told beside it. Without an environment with vLLM (`make test-vllm` makes it) it
says so and measures nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import SynthkdError
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.open import open_teachers
from synthkd.teachers.request import Request
from tests.vllm.server import MODEL, served

ROOT = Path(__file__).parent.parent.parent
FIXED = (1, 2, 4, 8, 16, 32, 64, 128, 256)
AT_ONCE = 1024
"""Rows in the step."""
MAX_TOKENS = 200
GOAL = 0.95
LEAST_S = 6.0
"""A fixed number is asked for so long at least, and `auto` through all rows."""


def question(number: int) -> str:
    """A short one, different for each row."""
    return f"Where is my parcel number {number}? The order was of the {number % 28}th."


async def rate_of(url: str, rows: int, concurrency: int | str) -> tuple[float, float, int]:
    """Answers a second over all, and over the second half; and the slots at the end."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger(Path(folder) / "ledger.sqlite")
        block = {"endpoint": url, "model": MODEL, "concurrency": concurrency}
        config = TeacherConfig.model_validate({**block, "params": {"max_tokens": MAX_TOKENS}})
        done: list[float] = []
        async with open_teachers(
            {"main": config}, base=Path(), ledger=ledger, run_id="r", budget=BudgetConfig()
        ) as gateway:
            main = gateway.teachers["main"]
            numbers = iter(range(rows))

            async def worker() -> None:
                for number in numbers:
                    said: Fields = {"role": "user", "content": question(number)}
                    body: Fields = {"model": MODEL, "messages": [said], "seed": number}
                    request = Request(body=body, max_tokens=MAX_TOKENS, inputs={})
                    await main.complete(request)
                    done.append(time.perf_counter() - started)

            started = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(worker())
            found = main.stats.concurrency
            slots = found.limit if found is not None else int(concurrency)
        await ledger.close()
    half = len(done) // 2
    return len(done) / done[-1], (len(done) - half) / (done[-1] - done[half - 1]), slots


def swept(url: str, rows: int, times: int) -> float:
    """A table of rates, in turns; the best one of a fixed number."""
    asyncio.run(rate_of(url, 200, 64))  # the server is warm
    whole: dict[int | str, list[float]] = {each: [] for each in (*FIXED, "auto")}
    later: dict[int | str, list[float]] = {each: [] for each in whole}
    slots: list[int] = []
    for turn in range(times):
        order = list(whole)
        order = order[turn % len(order) :] + order[: turn % len(order)]
        for each in order if turn % 2 == 0 else order[::-1]:
            known = whole[each] or [25.0 * min(int(each), 8) if each != "auto" else 0.0]
            some = rows if each == "auto" else min(rows, max(100, int(LEAST_S * known[0])))
            first, second, at = asyncio.run(rate_of(url, some, each))
            print(f"turn {turn}: {each} -> {first:.1f}/s, {at} slots", file=sys.stderr, flush=True)
            whole[each].append(first)
            later[each].append(second)
            if each == "auto":
                slots.append(at)
    print("| concurrency | answers/s | second half | least to most |")
    print("|---|---|---|---|")
    for each, rates in whole.items():
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(
            f"| {each} | {statistics.median(rates):.1f} | {statistics.median(later[each]):.1f} |"
            f" {spread} |"
        )
    best = max(statistics.median(whole[each]) for each in FIXED)
    for name, rates in (("over all rows", whole["auto"]), ("second half", later["auto"])):
        share = statistics.median(rates) / best
        print(f"auto, {name}: {share:.1%} of the best fixed number (goal {GOAL:.0%})")
    print(f"auto ended with {', '.join(map(str, slots))} in the air", flush=True)
    return best


def offline(python: Path, model: Path, rows: int, best: float) -> None:
    """What vLLM makes of the same prompts by itself, for information: the goal is for a GPU."""
    asked = {"model": str(model), "max_tokens": MAX_TOKENS}
    asked |= {"questions": [question(number) for number in range(rows)]}
    script = Path(__file__).with_name("vllm_offline.py")
    reply = subprocess.run(
        [python, script], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    [told] = [line for line in reply.stdout.splitlines() if line.startswith('{"seconds"')]
    rate = rows / float(json.loads(told)["seconds"])
    print(
        f"vLLM offline, both cores for itself: {rate:.1f} answers/s;"
        f" the best fixed number over HTTP has {best / rate:.1%} of it",
        flush=True,
    )


def main(arguments: Sequence[str]) -> None:
    """Measure, or say why not."""
    named = os.environ.get("SYNTHKD_VLLM_PYTHON")
    python = Path(named) if named else ROOT / ".venv-vllm" / "bin" / "python"
    if not python.exists():
        print(f"skipped: no vLLM at {python}; `make test-vllm` installs it")
        return
    rows = int(arguments[0]) if arguments else 2_000
    times = int(arguments[1]) if len(arguments) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / MODEL
        subprocess.run([python, ROOT / "tests/vllm/tiny_model.py", model], check=True)
        print(f"\na tiny model on vLLM, CPU; {rows} rows for auto; {times} turns\n", flush=True)
        log = Path(folder) / "server.log"
        # A prompt that was asked before would be cheaper than a new one.
        with served(python, model, log, "--no-enable-prefix-caching") as server:
            try:
                best = swept(server.url, rows, times)
            except* SynthkdError:
                lines = log.read_text(errors="replace").splitlines()
                print("\n".join([line for line in lines if "ERROR" in line][:60]))  # it died
                raise
        offline(python, model, min(rows, 1_000), best)


if __name__ == "__main__":
    main(sys.argv[1:])
