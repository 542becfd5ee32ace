"""Laws of the stream: everything arrives, the bound holds, errors cancel and close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import BudgetReached, UserError
from synthkd.flow import Emit, Stage, from_thread, pour, streamed


class Source:
    """Counts what was pulled, and remembers whether it was closed."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.pulled = 0
        self.closed = False

    async def items(self, batch: int = 1) -> AsyncGenerator[list[int], None]:
        try:
            for start in range(0, self.n, batch):
                taken = list(range(start, min(self.n, start + batch)))
                self.pulled += len(taken)
                yield taken
        finally:
            self.closed = True


async def hops(count: int) -> None:
    """Let others run that many times: a latency without a clock."""
    for _ in range(count):
        await asyncio.sleep(0)


@given(
    n=st.integers(0, 60),
    stages=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 5)), max_size=3),
    latencies=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    batch=st.integers(1, 5),
)
def test_everything_arrives_and_no_more_is_held_than_promised(
    n: int, stages: list[tuple[int, int]], latencies: list[int], batch: int
) -> None:
    source = Source(n)
    arrived: list[int] = []
    bound = batch + (sum(in_flight + buffer for in_flight, buffer in stages) or 1)
    worst = 0

    def look() -> None:
        nonlocal worst
        worst = max(worst, source.pulled - len(arrived))

    async def work(item: int, emit: Emit[int]) -> None:
        look()
        await hops(latencies[item % len(latencies)])
        await emit(item)

    async def sink(item: int) -> None:
        await hops(latencies[-1])
        look()
        arrived.append(item)

    async def main() -> None:
        made = [Stage(work=work, in_flight=k, buffer=b) for k, b in stages]
        await pour(source.items(batch), made, sink)

    asyncio.run(main())
    assert sorted(arrived) == list(range(n))
    assert worst <= bound
    assert source.closed or n == 0


async def test_a_stuck_sink_stops_the_source() -> None:
    source = Source(10_000)
    stuck = asyncio.Event()

    async def work(item: int, emit: Emit[int]) -> None:
        await emit(item)

    async def sink(item: int) -> None:
        await stuck.wait()

    stages = [Stage(work=work, in_flight=4, buffer=3), Stage(work=work, in_flight=2, buffer=5)]
    task = asyncio.create_task(pour(source.items(), stages, sink))
    await hops(2_000)
    assert source.pulled <= 1 + 4 + 3 + 2 + 5
    stuck.set()
    await task
    assert source.pulled == 10_000


async def test_fan_out_and_nothing() -> None:
    arrived: list[int] = []

    async def work(item: int, emit: Emit[int]) -> None:
        for _ in range(item % 3):
            await emit(item)

    async def sink(item: int) -> None:
        arrived.append(item)

    await pour(Source(9).items(), [Stage(work=work, in_flight=3)], sink)
    assert sorted(arrived) == [1, 2, 2, 4, 5, 5, 7, 8, 8]


@pytest.mark.parametrize("where", ["source", "work", "sink"])
async def test_an_error_comes_out_as_itself_cancels_siblings_and_closes_the_source(
    where: str,
) -> None:
    source = Source(1_000)
    started: set[int] = set()
    ended: set[int] = set()

    async def items() -> AsyncGenerator[list[int], None]:
        async with aclosing(source.items()) as inner:
            async for batch in inner:
                if where == "source" and batch == [20]:
                    raise ValueError("boom")
                yield batch  # noqa: ASYNC119  pour closes this generator

    async def work(item: int, emit: Emit[int]) -> None:
        started.add(item)
        try:
            if where == "work" and item == 20:
                raise ValueError("boom")
            await hops(item % 5)
            await emit(item)
        finally:
            ended.add(item)

    async def sink(item: int) -> None:
        if where == "sink" and item == 20:
            raise ValueError("boom")

    stages = [Stage(work=work, in_flight=8), Stage(work=work, in_flight=2, buffer=4)]
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="boom"):
        await pour(items(), stages, sink)
    assert started == ended
    assert source.pulled <= 21 + 1 + 8 + 4 + 2
    assert asyncio.all_tasks() == before
    assert source.closed


async def test_a_bug_is_shown_before_a_mistake_and_a_mistake_before_a_stop() -> None:
    async def first(errors: list[Exception]) -> Exception:
        async def work(item: int, emit: Emit[int]) -> None:
            await asyncio.sleep(0)
            raise errors[item]

        async def sink(item: int) -> None:
            raise AssertionError("nothing reaches the sink")

        stage = Stage(work=work, in_flight=len(errors))
        try:
            await pour(Source(len(errors)).items(), [stage], sink)
        except Exception as error:  # noqa: BLE001  whatever comes out is what is tested
            return error
        raise AssertionError("no error came out")

    stop, mistake, bug = BudgetReached("stop"), UserError("mistake"), KeyError("bug")
    assert await first([stop, mistake, bug]) is bug
    assert await first([stop, mistake]) is mistake


async def test_from_thread_keeps_order_and_closes() -> None:
    closed = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(1_000)
        finally:
            closed.append(True)

    batches = [batch async for batch in from_thread(numbers(), batch=7)]
    assert [item for batch in batches for item in batch] == list(range(1_000))
    assert {len(batch) for batch in batches[:-1]} == {7}
    stream = from_thread(numbers(), batch=7)
    assert await anext(stream) == list(range(7))
    await stream.aclose()
    assert closed == [True, True]


async def test_a_stream_left_early_cancels_its_producer() -> None:
    cancelled = asyncio.Event()

    async def run(emit: Emit[int]) -> None:
        try:
            for i in range(10_000):
                await emit(i)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    stream = streamed(run, buffer=3)
    assert [await anext(stream), await anext(stream)] == [0, 1]
    await stream.aclose()
    assert cancelled.is_set()


async def test_a_stream_passes_the_producers_error_on() -> None:
    async def run(emit: Emit[int]) -> None:
        await emit(1)
        raise BudgetReached("enough")

    seen = []
    stream = streamed(run)
    seen.append(await anext(stream))
    with pytest.raises(BudgetReached):
        await anext(stream)
    assert seen == [1]
