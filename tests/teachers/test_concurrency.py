"""`concurrency: auto` against servers on the virtual clock: at least 95 % of the best fixed one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from synthkd.teachers.concurrency import CEILING, FULL_CACHE, START, Adaptive, Load
from synthkd.teachers.limits import Limits
from synthkd.teachers.load import POLL_S
from tests.teachers.virtual_servers import (
    Caching,
    Server,
    Service,
    asked,
    constant,
    crowded,
    jittered,
    rate_of,
    varied,
)
from tests.virtual_time import run_virtually

QUEUES: dict[str, tuple[int, Service]] = {
    "a server for one": (1, constant(1.0)),
    "four, equal answers": (4, constant(1.0)),
    "four, unequal answers": (4, varied(1.0)),
    "thirty": (30, varied(1.0)),
    "a hundred": (100, varied(0.5)),
    "four hundred": (400, varied(0.2)),
    "a GPU that is soon full": (100, crowded(0.5, 8)),
    "a GPU with room": (1000, crowded(0.5, 200)),
}


def best_fixed(make: Callable[[], Server], rows: int) -> float:
    """The best rate of a sweep."""
    return max(rate_of(fixed, make, rows) for fixed in (1, 4, 16, 32, 64, 128, 256, 512, 1024))


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", QUEUES)
def test_a_server_that_queues_gets_what_it_can_take(name: str) -> None:
    cap, service_s = QUEUES[name]
    rows = max(2000, 40 * min(cap, 400))

    def make() -> Server:
        return Server(cap, service_s)

    auto = rate_of(Adaptive(), make, rows, skip=rows // 2)
    assert auto >= 0.95 * best_fixed(make, rows // 2)


@pytest.mark.parametrize("cap", [8, 50, 300])
def test_a_server_that_refuses_gets_what_it_can_take(cap: int) -> None:
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server(cap, constant(1.0), refuses=True))
        return servers[-1]

    rows = 16_000
    auto = rate_of(Adaptive(), make, rows, skip=rows // 4)
    assert auto >= 0.95 * cap
    assert servers[0].refused <= 0.1 * rows, "most of them when it grew too far, once"


def test_a_few_faults_do_not_slow_it_down() -> None:
    rows = 16_000
    auto = rate_of(Adaptive(), lambda: Server(2000, varied(1.0), faults=0.06), rows, skip=8000)
    assert auto >= 0.85 * CEILING


def test_a_server_that_takes_anything_is_soon_asked_all_it_may_be() -> None:
    """20,000 rows at 200 ms, the start included: at least 90 % of the rate with all in the air."""

    def took_s(limits: Limits) -> float:
        async def work() -> None:
            await asked(limits, Server(10**6, jittered(0.2)), 20_000)

        return run_virtually(work())[1]

    assert took_s(Limits(Adaptive())) <= took_s(Limits(CEILING)) / 0.9


def test_it_halves_once_a_round_trip_and_comes_back() -> None:
    auto = Adaptive()
    grow(auto, 0.0, 1)
    before = auto.limit
    assert before > START
    for _ in range(50):  # all of them had left before the first 429 came
        auto.failed(10.0, left_at=9.5, status=429)
    assert auto.limit == before // 2
    auto.failed(11.0, left_at=10.5, status=429)
    assert auto.limit == before // 4
    grow(auto, 12.0, 4)
    assert before // 4 < auto.limit < before // 2


def test_single_faults_do_not_halve_but_many_do() -> None:
    auto = Adaptive()
    auto.failed(1.0, left_at=0.5, status=500)
    assert auto.limit == START
    for _ in range(3):
        auto.failed(1.0, left_at=0.5, status=None)
    assert auto.limit == START // 2


def test_without_demand_it_stays() -> None:
    auto = Adaptive()
    for number in range(1000):
        auto.answered(number * 0.01, left_at=number * 0.01 - 0.2)
    assert auto.limit == START


def test_what_waits_inside_the_server_is_too_much() -> None:
    auto = Adaptive()
    grow(auto, 0.0, 2)
    before = auto.limit
    told(auto, 50.0, Load(running=before - 30.0, waiting=0.0))
    assert auto.limit == before, "growing goes on by itself"
    told(auto, 51.0, Load(running=before - 200.0, waiting=200.0))
    assert before - 200 <= auto.limit < before
    for _ in range(20):
        told(auto, 52.0, Load(running=1.0, waiting=1000.0))
    assert auto.limit == 1


def through(auto: Adaptive, load: Load, answers: int = 40_000) -> list[int]:
    """The limits that it goes through with a server that takes anything and says this of itself."""
    limits = [auto.limit]
    for number in range(answers):
        now = 100 + number * 1.0 / auto.limit
        if number % 50 == 0:
            auto.told_load(load)
        auto.pressed = True
        auto.answered(now, left_at=now - 1.0)
        if auto.limit != limits[-1]:
            limits.append(auto.limit)
    return limits


@pytest.mark.parametrize(
    "load",
    [
        Load(running=16, waiting=0, cache_use=FULL_CACHE),
        Load(running=16, waiting=0, cache_use=0.5, preempted=1),
    ],
    ids=["a full cache", "preemptions"],
)
def test_it_does_not_grow_while_the_cache_has_no_room(load: Load) -> None:
    auto = Adaptive()
    assert max(through(auto, load)) == START
    assert max(through(auto, Load(running=16, waiting=0, cache_use=0.5))) > START


def test_what_is_preempted_in_a_try_of_more_ends_it() -> None:
    auto = Adaptive()
    for load in (Load(running=9, waiting=0, cache_use=0.95), Load(running=9, waiting=0)):
        auto.told_load(load)
        before = auto.limit
        for number in range(9999):
            if auto.limit > before:
                break
            auto.pressed = True
            auto.answered(100 + number * 0.1, left_at=99 + number * 0.1)
    assert auto.limit == START + START // 4
    told(auto, 5000.0, Load(running=9, waiting=0, preempted=2))
    assert auto.limit == START


def test_the_cache_of_a_server_gets_what_it_can_take_and_overflows_less() -> None:
    """At least 95 % of the best fixed number; less than half of the preemptions without a gauge."""
    rows = 8000

    def rate(concurrency: Adaptive | int, *, gauge: bool = True) -> tuple[float, int]:
        """Answers a second, and preemptions."""

        async def work() -> tuple[float, int]:
            gpu = Caching(8000)
            limits = Limits(concurrency)

            async def look() -> None:
                before = 0.0
                while True:
                    await asyncio.sleep(POLL_S)
                    load = gpu.load
                    risen, before = load.preempted - before, load.preempted
                    blind = Load(running=load.running, waiting=load.waiting)
                    seen = replace(load, preempted=risen) if gauge else blind
                    limits.concurrency.told_load(seen)

            looking = asyncio.create_task(look())
            try:
                return await asked(limits, gpu, rows, rows // 3), gpu.preempted
            finally:
                looking.cancel()

        return run_virtually(work())[0]

    best = max(rate(fixed)[0] for fixed in (32, 40, 48, 64))
    auto, preempted = rate(Adaptive())
    assert auto >= 0.95 * best
    assert preempted < rate(Adaptive(), gauge=False)[1] / 2


def told(auto: Adaptive, now: float, load: Load) -> None:
    """The server says its load; it is heeded with the next answer."""
    auto.told_load(load)
    auto.answered(now, left_at=now - 0.5)


def grow(auto: Adaptive, now: float, rounds: int) -> None:
    """Answers of a server that takes anything in half a second."""
    for number in range(rounds):
        auto.pressed = True
        left_at = now + number
        for _ in range(auto.limit):
            auto.answered(left_at + 0.5, left_at=left_at)
