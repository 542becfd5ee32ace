"""Bounded streams: the only file that knows about queues and tasks.

    source -> stage 0 -> queue -> stage 1 -> queue -> ... -> sink

A source comes in batches of at most `BATCH` items. Each stage has `in_flight` workers; those of
stage 0 share a batch and ask for the next one when it is used up, and the queue before every later
stage holds at most `buffer` items. So what was read and has not reached the sink is never more than
`BATCH` and the sum of `in_flight + buffer`, and a slow sink slows the source. Items overtake each
other; whoever needs order sorts at the end.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from synthkd.errors import SynthkdError, UserError

T = TypeVar("T")
Emit = Callable[[T], Awaitable[None]]
"""Hands one item on; returns when there is room for it."""

BUFFER = 64
"""Items waiting before a stage: enough to ride out a slow neighbour, small beside `in_flight`."""
BATCH = 256
"""Items read by one hop to a thread: the hop costs some 100 microseconds, an item a few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[T]):
    """One step of the stream."""

    work: Callable[[T, Emit[T]], Awaitable[None]]
    """Takes an item and emits none or more."""
    in_flight: int
    """Items in this stage at once."""
    buffer: int = BUFFER


class _End:
    """Stands in a queue for `no more items`, once for each worker."""


END = _End()
Take = Callable[[], Awaitable[T | _End]]


async def pour(
    source: AsyncGenerator[list[T], None], stages: Sequence[Stage[T]], sink: Emit[T]
) -> None:
    """Move every item from the source through the stages into the sink.

    An error anywhere cancels all the others, closes the source and comes out here as itself. Of
    several errors at once a bug comes first, then a user's mistake, then a stop.
    """
    async with aclosing(source) as batches:
        pull = _Pull(batches)
        try:
            async with asyncio.TaskGroup() as group:
                take: Take[T] = pull
                for index, stage in enumerate(stages):
                    following = stages[index + 1] if index + 1 < len(stages) else None
                    queue: asyncio.Queue[T | _End] | None = None
                    if following is not None:
                        queue = asyncio.Queue(max(1, following.buffer))
                    group.create_task(_run_stage(stage, take, queue, following, sink))
                    if queue is not None:
                        take = queue.get
                if not stages:
                    group.create_task(_copy(pull, sink))
        except BaseExceptionGroup as errors:
            raise _foremost(errors) from None


class _Pull(Generic[T]):
    """Hands out a source's items one by one; nobody waits while a batch lasts."""

    def __init__(self, batches: AsyncGenerator[list[T], None]) -> None:
        self._batches = batches
        self._items: deque[T] = deque()
        self._reading = asyncio.Lock()
        self._exhausted = False

    async def __call__(self) -> T | _End:
        while not self._items:
            if self._exhausted:
                return END
            # An async generator serves one caller at a time; the others find its batch.
            async with self._reading:
                if not self._items and not self._exhausted:
                    try:
                        self._items.extend(await anext(self._batches))
                    except StopAsyncIteration:
                        self._exhausted = True
        return self._items.popleft()


async def _run_stage(
    stage: Stage[T],
    take: Take[T],
    queue: asyncio.Queue[T | _End] | None,
    following: Stage[T] | None,
    sink: Emit[T],
) -> None:
    emit: Emit[T] = sink if queue is None else queue.put

    async def worker() -> None:
        task = asyncio.current_task()
        while not isinstance(item := await take(), _End):
            await stage.work(item, emit)
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # the work has swallowed it: no more is begun

    async with asyncio.TaskGroup() as workers:
        for _ in range(stage.in_flight):
            workers.create_task(worker())
    if queue is not None and following is not None:
        for _ in range(following.in_flight):
            await queue.put(END)


async def _copy(take: Take[T], sink: Emit[T]) -> None:
    while not isinstance(item := await take(), _End):
        await sink(item)


def _foremost(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show of several; groups inside groups are opened."""

    def weight(error: BaseException) -> int:
        if not isinstance(error, SynthkdError):
            return 0
        return 1 if isinstance(error, UserError) else 2

    return min(_leaves(errors), key=weight)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def in_thread(call: Callable[[], T], leave: Callable[[], None] = lambda: None) -> T:
    """A blocking call in a thread; whoever cancels this waits until the call has ended.

    A thread cannot be stopped. Left behind, it would go on with files and iterators that its
    caller has closed, and its faults would hide why the caller was cancelled.

    Args:
        call: what to do.
        leave: called on cancellation; may tell `call` to hurry.
    """
    running = asyncio.get_running_loop().run_in_executor(None, call)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
            leave()
    if cancelled is not None:
        raise cancelled from running.exception()
    return running.result()


async def from_thread(
    items: Iterator[T], batch: int = BATCH, *, leave: Callable[[], None] = lambda: None
) -> AsyncGenerator[list[T], None]:
    """A blocking iterator (files, CPU work) as batches: a thread advances it.

    Cancelled, it calls `leave`, lets the thread end the item that it is at, and only then closes
    the iterator.
    """
    left = threading.Event()

    def hurry() -> None:
        left.set()
        leave()

    def take() -> list[T]:
        taken: list[T] = []
        for item in items:
            taken.append(item)
            if len(taken) == batch or left.is_set():
                break
        return taken

    try:
        while taken := await in_thread(take, hurry):
            yield taken
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


async def streamed(
    run: Callable[[Emit[T]], Coroutine[Any, Any, object]], buffer: int = BUFFER
) -> AsyncGenerator[T, None]:
    """What `run` emits, as a stream; leaving the stream early cancels `run`.

    No task group stands around the `yield` (PEP 789): the one task is ended by hand.
    """
    queue: asyncio.Queue[T | _End] = asyncio.Queue(buffer)

    async def produce() -> None:
        try:
            await run(queue.put)
        except asyncio.CancelledError:
            raise
        except BaseException:
            await queue.put(END)
            raise
        await queue.put(END)

    task = asyncio.create_task(produce())
    try:
        while not isinstance(item := await queue.get(), _End):
            yield item
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def ticking(tell: Callable[[], None], every_s: float) -> AsyncIterator[None]:
    """Call `tell` again and again while the body runs."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(every_s)
            tell()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run to completion in a loop of its own, uvloop's where it is installed.

    Called inside a running loop (a notebook's), it uses a thread, and blocks the caller all the
    same.
    """
    if _in_a_loop():
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_run_here, work).result()
    return _run_here(work)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_here(work: Coroutine[Any, Any, T]) -> T:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        from uvloop import new_event_loop as factory  # the extra `fast`
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)
    except asyncio.CancelledError:
        # Nobody but Ctrl-C cancels the outermost task; one that was stopping anyway says it so.
        raise KeyboardInterrupt from None
