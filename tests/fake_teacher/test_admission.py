"""Limits: what is let in within a time, and what the headers say, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.fake_teacher.admission import (
    Allowance,
    Bucket,
    RetryAfter,
    Slots,
    duration,
    retry_after_named,
    wait_headers,
)
from synthkd.fake_teacher.faults import Refusal

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp()


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def allowance(clock: Clock, told_as: RetryAfter = "seconds", **limits: float) -> Allowance:
    return Allowance(
        limits.get("requests"),
        limits.get("tokens"),
        limits.get("burst_s", 60.0),
        told_as,
        clock,
        lambda: NOON + clock.now_s,
    )


@given(
    st.floats(1, 1000),
    st.floats(0.1, 120),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 50)), max_size=60),
)
def test_no_more_is_let_in_than_the_allowance(
    per_minute: float, burst_s: float, asked: list[tuple[float, float]]
) -> None:
    bucket, now_s, taken = Bucket(per_minute, burst_s), 0.0, 0.0
    largest = 0.0
    for pause_s, amount in asked:
        now_s += pause_s
        if bucket.wait_s(amount, now_s) == 0:
            bucket.take(amount, now_s)
            taken += amount
            largest = max(largest, amount - bucket.full)
        allowed = bucket.full + max(0.0, largest) + now_s * per_minute / 60
        assert taken <= allowed * (1 + 1e-9) + 1e-6


@given(st.floats(1, 1000), st.floats(0.1, 100), st.floats(0.1, 200))
def test_who_waits_as_told_is_let_in(per_minute: float, burst_s: float, amount: float) -> None:
    bucket = Bucket(per_minute, burst_s)
    bucket.take(bucket.full, 0.0)
    wait_s = bucket.wait_s(amount, 0.0)
    assert bucket.wait_s(amount, wait_s * (1 + 1e-9) + 1e-9) == 0


def test_the_headers_of_the_limits() -> None:
    clock = Clock()
    limits = allowance(clock, requests=600, tokens=60_000, burst_s=1)
    limits.admit(400)
    assert limits.headers() == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "600",
        "x-ratelimit-reset-tokens": "400ms",
    }
    clock.now_s = 10
    assert limits.headers()["x-ratelimit-remaining-requests"] == "10"
    assert not allowance(clock)
    assert allowance(clock).headers() == {}


@pytest.mark.parametrize(
    ("told_as", "header", "value"),
    [("seconds", "retry-after", "2"), ("ms", "retry-after-ms", "1500"), ("none", None, None)],
)
def test_a_refusal_tells_how_long_to_wait(
    told_as: RetryAfter, header: str | None, value: str | None
) -> None:
    clock = Clock()
    limits = allowance(clock, told_as, requests=40)
    for _ in range(40):
        limits.admit(0)
    with pytest.raises(Refusal, match=r"40 requests a minute.*try again in 1\.5s") as caught:
        limits.admit(0)
    waits = {name: said for name, said in caught.value.headers.items() if "retry" in name}
    assert waits == ({} if header is None else {header: value})
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    clock.now_s = 1.5
    limits.admit(0)


def test_a_date_to_wait_for() -> None:
    told = wait_headers(1.5, "date", lambda: NOON)["retry-after"]
    assert parsedate_to_datetime(told).timestamp() == NOON + 2


def test_tokens_are_limited_too_and_nothing_is_taken_when_refused() -> None:
    clock = Clock()
    limits = allowance(clock, requests=100, tokens=1000)
    assert limits.counts_tokens
    limits.admit(1500)  # larger than all: let in once the bucket is full
    with pytest.raises(Refusal, match="1000 tokens a minute, 100 asked"):
        limits.admit(100)
    assert limits.headers()["x-ratelimit-remaining-requests"] == "99"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.02, "20ms"), (0, "0ms"), (8.64, "8.64s"), (60, "1m0s"), (360, "6m0s"), (90.2, "1m30.2s")],
)
def test_times_are_written_as_the_api_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


async def test_slots_queue() -> None:
    slots = Slots(2, queues=True, refused={})
    release = asyncio.Event()

    async def work() -> None:
        async with slots:
            await release.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (slots.running, slots.waiting) == (2, 3)
        release.set()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_slots_refuse() -> None:
    slots = Slots(1, queues=False, refused={"retry-after": "1"})
    async with slots:
        with pytest.raises(Refusal, match="1 are worked on") as caught:
            async with slots:
                raise AssertionError("two at once")
        assert caught.value.headers == {"retry-after": "1"}
    async with slots:
        assert slots.running == 1


def test_limits_that_are_none() -> None:
    with pytest.raises(UserError, match=r"requests_per_minute .* above 0, got 0"):
        allowance(Clock(), requests=0)
    with pytest.raises(UserError, match="burst_s"):
        allowance(Clock(), tokens=1, burst_s=0)
    with pytest.raises(UserError, match="concurrency must be at least 1, got 0"):
        Slots(0, queues=True, refused={})
    with pytest.raises(UserError, match="one of seconds, ms, date, none; got 'weeks'"):
        retry_after_named("weeks")
