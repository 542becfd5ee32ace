"""How fast attempts may leave: `Pace` as stated, `Quota` as the provider says, `Allowance` both.

Amounts are requests or tokens. A start is counted at an estimate and put right once the usage is
known. Nothing here waits: the time is passed in, and `delay_s` says how long to wait.
"""

from __future__ import annotations

import math
from collections import deque

from synthkd.teachers.request import Stated

WINDOW_S = 60.0
LATENESS_S = 0.1
"""How much lost time a pace makes up for. Timers fire a little late; without it a pace of thousands
a minute would lose a tenth. The window bounds what is made up, so no minute exceeds the limit."""

WAY_S = 0.1
"""How much longer one request may be on its way than another: the provider's minute is that of the
arrivals."""

CLOCK_S = 1e-6
"""Shorter than this is now: a timer set for less may fire without the clock having moved."""

LONGEST_WINDOW_S = 65.0
"""An allowance of hours or days cannot be paced: when it is used up the provider's 429 says so."""

ROUNDING_S = 1.1
"""Some providers write a reset in whole seconds."""


class Start:
    """What one attempt took of an allowance; put right when its usage is known."""

    __slots__ = ("amount", "counted", "mark", "unheard", "when")

    def __init__(self, when: float, amount: float) -> None:
        self.when = when
        self.amount = amount
        self.counted = True
        """Whether it is still in the last minute."""
        self.mark = 0.0
        """What the allowance had given out in all, this attempt included."""
        self.unheard = True
        """Whether it is still in the air."""


class Pace:
    """So much a minute, evenly spread: no burst at the start, and no minute over the limit."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._started: deque[Start] = deque()
        self._amount = 0.0
        """Of the last minute."""
        self._next = -math.inf
        """When the next start is due."""

    def delay_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may start; 0 = now."""
        self._forget(now)
        # More than a whole minute's worth can only go alone.
        excess = self._amount + min(amount, self.per_minute) - self.per_minute
        free_at = now
        if excess > 1e-6:  # a sum of floats
            for start in self._started:
                excess -= start.amount
                free_at = start.when + WINDOW_S + WAY_S
                if excess <= 1e-6:
                    break
        delay_s = max(free_at, self._next) - now
        return delay_s if delay_s > CLOCK_S else 0.0

    def start(self, start: Start) -> None:
        """Note that it starts now."""
        self._forget(start.when)
        self._started.append(start)
        self._amount += start.amount
        due = max(self._next, start.when - LATENESS_S)
        self._next = due + start.amount * WINDOW_S / self.per_minute

    def correct(self, start: Start, amount: float) -> None:
        """It took `amount`, not what was estimated; `start` still holds the estimate."""
        more = amount - start.amount
        self._next += more * WINDOW_S / self.per_minute
        if start.counted:
            self._amount += more

    def _forget(self, now: float) -> None:
        """What is older than a minute."""
        started = self._started
        while started and started[0].when <= now - WINDOW_S - WAY_S + CLOCK_S:
            gone = started.popleft()
            gone.counted = False
            self._amount -= gone.amount


