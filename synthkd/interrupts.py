"""Ctrl-C and SIGTERM end a run gently: what is in the air is awaited and stored, then it stops.

The first signal lets no new question leave and waits for the answers in the air, up to `GRACE_S`;
the second stops at once; a third ends the process. What a thread does (training, a table step)
cannot be broken off: the run stops when the thread is done with its item, and the signal after the
one that stopped it ends the process, which the ledger survives as it survives a kill.

Signals belong to the main thread, and a host that has a handler of its own (a notebook, a server)
keeps it: there an interrupt is whatever the host makes of it, most often a plain cancellation. A
signal that is ignored, as SIGINT is in what a shell starts in the background, stays ignored.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from synthkd.errors import BudgetReached, Interrupted
from synthkd.flow import ticking

WALL_TICK_S = 1.0
"""Seconds of wall time that a kill can give back to `budget.wall_s`."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger("synthkd")  # without any set-up, warnings go to stderr


@asynccontextmanager
async def interruptible(
    in_air: Callable[[], int], drain: Callable[[], Awaitable[None]], grace_s: float
) -> AsyncIterator[None]:
    """Run the body until it ends, or until a signal does.

    Args:
        in_air: how many answers are awaited now.
        drain: lets nothing more leave, and returns when nothing is in the air or the grace is over.
        grace_s: what `drain` takes at most, for the message.

    Raises:
        Interrupted: a signal ended it.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number in SIGNALS if _free(before[number])]
    if not ours or not (_free(before[signal.SIGINT]) or before[signal.SIGINT] is signal.SIG_IGN):
        yield
        return
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  a coroutine runs in a task
    stopping = _Stopping(task, in_air, drain, grace_s, ours)
    loop = asyncio.get_running_loop()
    for number in ours:
        loop.add_signal_handler(number, stopping.signalled)
    cancelling = task.cancelling()
    try:
        yield
    except asyncio.CancelledError:
        if stopping.cancelled and task.uncancel() <= cancelling:
            raise Interrupted("interrupted: everything bought is kept") from None
        raise
    finally:
        stopping.end()
        for number in ours:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


@asynccontextmanager
async def within_wall(
    limit_s: float | None, before_s: float, add: Callable[[float], None]
) -> AsyncIterator[None]:
    """Stop the body when a run has used up its wall time, over all its restarts.

    Args:
        limit_s: `budget.wall_s`; None = no limit.
        before_s: what earlier starts of the run took.
        add: notes seconds as they pass, so that a kill does not give them back.

    Raises:
        BudgetReached: the time is used up.
    """
    left_s = None if limit_s is None else max(0.0, limit_s - before_s)
    noted = time.monotonic()

    def note() -> None:
        nonlocal noted
        add(time.monotonic() - noted)
        noted = time.monotonic()

    timeout = asyncio.timeout(left_s)
    try:
        async with timeout, ticking(note, WALL_TICK_S):
            yield
    except TimeoutError:
        if timeout.expired():
            raise BudgetReached(
                f"the run has taken its budget.wall_s of {limit_s:g} s; what was bought is"
                " kept: raise the limit and run again to go on"
            ) from None
        raise
    finally:
        note()


class _Stopping:
    """What has been signalled so far."""

    def __init__(
        self,
        task: asyncio.Task[Any],
        in_air: Callable[[], int],
        drain: Callable[[], Awaitable[None]],
        grace_s: float,
        ours: Sequence[signal.Signals],
    ) -> None:
        self.cancelled = False
        self._ours = ours
        self._task = task
        self._in_air = in_air
        self._drain = drain
        self._grace_s = grace_s
        self._draining: asyncio.Task[None] | None = None

    def signalled(self) -> None:
        """Ctrl-C or SIGTERM came."""
        waits_for = self._in_air()
        if self._draining is None and waits_for:
            _log.warning(
                "stopping: waiting up to %g s for %d answers in the air; Ctrl-C again stops now",
                self._grace_s,
                waits_for,
            )
            self._draining = asyncio.create_task(self._gently())
            return
        _log.warning("stopping now; Ctrl-C again ends the process")
        self._cancel()

    async def _gently(self) -> None:
        try:
            await self._drain()
        finally:
            self._cancel()

    def _cancel(self) -> None:
        if self.cancelled:
            return
        self.cancelled = True
        self._task.cancel()
        for number in self._ours:  # a thread may be busy for long: the next signal is final
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    def end(self) -> None:
        """The body has ended."""
        if self._draining is not None:
            self._draining.cancel()


def _free(handler: Any) -> bool:
    """Whether a signal is nobody's: as the system has it, Python, or asyncio.run."""
    if threading.current_thread() is not threading.main_thread():
        return False
    asked = getattr(handler, "func", handler)
    return asked in {signal.SIG_DFL, signal.default_int_handler} or (
        getattr(asked, "__qualname__", "") == "Runner._on_sigint"
    )
