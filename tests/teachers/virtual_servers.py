"""Servers on the virtual clock, and the rate at which a teacher stack gets answers from them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from synthkd.errors import AttemptFailed
from synthkd.teachers.concurrency import Concurrency, Load
from synthkd.teachers.layers import Limited, Retrying
from synthkd.teachers.limits import Limits
from synthkd.teachers.request import Completion, RateLimits, Request, Stated, Teacher, Usage
from tests.teachers.acting import Acting, ask, said
from tests.virtual_time import run_virtually

FINE = said("fine")
Service = Callable[[int, random.Random], float]
"""Seconds for one request, while so many are being worked on."""


class Server:
    """Works on `cap` requests at once; the others wait in it, or are refused.

    Args:
        cap: how many at once.
        service_s: how long one takes.
        refuses: 429 beyond the cap instead of a queue.
        faults: share of the requests that end in a 500.
    """

    def __init__(
        self, cap: int, service_s: Service, *, refuses: bool = False, faults: float = 0.0
    ) -> None:
        self.cap = cap
        self.service_s = service_s
        self.refuses = refuses
        self.faults = faults
        self.rng = random.Random(7)
        self.places = asyncio.Semaphore(cap)
        self.running = 0
        self.waiting = 0
        self.refused = 0

    async def complete(self, _: Request) -> Completion:
        if self.refuses and self.running >= self.cap:
            self.refused += 1
            await asyncio.sleep(0.02)
            raise AttemptFailed("HTTP 429", status=429)
        self.waiting += 1
        async with self.places:
            self.waiting -= 1
            self.running += 1
            try:
                await asyncio.sleep(self.service_s(self.running, self.rng))
            finally:
                self.running -= 1
        if self.rng.random() < self.faults:
            raise AttemptFailed("HTTP 500", status=500)
        return FINE


class Caching:
    """A GPU with a KV cache, as vLLM uses it: all that fit are worked on, a token each per step.

    A prompt must fit for its request to be let in. When the tokens of all answers do not fit any
    more, who came last is preempted: it loses what it had, and goes first once there is room.

    Args:
        cache: tokens.
        prompt: tokens of each.
        answer: tokens of an answer, a mean: they differ, by half of it each way.
        step_s: seconds for ten tokens of each, alone; `half` requests at once double it.
    """

    TOKENS = 10

    def __init__(
        self,
        cache: int,
        *,
        prompt: int = 50,
        answer: int = 200,
        step_s: float = 0.1,
        half: int = 64,
    ) -> None:
        self.cache = cache
        self.prompt = prompt
        self.answer = answer
        self.step_s = step_s
        self.half = half
        self.rng = random.Random(7)
        self.running: list[_Written] = []
        self.waiting: deque[_Written] = deque()
        self.preempted = 0
        self.working: asyncio.Task[None] | None = None

    @property
    def load(self) -> Load:
        return Load(
            running=len(self.running),
            waiting=len(self.waiting),
            cache_use=sum(each.held for each in self.running) / self.cache,
            preempted=self.preempted,
        )

    async def complete(self, _: Request) -> Completion:
        tokens = int(self.answer * self.rng.uniform(0.5, 1.5))
        one = _Written(self.prompt, self.prompt + tokens, asyncio.Event())
        self.waiting.append(one)
        self._let_in()
        if self.working is None:
            self.working = asyncio.create_task(self._work())
        await one.done.wait()
        return FINE

    async def _work(self) -> None:
        while self.running:
            await asyncio.sleep(self.step_s * (1 + len(self.running) / self.half))
            for each in self.running:
                each.held += self.TOKENS
                if each.held >= each.whole:
                    each.done.set()
            self.running = [each for each in self.running if not each.done.is_set()]
            while sum(each.held for each in self.running) > self.cache:
                last = self.running.pop()
                last.held = self.prompt
                self.waiting.appendleft(last)
                self.preempted += 1
            self._let_in()
        self.working = None

    def _let_in(self) -> None:
        room = self.cache - sum(each.held for each in self.running)
        while self.waiting and room >= self.prompt:
            self.running.append(self.waiting.popleft())
            room -= self.prompt


@dataclass(eq=False)
class _Written:
    """A request with its tokens so far, and those that it will have."""

    held: int
    whole: int
    done: asyncio.Event


def constant(seconds: float) -> Service:
    return lambda running, rng: seconds


def jittered(seconds: float) -> Service:
    """Within a tenth of each other."""
    return lambda running, rng: seconds * rng.uniform(0.95, 1.05)


def varied(seconds: float) -> Service:
    """Answers differ in length: from a quarter to thrice, by and large."""
    return lambda running, rng: seconds * rng.lognormvariate(-0.125, 0.5)


def crowded(seconds: float, half: int) -> Service:
    """As on a GPU: `half` at once take twice as long as one alone, and yet more get done."""
    return lambda running, rng: seconds * (1 + running / half) * rng.lognormvariate(-0.02, 0.2)


async def asked(limits: Limits, server: Teacher, rows: int, skip: int = 0) -> float:
    """Ask so many rows, 1,024 at once; the answers a second, without the first `skip`."""
    layer = Retrying(Limited(Acting(server.complete), limits), max_attempts=50)
    loop = asyncio.get_running_loop()
    numbers = iter(range(rows))
    done: list[float] = []
    request = ask()

    async def worker() -> None:
        for _ in numbers:
            await layer.complete(request)
            done.append(loop.time())

    started = loop.time()
    async with asyncio.TaskGroup() as group:
        for _ in range(1024):
            group.create_task(worker())
    # The last ones trickle in: what counts is the rate while there was work.
    last = len(done) - 1 - min(1024, rows // 10)
    return (last - skip) / (done[last] - (done[skip] if skip else started))


def rate_of(
    concurrency: Concurrency | int, make: Callable[[], Server], rows: int, skip: int = 0
) -> float:
    """`asked` on a virtual clock."""

    async def work() -> float:
        return await asked(Limits(concurrency), make(), rows, skip)

    return run_virtually(work())[0]


class Metered:
    """Allows so many requests and tokens a minute: as a bucket that fills, or in fixed minutes.

    Args:
        requests: a minute.
        tokens: a minute; None = any number. Each request takes `used` of them.
        kind: how it counts.
        says: whether its answers have headers.
        burst_s: so many seconds' allowance fit into a bucket.
        late: whether the headers are made with the answer, instead of when the request came in.
    """

    def __init__(
        self,
        *,
        requests: float = 1e9,
        tokens: float = 1e9,
        used: int = 100,
        kind: Literal["bucket", "window"] = "bucket",
        says: bool = True,
        late: bool = False,
        latency_s: float = 1.0,
        offset_s: float = 0.0,
        burst_s: float = 60.0,
    ) -> None:
        self.limits = {"requests": requests, "tokens": tokens}
        self.full = {kind: limit * burst_s / 60 for kind, limit in self.limits.items()}
        self.left = dict(self.full)
        self.used = {"requests": 1.0, "tokens": float(used)}
        self.kind = kind
        self.says = says
        self.late = late
        self.latency_s = latency_s
        self.offset_s = offset_s
        self.at = 0.0
        self.refused = 0
        self.starts: list[float] = []

    async def complete(self, _: Request) -> Completion:
        now = asyncio.get_running_loop().time() + self.offset_s
        self._pass(now)
        if any(self.left[kind] < self.used[kind] - 1e-6 for kind in self.left):
            self.refused += 1
            waits = [
                self._wait_s(kind, now) for kind in self.left if self.left[kind] < self.used[kind]
            ]
            await asyncio.sleep(0.02)
            raise AttemptFailed("HTTP 429", status=429, wait_s=max(waits))
        for kind in self.left:
            self.left[kind] -= self.used[kind]
        self.starts.append(now)
        told = self._told(now)
        await asyncio.sleep(self.latency_s)
        if self.late:
            now = asyncio.get_running_loop().time() + self.offset_s
            self._pass(now)
            told = self._told(now)
        usage = Usage(prompt_tokens=int(self.used["tokens"]) - 10, completion_tokens=10)
        return FINE._replace(usage=usage, rate_limits=told if self.says else None)

    def _pass(self, now: float) -> None:
        for kind, limit in self.limits.items():
            if self.kind == "bucket":
                self.left[kind] = min(
                    self.full[kind], self.left[kind] + limit / 60 * (now - self.at)
                )
            elif now // 60 > self.at // 60:
                self.left[kind] = limit
        self.at = now

    def _wait_s(self, kind: str, now: float) -> float:
        if self.kind == "window":
            return 60 - now % 60
        return (self.used[kind] - self.left[kind]) / (self.limits[kind] / 60)

    def _told(self, now: float) -> RateLimits:
        def stated(kind: str) -> Stated | None:
            limit = self.limits[kind]
            if limit > 1e8:
                return None
            whole_s = (self.full[kind] - self.left[kind]) / (limit / 60)
            reset_s = 60 - now % 60 if self.kind == "window" else whole_s
            return Stated(remaining=int(self.left[kind]), limit=limit, reset_s=reset_s)

        return RateLimits(requests=stated("requests"), tokens=stated("tokens"))