class Quota:
    """What the provider says is left of one allowance: a bucket that fills, or a window that ends.

    It starts to count with the first reply that says anything. Between replies it counts along; a
    reply then says at least and at most how much can be left, whenever in the life of its request
    the provider looked.

    Args:
        estimated: whether amounts are guesses (tokens, of which answers mostly take far less than
            they may). What is in the air is then no measure of what a reply left out.
    """

    def __init__(self, *, estimated: bool = False) -> None:
        self._estimated = estimated
        self.limit: float | None = None
        """None = the provider has not said anything that can be followed."""
        self.given_out = 0.0
        self._air: deque[Start] = deque()
        """The oldest attempt that is in the air, and what left later."""
        self._level = 0.0
        self._full = 0.0
        """What it can hold: a burst of so much may leave at once."""
        self._rate = 0.0
        """A second; 0 = a window, which is whole again at `_resets_at`."""
        self._at = 0.0
        self._resets_at = math.inf
        self._may_reset_at = math.inf
        self._ahead = 0.0
        """What was given out since the window may have been whole again."""
        self._seen = False
        """Whether a reply of this window has said when it ends."""
        self._opened_at = -math.inf
        self._window_s = 0.0
        """The longest reset seen of a window; 0 = it is a bucket, as far as we know."""

    def told(self, stated: Stated, start: Start, now: float) -> None:
        """Take in what a reply said; `start` is what its own request took."""
        self.heard(start)
        limit = stated.limit
        if limit is None or limit <= 0 or (stated.reset_s or 0.0) > LONGEST_WINDOW_S:
            self.limit = None
            return
        reset_s = stated.reset_s
        used = max(0.0, limit - stated.remaining)
        if reset_s is not None and reset_s > 1.25 * used * WINDOW_S / limit + ROUNDING_S:
            self._window_s = max(self._window_s, reset_s)  # no bucket takes that long to fill
        first = self.limit is None
        self.limit = limit
        if self._window_s and reset_s is not None:
            if not first and start.when < self._opened_at:
                return  # of the window before
            # It was right when the provider looked, between the request's start and now; the
            # quickest reply is nearest to that.
            earliest = self._may_reset_at if self._seen else math.inf
            self._may_reset_at = min(start.when + reset_s, earliest)
            resets_at = now + reset_s + WAY_S
            self._resets_at = min(resets_at, self._resets_at if self._seen else math.inf)
            self._rate, self._full, self._seen = 0.0, limit, True
        else:
            # It says how long filling takes, which tells how much goes in: often less than `limit`.
            self._rate = limit / WINDOW_S
            self._full = limit
            if reset_s is not None:
                self._full = min(limit, stated.remaining + 1 + self._rate * reset_s)
        self._refill(now)
        at_least = stated.remaining - self._uncounted(start)
        at_most = stated.remaining + self._rate * (now - start.when)
        self._level = at_least if first else min(max(self._level, at_least), at_most)

    def delay_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may start; 0 = now."""
        if self.limit is None:
            return 0.0
        self._refill(now)
        # More than the whole allowance can only go when all of it is there.
        short = min(amount, self._full) - self._level
        if short <= 1e-6:
            return 0.0
        delay_s = short / self._rate if self._rate else self._resets_at - now
        return delay_s if delay_s > CLOCK_S else 0.0

    def take(self, start: Start) -> None:
        """Note that it starts now."""
        self.given_out += start.amount
        start.mark = self.given_out
        self._air.append(start)
        self._level -= start.amount
        if start.when >= self._may_reset_at:
            self._ahead += start.amount

    def heard(self, start: Start) -> None:
        """The attempt has ended: whatever it took, the provider has counted by now."""
        start.unheard = False
        while self._air and not self._air[0].unheard:
            self._air.popleft()

    def _uncounted(self, start: Start) -> float:
        """The most that may be missing from what the reply to `start` says is left.

        Whatever left later; and, because requests overtake each other, whatever left since the
        oldest that is still in the air.
        """
        if self._estimated or not self._air or self._air[0].mark > start.mark:
            return self.given_out - start.mark
        oldest = self._air[0]
        return self.given_out - (oldest.mark - oldest.amount) - start.amount

    def _refill(self, now: float) -> None:
        assert self.limit is not None  # noqa: S101  callers know
        if self._rate:
            filled = self._level + self._rate * (now - self._at)
            self._level = min(filled, max(self._full, self._level))
        elif now >= self._resets_at - CLOCK_S:
            self._level = self._full - self._ahead
            self._opened_at = min(self._resets_at, self._may_reset_at)
            self._ahead, self._may_reset_at = 0.0, math.inf
            self._resets_at += self._window_s  # until a reply of the new window says better
            self._seen = False
        self._at = now


class Allowance:
    """Requests or tokens of one teacher: the pipeline file's limit and the provider's word.

    Where the provider states a limit no higher than the file's, its count is the truth: a burst
    that it allows is used. Where it allows more, the file's pace holds all the same.
    """

    def __init__(self, per_minute: float | None, *, estimated: bool = False) -> None:
        self._pace = None if per_minute is None else Pace(per_minute)
        self._quota = Quota(estimated=estimated)

    @property
    def counts(self) -> bool:
        """Whether a file or a provider has set a limit."""
        return self._pace is not None or self._quota.limit is not None

    def delay_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may start; 0 = now."""
        pace, quota = self._pace, self._quota
        delay_s = quota.delay_s(now, amount)
        if pace is None or (quota.limit is not None and quota.limit <= pace.per_minute):
            return delay_s
        return max(delay_s, pace.delay_s(now, amount))

    def start(self, now: float, amount: float) -> Start:
        """Note that `amount` starts now."""
        start = Start(now, amount)
        if self._pace is not None:
            self._pace.start(start)
        self._quota.take(start)
        return start

    def told(self, stated: Stated, start: Start, now: float) -> None:
        """Take in what the reply to `start` said."""
        self._quota.told(stated, start, now)

    def heard(self, start: Start) -> None:
        """The attempt has ended, one way or another."""
        self._quota.heard(start)

    def correct(self, start: Start, amount: float) -> None:
        """It took `amount`, not what was estimated.

        The provider's count is not put right: it knows the usage, and says what is left.
        """
        if self._pace is not None:
            self._pace.correct(start, amount)
        start.amount = amount
