from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.teachers.limits import Limits
from synthkd.teachers.pace import LATENESS_S, WAY_S
from tests.virtual_time import run_virtually

# ------------------------------------------------------------------------------------ slots


async def test_the_later_step_is_served_first_then_the_earlier_comer() -> None:
    limits = Limits(1)
    served: list[str] = []

    async def worker(name: str, rank: int) -> None:
        ticket = await limits.enter(rank)
        served.append(name)
        await asyncio.sleep(0)
        limits.leave(ticket)

    ticket = await limits.enter(0)
    async with asyncio.TaskGroup() as group:
        for name, rank in [("a0", 0), ("b0", 0), ("c2", 2), ("d1", 1), ("e2", 2)]:
            group.create_task(worker(name, rank))
        await asyncio.sleep(0)
        assert served == []
        limits.leave(ticket)
    assert served == ["c2", "e2", "d1", "a0", "b0"]
    assert limits.in_use == 0


@given(
    slots=st.integers(1, 5),
    jobs=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5), st.floats(0, 9)), max_size=30),
)
def test_never_more_than_the_slots_and_none_is_lost_by_cancelling(
    slots: int, jobs: list[tuple[int, float, float]]
) -> None:
    async def work() -> tuple[int, int]:
        limits = Limits(slots)
        most = 0

        async def job(rank: int, takes_s: float) -> None:
            nonlocal most
            ticket = await limits.enter(rank)
            try:
                most = max(most, limits.in_use)
                await asyncio.sleep(takes_s)
            finally:
                limits.leave(ticket)

        tasks = []
        for rank, takes_s, cancelled_at in jobs:
            tasks.append(asyncio.create_task(job(rank, takes_s)))
            asyncio.get_running_loop().call_later(cancelled_at, tasks[-1].cancel)
        if tasks:
            await asyncio.wait(tasks)
        return most, limits.in_use

    (most, left), _ = run_virtually(work())
    assert most <= slots
    assert left == 0


# ------------------------------------------------------------------------------------ paces


async def starts(limits: Limits, amounts: list[float], arrivals: list[float]) -> list[float]:
    """When each one started, on the virtual clock."""
    loop = asyncio.get_running_loop()
    when: list[float] = []

    async def job(amount: float, arrival: float) -> None:
        await asyncio.sleep(arrival)
        ticket = await limits.enter(0, amount)
        when.append(loop.time())
        limits.leave(ticket)

    async with asyncio.TaskGroup() as group:
        for amount, arrival in zip(amounts, arrivals, strict=True):
            group.create_task(job(amount, arrival))
    return when


def most_in_a_minute(when: list[float], amounts: list[float]) -> float:
    return max(
        sum(a for w, a in zip(when, amounts, strict=True) if start <= w < start + 59.999)
        for start in when
    )


@settings(max_examples=50)
@given(
    per_minute=st.integers(1, 40),
    arrivals=st.lists(st.floats(0, 200), min_size=1, max_size=60),
)
def test_no_minute_has_more_requests_than_allowed(per_minute: int, arrivals: list[float]) -> None:
    limits = Limits(1000, requests_per_minute=per_minute)
    when, _ = run_virtually(starts(limits, [0.0] * len(arrivals), arrivals))
    assert most_in_a_minute(when, [1.0] * len(when)) <= per_minute


@settings(max_examples=50)
@given(per_minute=st.integers(50, 500), count=st.integers(1, 40), amount=st.integers(1, 50))
def test_no_minute_has_more_tokens_than_allowed(per_minute: int, count: int, amount: int) -> None:
    limits = Limits(1000, tokens_per_minute=per_minute)
    amounts = [float(amount)] * count
    when, _ = run_virtually(starts(limits, amounts, [0.0] * count))
    assert most_in_a_minute(when, amounts) <= per_minute


def test_a_pace_is_even_from_the_start_and_not_slower_than_allowed() -> None:
    limits = Limits(1000, requests_per_minute=60)
    when, _ = run_virtually(starts(limits, [0.0] * 121, [0.0] * 121))
    assert when == pytest.approx(range(121), abs=LATENESS_S + 2 * WAY_S)


def test_one_that_is_larger_than_a_minute_goes_alone_instead_of_never() -> None:
    limits = Limits(1000, tokens_per_minute=100)
    when, _ = run_virtually(starts(limits, [250.0, 10.0], [0.0, 1.0]))
    assert when == pytest.approx([0, 150], abs=LATENESS_S + 0.01)
