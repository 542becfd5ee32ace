"""How many attempts are in the air: a fixed number, or what the server takes (`Adaptive`).

`Adaptive` starts small and multiplies while that pays. Then it settles, and now and then tries a
little more, or less where answers have become slow, and keeps what the measured rate of answers
says. When the server says that it is too much, it halves, once a round trip.

Time is passed in; nothing here waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

CEILING = 1_024
"""The most that `concurrency: auto` has in the air, and the rows that a step then holds at once."""

START = 16
"""In the air before the first answers: so many slow even a small local server down for a moment
only."""

GROWTH = 8
BOLD_S = 4.0
"""A step of growth is the larger the sooner its outcome is known: a server that takes no more has
then a queue of seconds, not of minutes."""

WORTH_GROWING = 1.06
"""A step of growth (at least a doubling) that brings less than 6 % was the last one."""

WORTH_MORE = 1.02
WORTH_LESS = 0.99
"""A quarter more in the air must bring 2 %; a fifth less may cost 1 %."""

SLOWED = 1.4
"""Answers that take so much longer than the quickest did may be waiting in the server's queue."""

ANSWERS = 256
"""What a rate is measured over, at least: it is then right to some 3 % where answers differ in
length by half."""

LONGEST_PAUSE = 32
"""Rounds between two tries that bring nothing: what they cost is then below one per cent."""

FAULTY_SHARE = 0.2
"""A server errs now and then; when a fifth of a round trip fails it has too much to do."""

CROWDED = 0.1
"""Requests that wait inside the server, as a share of those that it works on: more is too many."""

FULL_CACHE = 0.9
"""Of the KV cache in use: a quarter more in the air would not fit. Below that it may, since
answers end as others grow, and the measured rate decides."""

RETURN_TO = 0.9
"""Of what was too much: where to go back to once the server answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests in a server, of everybody who asks it."""

    running: float
    """It works on them."""
    waiting: float
    cache_use: float = 0.0
    """Share of the KV cache that they fill, 0 to 1."""
    preempted: float = 0.0
    """How often one lost its place in the cache: since the server's start, and in what
    `told_load` is given since the last time."""


class Concurrency(Protocol):
    """Says how many attempts may be in the air."""

    limit: int
    pressed: bool
    """Set when every slot was in use."""

    def answered(self, now: float, left_at: float) -> None:
        """An attempt that left at `left_at` was answered."""
        ...

    def failed(self, now: float, left_at: float, status: int | None) -> None:
        """An attempt failed; None = without a usable reply, such as a timeout."""
        ...

    def told_load(self, load: Load) -> None:
        """The server says how busy it is."""
        ...


