"""A program that asks through the whole stack, so that tests can kill it.

python driver.py URL LEDGER QUESTIONS IN_FLIGHT TOKENS    (TOKENS 0 = no budget)
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import BudgetReached
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.teachers.open import open_teachers
from synthkd.teachers.request import Request


async def main(url: str, path: str, questions: int, in_flight: int, tokens: int) -> None:
    ledger = SqliteLedger(Path(path))
    config = TeacherConfig(
        endpoint=url,
        model="m",
        served_by="provider",
        concurrency=in_flight,
        max_attempts=9,
        params={"max_tokens": 20},
    )

    async def quickly(_: float) -> None:
        await asyncio.sleep(0.001)

    async with open_teachers(
        {"main": config},
        base=Path(),
        ledger=ledger,
        run_id="the run",
        budget=BudgetConfig(tokens=tokens or None),
        sleep=quickly,
    ) as gateway:
        teacher = gateway.teachers["main"]
        numbers = iter(range(questions))

        async def worker() -> None:
            for number in numbers:
                messages = [{"role": "user", "content": f"question {number}"}]
                body = {"model": teacher.model, "messages": messages, **teacher.params}
                await teacher.complete(Request(body=body, max_tokens=teacher.max_tokens, inputs={}))

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(worker())
    await ledger.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
    except* BudgetReached:
        sys.exit(BudgetReached.exit_code)
