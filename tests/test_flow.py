"""Laws of the stream: everything arrives, the bound holds, errors cancel and close."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import BudgetReached, UserError
from synthkd.flow import Emit, Stage, from_thread, in_thread, pour, streamed


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


class Blocking:
    """A blocking iterator: gives `ready` items, then waits for `go`, then gives one more."""

    def __init__(self, ready: int) -> None:
        self.ready = ready
        self.waits, self.go = threading.Event(), threading.Event()
        self.running = False
        self.closed: str | None = None

    def items(self) -> Iterator[int]:
        try:
            yield from range(self.ready)
            self.running = True
            self.waits.set()
            assert self.go.wait(timeout=20)
            self.running = False
            yield self.ready
            yield from range(self.ready + 1, 1_000_000)
        finally:
            self.closed = "under the thread" if self.running else "after it"


def released(blocking: Blocking) -> threading.Thread:
    """Lets the iterator go on once it waits and everybody had the time to leave it."""

    def release() -> None:
        assert blocking.waits.wait(timeout=20)
        threading.Event().wait(0.05)  # a wrong implementation closes the iterator meanwhile
        blocking.go.set()

    thread = threading.Thread(target=release)
    thread.start()
    return thread


@pytest.mark.parametrize("way", ["error", "timeout", "cancel"])
async def test_leaving_while_the_source_blocks_waits_for_it_and_shows_the_true_cause(
    way: str,
) -> None:
    blocking = Blocking(ready=2)

    async def work(item: int, emit: Emit[int]) -> None:
        if way == "error":
            while not blocking.waits.is_set():  # noqa: ASYNC110  it is a thread's event
                await asyncio.sleep(0)
            raise BudgetReached("the true cause")

    async def sink(item: int) -> None:
        raise AssertionError("nothing is emitted")

    async def main() -> None:
        source = from_thread(blocking.items(), batch=1 if way == "error" else 64)
        async with asyncio.timeout(0.01 if way == "timeout" else None):
            await pour(source, [Stage(work=work, in_flight=3)], sink)

    thread = released(blocking)
    task = asyncio.create_task(main())
    if way == "cancel":
        while not blocking.waits.is_set():  # noqa: ASYNC110  it is a thread's event
            await asyncio.sleep(0)
        task.cancel()
        await hops(3)
        task.cancel()  # impatience changes nothing
    causes = {"error": BudgetReached, "timeout": TimeoutError, "cancel": asyncio.CancelledError}
    with pytest.raises(causes[way]):
        await task
    assert blocking.closed == "after it"
    thread.join()


async def test_a_thread_that_is_left_does_not_fill_its_batch() -> None:
    blocking = Blocking(ready=0)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in blocking.items():
            taken.append(item)
            yield item

    stream = from_thread(items(), batch=1_000_000)
    task = asyncio.create_task(anext(stream))
    await asyncio.to_thread(blocking.waits.wait)
    task.cancel()
    await hops(3)
    blocking.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert taken == [0]


async def test_a_call_in_a_thread_gives_its_result_or_its_error() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_what_a_thread_says_after_a_cancellation_is_its_cause_only() -> None:
    started, go = threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        assert go.wait(timeout=20)
        raise OSError("too late")

    task = asyncio.create_task(in_thread(call))
    await asyncio.to_thread(started.wait)
    task.cancel()
    await hops(3)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert str(caught.value.__cause__) == "too late"


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
