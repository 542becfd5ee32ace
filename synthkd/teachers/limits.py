"""What admits an attempt: a free slot, at a steady pace (`Limits`).

It waits on the loop's clock or on a release, never on a poll.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator

AUTO_CONCURRENCY = 256
"""What `concurrency: auto` means for now: fixed, as much as one core of ours keeps busy against a
fast server. It does not yet adapt to what the server can take."""

WINDOW_S = 60.0
LATENESS_S = 0.1
"""How much lost time a pace makes up for. Timers fire a little late; without it a pace of thousands
a minute would lose a tenth. The window bounds what is made up, so no minute exceeds the limit."""

CLOCK_S = 1e-6
"""Shorter than this is now: a timer set for less may fire without the clock having moved."""


class Pace:
    """So much a minute, evenly spread: no burst at the start, and no minute over the limit."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._started: deque[tuple[float, float]] = deque()
        """(when, amount) of the last minute."""
        self._amount = 0.0
        self._next = -math.inf
        """When the next start is due."""

    def delay_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may start; 0 = now."""
        while self._started and self._started[0][0] <= now - WINDOW_S + CLOCK_S:
            self._amount -= self._started.popleft()[1]
        # More than a whole minute's worth can only go alone.
        excess = self._amount + min(amount, self.per_minute) - self.per_minute
        free_at = now
        for when, gone in self._started:
            if excess <= 1e-6:  # a sum of floats
                break
            excess -= gone
            free_at = when + WINDOW_S
        delay_s = max(free_at, self._next) - now
        return delay_s if delay_s > CLOCK_S else 0.0

    def start(self, now: float, amount: float) -> None:
        """Note that `amount` starts now."""
        self._started.append((now, amount))
        self._amount += amount
        due = max(self._next, now - LATENESS_S)
        self._next = due + amount * WINDOW_S / self.per_minute


class Limits:
    """Slots and paces of one teacher. Later steps of the pipeline are served first.

    Args:
        slots: attempts in the air at once.
        requests_per_minute: None = any number.
        tokens_per_minute: prompt and longest completion together, as estimated; None = any number.
    """

    def __init__(
        self,
        slots: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.slots = slots
        self.in_use = 0
        self._requests = Pace(requests_per_minute) if requests_per_minute else None
        self._tokens = Pace(tokens_per_minute) if tokens_per_minute else None
        self._queue: list[tuple[int, int, float, asyncio.Future[None]]] = []
        """A heap of (minus rank, number, tokens, future)."""
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether an estimate of the tokens is of any use."""
        return self._tokens is not None

    async def enter(self, rank: int, tokens: float = 0.0) -> None:
        """Wait for a slot and for the pace."""
        loop = asyncio.get_running_loop()
        if not self._queue and self.in_use < self.slots and self._delay_s(loop, tokens) == 0:
            self._take(loop, tokens)
            return
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._queue, (-rank, next(self._numbers), tokens, turn))
        self._serve(loop)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the slot was given in the same moment
            raise

    def leave(self) -> None:
        """Give the slot back."""
        self.in_use -= 1
        if self._queue:
            self._serve(asyncio.get_running_loop())

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._queue and self.in_use < self.slots:
            _, _, tokens, turn = self._queue[0]
            if not turn.cancelled():
                delay_s = self._delay_s(loop, tokens)
                if delay_s > 0:
                    self._alarm = loop.call_later(delay_s, self._serve, loop)
                    return
                self._take(loop, tokens)
                turn.set_result(None)
            heapq.heappop(self._queue)

    def _paces(self, tokens: float) -> Iterator[tuple[Pace, float]]:
        if self._requests is not None:
            yield self._requests, 1.0
        if self._tokens is not None and tokens > 0:
            yield self._tokens, tokens

    def _delay_s(self, loop: asyncio.AbstractEventLoop, tokens: float) -> float:
        delays = [pace.delay_s(loop.time(), amount) for pace, amount in self._paces(tokens)]
        return max(delays, default=0.0)

    def _take(self, loop: asyncio.AbstractEventLoop, tokens: float) -> None:
        for pace, amount in self._paces(tokens):
            pace.start(loop.time(), amount)
        self.in_use += 1
