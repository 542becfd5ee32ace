"""What admits an attempt: a free slot, the pace, and no order of the provider to wait (`Limits`).

How many slots there are is decided in `concurrency.py`, how fast they may be filled in `pace.py`.
It waits on the loop's clock or on a release, never on a poll.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

from synthkd.errors import AttemptFailed, RunStopped
from synthkd.teachers.concurrency import Concurrency, Fixed
from synthkd.teachers.pace import Allowance, Start
from synthkd.teachers.request import Completion

MEMORY = 0.05
"""How much one usage tells about the next: some twenty requests show what a typical one takes."""


class Ticket:
    """What one attempt holds while it is in the air."""

    __slots__ = ("estimate", "left_at", "number", "request", "tokens")

    def __init__(
        self, number: int, left_at: float, request: Start, tokens: Start, estimate: float
    ) -> None:
        self.number = number
        """How many left before it."""
        self.left_at = left_at
        self.request = request
        self.tokens = tokens
        self.estimate = estimate


class Limits:
    """Slots and paces of one teacher. Later steps of the pipeline are served first.

    Args:
        concurrency: attempts in the air at once: a number, or what adapts it.
        requests_per_minute: None = any number, until the provider says one.
        tokens_per_minute: prompt and completion together; None likewise.
    """

    def __init__(
        self,
        concurrency: Concurrency | int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.concurrency = Fixed(concurrency) if isinstance(concurrency, int) else concurrency
        self.in_use = 0
        self._requests = Allowance(requests_per_minute)
        self._tokens = Allowance(tokens_per_minute, estimated=True)
        self._share = 1.0
        """What a typical request takes of its estimate, which counts the longest answer."""
        self._held_until = -math.inf
        self._told_to_wait = -1
        """The number of the latest attempt that was told to."""
        self._left = 0
        self._queue: list[tuple[int, int, float, asyncio.Future[Ticket]]] = []
        """A heap of (minus rank, number, estimated tokens, future)."""
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None
        """None = open; once closed, set when nothing is in the air."""
        self._reason: RunStopped | None = None

    def close(self, reason: RunStopped | None) -> asyncio.Event:
        """Let nobody in any more; the event comes when nothing is in the air.

        Args:
            reason: raised to whoever waits or comes; None = they wait until they are cancelled.
        """
        if self._emptied is None:
            self._emptied = asyncio.Event()
            if not self.in_use:
                self._emptied.set()
        if reason is not None and self._reason is None:
            self._reason = reason
            for *_, turn in self._queue:
                if not turn.done():
                    turn.set_exception(reason)
            self._queue.clear()
        return self._emptied

    async def enter(self, rank: int = 0, tokens: float = 0.0) -> Ticket:
        """Wait for a slot and for the pace; `leave` must follow.

        Args:
            rank: the higher is served first.
            tokens: an estimate: the prompt and the longest answer.

        Raises:
            RunStopped: the run ends, for this reason.
        """
        loop = asyncio.get_running_loop()
        if not self._queue and self._emptied is None:
            now = loop.time()
            free = self.in_use < self.concurrency.limit
            if free and self._delay_s(now, tokens) == 0:
                return self._take(now, tokens)
        elif self._reason is not None:
            raise self._reason
        turn: asyncio.Future[Ticket] = loop.create_future()
        heapq.heappush(self._queue, (-rank, next(self._numbers), tokens, turn))
        self._serve(loop)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(turn.result())  # the slot was given in the same moment
            raise

    def leave(self, ticket: Ticket) -> None:
        """Give the slot back; nothing is learned of how it went."""
        self._requests.heard(ticket.request)
        self._tokens.heard(ticket.tokens)
        self.in_use -= 1
        if self._emptied is not None:
            if not self.in_use:
                self._emptied.set()
        elif self._queue:
            self._serve(asyncio.get_running_loop())

    def answered(self, ticket: Ticket, completion: Completion) -> None:
        """Give the slot back after an answer, and learn from it."""
        now = asyncio.get_running_loop().time()
        if completion.rate_limits is not None or self._tokens.counts:
            self._learn(ticket, completion, now)
        if ticket.number > self._told_to_wait:
            self._held_until = -math.inf  # it answers those who came later: the order was for one
        self.concurrency.answered(now, ticket.left_at)
        self.leave(ticket)

    def failed(self, ticket: Ticket, error: AttemptFailed) -> None:
        """Give the slot back after a failure that passes, and learn from it."""
        now = asyncio.get_running_loop().time()
        if error.wait_s is not None and now + error.wait_s > self._held_until:
            # The provider means everyone, as long as nobody who left later is answered.
            self._held_until = now + error.wait_s
            self._told_to_wait = max(self._told_to_wait, ticket.number)
        if not error.unreachable:
            self.concurrency.failed(now, ticket.left_at, error.status)
        if not error.maybe_billed:
            self._tokens.correct(ticket.tokens, 0.0)
        self.leave(ticket)

    def _learn(self, ticket: Ticket, completion: Completion, now: float) -> None:
        told, usage = completion.rate_limits, completion.usage
        if told is not None and told.requests is not None:
            self._requests.told(told.requests, ticket.request, now)
        if told is not None and told.tokens is not None:
            self._tokens.told(told.tokens, ticket.tokens, now)
        if usage.prompt_tokens is not None:
            used = usage.prompt_tokens + (usage.completion_tokens or 0)
            self._tokens.correct(ticket.tokens, used)
            if ticket.estimate > 0:
                self._share += MEMORY * (used / ticket.estimate - self._share)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let in whom slots and pace allow; the others wait for the next release or the alarm."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        queue, now = self._queue, loop.time()
        while queue and self._emptied is None:
            if self.in_use >= self.concurrency.limit:
                return
            _, _, tokens, turn = queue[0]
            if not turn.cancelled():
                delay_s = self._delay_s(now, tokens)
                if delay_s > 0:
                    self._alarm = loop.call_later(delay_s, self._serve, loop)
                    return
                turn.set_result(self._take(now, tokens))
            heapq.heappop(queue)

    def _delay_s(self, now: float, tokens: float) -> float:
        return max(
            self._requests.delay_s(now, 1.0),
            self._tokens.delay_s(now, tokens * self._share),
            self._held_until - now,
        )

    def _take(self, now: float, tokens: float) -> Ticket:
        self.in_use += 1
        if self.in_use >= self.concurrency.limit:
            self.concurrency.pressed = True
        self._left += 1
        return Ticket(
            self._left,
            now,
            self._requests.start(now, 1.0),
            self._tokens.start(now, tokens * self._share),
            tokens,
        )
