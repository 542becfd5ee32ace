"""How near `concurrency: auto` comes to the best fixed number, on a real vLLM server.

    python tests/bench/bench_vllm.py [ROWS [TIMES]]      # 2,000 and 3 by default: some ten minutes

A tiny model on the CPU (tests/vllm/tiny_model.py) is asked the same prompts with each fixed number
and with `auto`, in turns, through the whole stack with its ledger. Client and server share the
cores, so a rate is the median of several turns; where other work shares them too, answers for each
CPU second of the server are the steadier figure. The same prompts through vLLM's own offline
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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import SynthkdError
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.teachers.request import Request
from tests.vllm.server import MODEL, Served, served

ROOT = Path(__file__).parent.parent.parent
FIXED = (1, 2, 4, 8, 16, 32, 64, 128, 256)
AT_ONCE = 1024
"""Rows in the step."""
MAX_TOKENS = 200
GOAL = 0.95
BLOCK = 600
"""Questions of a block: some seconds, in which other work on the machine changes little."""
LEAST_S = 4.0
"""A fixed number is asked for so long at least, and `auto` through all rows."""


def question(number: int) -> str:
    """A short one, different for each row."""
    return f"Where is my parcel number {number}? The order was of the {number % 28}th."


class Asking:
    """One teacher with one number, or `auto`, and its ledger."""

    def __init__(self, teacher: OpenTeacher) -> None:
        self.teacher = teacher
        self.asked = 0

    async def block(self, rows: int) -> list[float]:
        """Ask so many new questions; seconds to each answer."""
        numbers = iter(range(self.asked, self.asked + rows))
        self.asked += rows
        done: list[float] = []
        started = time.perf_counter()

        async def worker() -> None:
            for number in numbers:
                said: Fields = {"role": "user", "content": question(number)}
                body: Fields = {"model": MODEL, "messages": [said], "seed": number}
                request = Request(body=body, max_tokens=MAX_TOKENS, inputs={})
                await self.teacher.complete(request)
                done.append(time.perf_counter() - started)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
        return done

    @property
    def slots(self) -> int:
        """How many may be in the air now."""
        found = self.teacher.stats.concurrency
        return self.teacher.concurrency if found is None else found.limit


@asynccontextmanager
async def asking(url: str, concurrency: int | str) -> AsyncIterator[Asking]:
    """Open it, with a ledger that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger(Path(folder) / "ledger.sqlite")
        block = {"endpoint": url, "model": MODEL, "concurrency": concurrency}
        config = TeacherConfig.model_validate({**block, "params": {"max_tokens": MAX_TOKENS}})
        async with open_teachers(
            {"main": config}, base=Path(), ledger=ledger, run_id="r", budget=BudgetConfig()
        ) as gateway:
            yield Asking(gateway.teachers["main"])
        await ledger.close()


async def rate_of(url: str, rows: int, concurrency: int | str) -> tuple[float, float, int]:
    """Answers a second over all, and over the second half; and the slots at the end."""
    async with asking(url, concurrency) as main:
        done = await main.block(rows)
        half = len(done) // 2
        return len(done) / done[-1], (len(done) - half) / (done[-1] - done[half - 1]), main.slots


async def in_pairs(url: str, times: int) -> None:
    """`auto`, once it has settled, against fixed numbers in blocks of seconds, one by one."""
    print("\n| concurrency | auto has of its rate, median of the pairs | least to most |")
    print("|---|---|---|")
    async with asking(url, "auto") as auto:
        await auto.block(4 * BLOCK)
        for fixed in FIXED[-5:]:
            shares: list[float] = []
            async with asking(url, fixed) as other:
                for turn in range(times):
                    order = (auto, other) if turn % 2 else (other, auto)
                    took_s = {each: (await each.block(BLOCK))[-1] for each in order}
                    shares.append(took_s[other] / took_s[auto])
            middle, spread = statistics.median(shares), f"{min(shares):.0%} to {max(shares):.0%}"
            print(f"| {fixed} | {middle:.0%} | {spread} |", flush=True)


def swept(server: Served, rows: int, times: int) -> float:
    """A table of rates, in turns; the best one of a fixed number."""
    asyncio.run(rate_of(server.url, 200, 64))  # the server is warm
    whole: dict[int | str, list[float]] = {each: [] for each in (*FIXED, "auto")}
    later: dict[int | str, list[float]] = {each: [] for each in whole}
    frugal: dict[int | str, list[float]] = {each: [] for each in whole}
    slots: list[int] = []
    for turn in range(times):
        order = list(whole)
        order = order[turn % len(order) :] + order[: turn % len(order)]
        for each in order if turn % 2 == 0 else order[::-1]:
            known = whole[each] or [25.0 * min(int(each), 8) if each != "auto" else 0.0]
            some = rows if each == "auto" else min(rows, max(100, int(LEAST_S * known[0])))
            before_s = server.cpu_s()
            first, second, at = asyncio.run(rate_of(server.url, some, each))
            frugal[each].append(some / (server.cpu_s() - before_s))
            print(
                f"turn {turn}: {each} -> {first:.1f}/s, {frugal[each][-1]:.1f} a CPU second,"
                f" {at} in the air",
                file=sys.stderr,
                flush=True,
            )
            whole[each].append(first)
            later[each].append(second)
            if each == "auto":
                slots.append(at)
    print("| concurrency | answers/s | second half | least to most | answers a CPU second |")
    print("|---|---|---|---|---|")
    for each, rates in whole.items():
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(
            f"| {each} | {statistics.median(rates):.1f} | {statistics.median(later[each]):.1f} |"
            f" {spread} | {statistics.median(frugal[each]):.1f} |"
        )
    best = max(statistics.median(whole[each]) for each in FIXED)
    for name, rates in (("over all rows", whole["auto"]), ("second half", later["auto"])):
        share = statistics.median(rates) / best
        print(f"auto, {name}: {share:.1%} of the best fixed number (goal {GOAL:.0%})")
    thrifty = max(statistics.median(frugal[each]) for each in FIXED)
    share = statistics.median(frugal["auto"]) / thrifty
    print(f"auto, answers a CPU second of the server: {share:.1%} of the best fixed number")
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
                best = swept(server, rows, times)
                asyncio.run(in_pairs(server.url, 2 * times + 1))
            except* SynthkdError:
                lines = log.read_text(errors="replace").splitlines()
                print("\n".join([line for line in lines if "ERROR" in line][:60]))  # it died
                raise
        offline(python, model, min(rows, 1_000), best)


if __name__ == "__main__":
    main(sys.argv[1:])
