from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from synthkd.errors import (
    AttemptFailed,
    BudgetReached,
    RequestRefused,
    TeacherRefused,
    Unanswered,
)
from synthkd.teachers.layers import Limited, Retrying
from synthkd.teachers.limits import Limits
from synthkd.teachers.request import Completion, Request
from tests.teachers.acting import Acting, Playing, ask, said
from tests.virtual_time import run_virtually

# ------------------------------------------------------------------------------------ Retrying


def failed(wait_s: float | None = None, maybe_billed: bool = False) -> AttemptFailed:
    return AttemptFailed("HTTP 429: busy", wait_s=wait_s, maybe_billed=maybe_billed, status=429)


async def slept(*outcomes: BaseException, max_attempts: int = 6) -> list[float]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    layer = Retrying(
        Playing(*outcomes), max_attempts=max_attempts, sleep=sleep, rng=random.Random(1)
    )
    assert (await layer.complete(ask())).text == "fine"
    return waits


async def test_retry_after_is_obeyed_and_else_the_wait_doubles() -> None:
    assert await slept() == []
    assert await slept(failed(30), failed(0.25)) == [30, 0.25]
    waits = await slept(*[failed()] * 5)
    assert len(waits) == 5
    for wait_s, longest_s in zip(waits, (1, 2, 4, 8, 16), strict=True):
        assert longest_s / 2 <= wait_s <= longest_s


async def test_when_the_attempts_are_used_up_the_row_fails() -> None:
    layer = Retrying(teacher := Playing(*[failed(0)] * 9), max_attempts=3)
    with pytest.raises(
        Unanswered, match=r"no answer after 3 attempts; the last failed: HTTP 429: busy\. Running"
    ):
        await layer.complete(ask())
    assert len(teacher.asked) == 3


async def test_a_single_attempt() -> None:
    layer = Retrying(teacher := Playing(failed(0)), max_attempts=1)
    with pytest.raises(Unanswered, match="after 1 attempts"):
        await layer.complete(ask())
    assert len(teacher.asked) == 1


async def test_a_wait_that_is_too_long_stops_the_run() -> None:
    layer = Retrying(Playing(failed(86_400)), max_attempts=6)
    with pytest.raises(TeacherRefused, match="too long to wait for: run again then, everything"):
        await layer.complete(ask())


async def test_a_wait_that_is_too_long_while_others_are_answered_costs_one_row() -> None:
    async def attempt(request: Request) -> Completion:
        await asyncio.sleep(0 if request.sample else 0.001)
        if request.sample == 0:
            raise failed(86_400)
        return said("fine")

    layer = Retrying(Acting(attempt), max_attempts=6)
    unlucky = asyncio.create_task(layer.complete(ask(sample=0)))
    assert (await layer.complete(ask(sample=1))).text == "fine"
    with pytest.raises(Unanswered, match="after 1 attempts"):
        await unlucky


@pytest.mark.parametrize(
    "error", [RequestRefused(400, "no"), TeacherRefused("no"), BudgetReached("no"), KeyError("x")]
)
async def test_nothing_else_is_retried(error: Exception) -> None:
    layer = Retrying(teacher := Playing(error), max_attempts=6)
    with pytest.raises(type(error)):
        await layer.complete(ask())
    assert len(teacher.asked) == 1


# ------------------------------------------------------------------------------------ together


def test_what_waits_to_retry_holds_no_slot() -> None:
    """200 calls of 1 s in 8 slots, every fifth answered 429 and 30 s: 63 s instead of 188 s.

    It would be 56 s, if an order to wait did not hold back the others until somebody is answered.
    """
    numbers = itertools.count(1)

    async def attempt(_: Request) -> Completion:
        number = next(numbers)
        await asyncio.sleep(1)
        if number <= 200 and number % 5 == 0:
            raise failed(30)
        return said("fine")

    async def work() -> None:
        layer = Retrying(Limited(Acting(attempt), Limits(8)), max_attempts=3)
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(layer.complete(ask(str(number))))

    _, took_s = run_virtually(work())
    assert 30 <= took_s <= 70
