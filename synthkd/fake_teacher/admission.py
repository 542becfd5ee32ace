"""Who is let in: requests and tokens a minute, and how many at once; all as providers do it.

Over its rate a client gets 429, with the headers that tell how long to wait and what is left. Over
the cap on concurrency it waits in line as with vLLM, or gets 429.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Literal

from synthkd.errors import UserError
from synthkd.fake_teacher.faults import Refusal

RetryAfter = Literal["seconds", "ms", "date", "none"]
"""How a client is told to wait: `retry-after` in seconds or as a date, `retry-after-ms`, or not."""

RETRY_AFTER: tuple[RetryAfter, ...] = ("seconds", "ms", "date", "none")


def retry_after_named(name: str) -> RetryAfter:
    """The way of telling that has this name.

    Raises:
        UserError: none has.
    """
    for known in RETRY_AFTER:
        if name == known:
            return known
    raise UserError(f"how to ask for a wait is one of {', '.join(RETRY_AFTER)}; got {name!r}")


class Bucket:
    """An allowance that refills steadily.

    Args:
        per_minute: how much refills in a minute.
        burst_s: so many seconds' allowance is in it when it is full.
    """

    def __init__(self, per_minute: float, burst_s: float) -> None:
        self.per_minute = per_minute
        self.full = max(1.0, per_minute * burst_s / 60)
        self._level = self.full
        self._at_s = -math.inf

    def level(self, now_s: float) -> float:
        """What is left; below 0 where one request was larger than all."""
        if self._at_s < now_s:
            filled = self._level + (now_s - self._at_s) * self.per_minute / 60
            self._level, self._at_s = min(self.full, filled), now_s
        return self._level

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until so much is there; 0 = it is. More than all is there once it is full."""
        missing = min(amount, self.full) - self.level(now_s)
        return max(0.0, missing * 60 / self.per_minute)

    def take(self, amount: float, now_s: float) -> None:
        """Use it up."""
        self._level = self.level(now_s) - amount


class Allowance:
    """Requests and tokens a minute.

    Args:
        requests_per_minute: None = no limit.
        tokens_per_minute: prompt and answer together; None = no limit.
        burst_s: so many seconds' allowance may be used at once.
        retry_after: how a client over its limit is told to wait.
        clock: seconds, for the limits.
        wall_clock: seconds since 1970, for dates.

    Raises:
        UserError: a limit that is not above 0.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        burst_s: float,
        retry_after: RetryAfter,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._buckets: dict[str, Bucket] = {}
        for name, limit in limits.items():
            if limit is not None:
                if not limit > 0 or not burst_s > 0:
                    raise UserError(
                        f"{name}_per_minute and burst_s must be above 0, got {limit} and {burst_s}"
                    )
                self._buckets[name] = Bucket(limit, burst_s)
        self._retry_after = retry_after
        self._clock = clock
        self._wall_clock = wall_clock

    def __bool__(self) -> bool:
        return bool(self._buckets)

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are limited."""
        return "tokens" in self._buckets

    def admit(self, tokens: int) -> None:
        """Take one request and its tokens.

        Raises:
            Refusal: 429, there is not enough left; nothing is taken.
        """
        now_s = self._clock()
        asked = {"requests": 1, "tokens": tokens}
        for name, bucket in self._buckets.items():
            wait_s = bucket.wait_s(asked[name], now_s)
            if wait_s > 0:
                raise Refusal(
                    429,
                    f"Rate limit reached: {bucket.per_minute:g} {name} a minute, {asked[name]}"
                    f" asked. Please try again in {duration(wait_s)}.",
                    "rate_limit_exceeded",
                    {**self.headers(), **wait_headers(wait_s, self._retry_after, self._wall_clock)},
                )
        for name, bucket in self._buckets.items():
            bucket.take(asked[name], now_s)

    def headers(self) -> dict[str, str]:
        """What is left, in OpenAI's headers."""
        now_s = self._clock()
        told: dict[str, str] = {}
        for name, bucket in self._buckets.items():
            left = bucket.level(now_s)
            told[f"x-ratelimit-limit-{name}"] = f"{bucket.per_minute:g}"
            told[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(left)))
            told[f"x-ratelimit-reset-{name}"] = duration(bucket.wait_s(bucket.full, now_s))
        return told


def wait_headers(
    wait_s: float, told_as: RetryAfter, wall_clock: Callable[[], float]
) -> Mapping[str, str]:
    """The header that asks a client to wait so long."""
    match told_as:
        case "seconds":
            return {"retry-after": str(math.ceil(wait_s))}
        case "ms":
            return {"retry-after-ms": str(math.ceil(wait_s * 1000))}
        case "date":
            return {"retry-after": formatdate(math.ceil(wall_clock() + wait_s), usegmt=True)}
    return {}


def duration(seconds: float) -> str:
    """A time as OpenAI's headers write it: `20ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds * 1000) / 1000, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


class Slots:
    """How many requests are worked on at once; each of them is a block `async with slots`.

    Args:
        limit: None = any number.
        queues: whether the others wait in line; else they are answered 429.
        refused: the headers that ask such a client to wait.

    Raises:
        UserError: a limit below 1.
    """

    def __init__(self, limit: int | None, *, queues: bool, refused: Mapping[str, str]) -> None:
        if limit is not None and limit < 1:
            raise UserError(f"concurrency must be at least 1, got {limit}")
        self._limit = limit
        self._slots = None if limit is None else asyncio.Semaphore(limit)
        self._queues = queues
        self._refused = refused
        self.running = 0
        self.waiting = 0

    async def __aenter__(self) -> None:
        """Take a slot.

        Raises:
            Refusal: 429, all are taken and nobody waits in line here.
        """
        if self._slots is not None:
            if self._slots.locked() and not self._queues:
                raise Refusal(
                    429,
                    f"Too many requests at once: {self._limit} are worked on.",
                    "concurrency_limit_exceeded",
                    self._refused,
                )
            self.waiting += 1
            try:
                await self._slots.acquire()
            finally:
                self.waiting -= 1
        self.running += 1

    async def __aexit__(self, *error: object) -> None:
        """Give it back."""
        self.running -= 1
        if self._slots is not None:
            self._slots.release()