class Fixed:
    """A number that the pipeline file says."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pressed = False

    def answered(self, now: float, left_at: float) -> None:
        """It stays."""

    def failed(self, now: float, left_at: float, status: int | None) -> None:
        """It stays."""

    def told_load(self, load: Load) -> None:
        """It stays."""


Phase = Literal["growing", "settled", "more", "less", "recovering"]


class Adaptive:
    """As many as the server takes; see the module.

    A round is what is heard between two changes of the limit. While growing it is one round trip:
    three quarters as many answers as the limit, of attempts that left in the round. Later it is
    longer and counts every answer, from the first one of an attempt that left in the round.

    Args:
        ceiling: the most, whatever the server takes.
    """

    def __init__(self, ceiling: int = CEILING) -> None:
        self.ceiling = ceiling
        self.limit = min(START, ceiling)
        self.pressed = False
        self._phase: Phase = "growing"
        self._pause = self._last_pause = 1
        """Rounds until the next try, and how many there were before the last one."""
        self._tried: Phase = "less"
        self._gains = 0
        """Tries of more that brought something, in a row."""
        # The round that is running.
        self._began_at = -math.inf
        self._opened_at: float | None = None
        """When counting began; None = nothing that left in this round is answered yet."""
        self._wanted = self.limit
        self._count = 0
        self._latency_sum_s = 0.0
        # What to compare it with.
        self._quickest_s = math.inf
        """The mean latency of the quickest round."""
        self._before = 0.0
        """Answers a second at `_limit_before`; 0 = not known."""
        self._limit_before = self.limit
        self._load: Load | None = None
        """What the server said last, until it is heeded."""
        self._full = False
        """Whether there was no room for more in its cache."""
        # Faults.
        self._cut_at = -math.inf
        self._broken = False
        """Whether the last cut was for faults, which say nothing of what the server takes."""
        self._bold = True
        """Whether growth may be faster than doubling."""
        self._goal = self.limit
        """Where to go back to after a cut."""
        self._came = self._faulty = 0
        """What came back in this round trip, and how much of it was a fault."""

    # --- what is heard

    def answered(self, now: float, left_at: float) -> None:
        """Count it; at the end of a round, judge the limit."""
        if self._load is not None:
            self._heed(now, self._load)
            self._load = None
        self._note(0)
        if left_at < self._began_at and (self._opened_at is None or self._phase == "growing"):
            return
        if self._opened_at is None:
            growing = self._phase == "growing"
            self._opened_at = max(self._began_at, left_at) if growing else now
        self._count += 1
        self._latency_sum_s += now - left_at
        if self._count >= self._wanted and now > self._opened_at:
            self._end_round(now, now - self._opened_at)

    def failed(self, now: float, left_at: float, status: int | None) -> None:
        """Halve, if it means that the server has too much to do: once for each round trip."""
        self._note(1)
        if left_at <= self._cut_at:
            return  # it left before the last cut, which was for it too
        if status != 429 and self._faulty < max(2.0, FAULTY_SHARE * self.limit):
            return
        self._goal = max(1, int(RETURN_TO * self.limit))
        self._cut_at = now
        self._bold = False
        self._broken = status != 429
        self._came = self._faulty = 0
        self._last_pause = min(LONGEST_PAUSE, 2 * self._last_pause)
        self._begin(now, "recovering", self.limit // 2)

    def told_load(self, load: Load) -> None:
        """What a server says of itself."""
        self._load = load

    def _heed(self, now: float, load: Load) -> None:
        running, waiting = load.running, load.waiting
        self._full = load.cache_use >= FULL_CACHE or load.preempted > 0
        if waiting > max(1.0, CROWDED * running):
            # A few stay in its queue, so that no place is ever empty.
            fitting = int(self.limit - waiting + CROWDED / 2 * running) + 1
            if fitting < self.limit:
                self._begin(now, "settled", max(self.limit // 2, fitting))
        elif load.preempted > 0 and self._phase == "more":
            self._give_up_trying(now)
        elif waiting == 0 and self._phase == "settled" and not self._full:
            self._pause = 0  # there is room: try more with the next round
            self._tried = "less"

    def _note(self, faulty: int) -> None:
        if self._came >= self.limit:
            self._came = self._faulty = 0
        self._came += 1
        self._faulty += faulty

    # --- rounds

    def _begin(self, now: float, phase: Phase, limit: int) -> None:
        """A round with this limit."""
        self._phase = phase
        self.limit = limit = max(1, min(self.ceiling, limit))
        if phase in {"growing", "recovering"}:
            self._wanted = (3 * limit + 3) // 4  # the last ones may have left late
        else:
            self._wanted = max(4 * limit, min(ANSWERS, 32 * limit))
        self._began_at = now
        self._opened_at = None
        self._count = 0
        self._latency_sum_s = 0.0
        self.pressed = False

    def _end_round(self, now: float, elapsed_s: float) -> None:
        if not self.pressed:  # it is not the limit that holds the rate down
            self._begin(now, self._phase, self.limit)
            return
        rate = self._count / elapsed_s
        latency_s = self._latency_sum_s / self._count
        self._quickest_s = min(self._quickest_s, latency_s)
        if self._phase == "growing":
            self._judge_growth(now, rate, latency_s)
        elif self._phase == "recovering":
            self._recover(now)
        elif self._phase == "settled":
            self._try(now, rate, latency_s)
        else:
            self._judge_try(now, rate)

    # --- what follows from a round

    def _judge_growth(self, now: float, rate: float, latency_s: float) -> None:
        gain = rate / self._before if self._before else math.inf
        if gain < WORTH_GROWING or self.limit == self.ceiling or self._full:
            self._settle(now, self.limit if gain > WORTH_MORE else self._limit_before)
            return
        bold = self._bold and gain > self.limit / self._limit_before / 2
        factor = min(GROWTH, BOLD_S / latency_s) if bold and latency_s > 0 else 2.0
        self._before, self._limit_before = rate, self.limit
        self._begin(now, "growing", int(self.limit * max(2.0, factor)))

    def _recover(self, now: float) -> None:
        if self.limit < self._goal:
            self._begin(now, "recovering", min(self._goal, 2 * self.limit))
        elif self._broken and self._goal < START:
            self._before, self._limit_before = 0.0, self.limit
            self._begin(now, "growing", self.limit)
        else:
            self._settle(now, self._goal)

    def _settle(self, now: float, limit: int) -> None:
        self._pause = self._last_pause
        self._begin(now, "settled", limit)

    def _try(self, now: float, rate: float, latency_s: float) -> None:
        """Try more or less, when the pause is over."""
        self._before, self._limit_before = rate, self.limit
        self._pause -= 1
        if self._pause > 0:
            self._begin(now, "settled", self.limit)
        elif latency_s > SLOWED * self._quickest_s and self._tried != "less":
            self._tried = "less"
            crowded = latency_s > 2 * SLOWED * self._quickest_s
            self._begin(now, "less", int(self.limit * (0.5 if crowded else 0.8)))
        elif self._full:
            self._begin(now, "settled", self.limit)
        else:
            self._tried = "more"
            self._begin(now, "more", self.limit + max(1, self.limit // 4))

    def _judge_try(self, now: float, rate: float) -> None:
        more = self._phase == "more"
        if rate < (WORTH_MORE if more else WORTH_LESS) * self._before:
            self._give_up_trying(now)
            return
        self._last_pause = 1
        self._gains = self._gains + 1 if more else 0
        if self._gains >= 2 and self.limit < self.ceiling and not self._full:
            self._before, self._limit_before = rate, self.limit
            self._begin(now, "growing", 2 * self.limit)
        else:
            self._settle(now, self.limit)

    def _give_up_trying(self, now: float) -> None:
        """What was tried is no better: back to what there was before."""
        self._gains = 0
        self._last_pause = min(LONGEST_PAUSE, 2 * self._last_pause)
        self._settle(now, self._limit_before)
