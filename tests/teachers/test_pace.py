"""What a provider allows is used, and not overrun: on the virtual clock, against `Metered`."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synthkd.teachers.concurrency import Adaptive
from synthkd.teachers.layers import Limited, Retrying
from synthkd.teachers.limits import Limits
from tests.teachers.acting import Acting, ask
from tests.teachers.virtual_servers import Metered
from tests.virtual_time import run_virtually

LIMIT = 600
TOKENS = 60_000


def took_s(server: Metered, limits: Limits, rows: int, max_tokens: int = 50) -> float:
    """Virtual seconds until the last of so many rows left."""

    async def work() -> None:
        layer = Retrying(Limited(Acting(server.complete), limits), max_attempts=50)
        request = ask(max_tokens=max_tokens)
        numbers = iter(range(rows))

        async def worker() -> None:
            for _ in numbers:
                await layer.complete(request)

        async with asyncio.TaskGroup() as group:
            for _ in range(1024):
                group.create_task(worker())

    return run_virtually(work())[1] - server.latency_s


@pytest.mark.parametrize("kind", ["bucket", "window"])
@pytest.mark.parametrize("stated", [None, LIMIT])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("latency_s", [0.05, 1.0])
def test_what_the_headers_allow_is_used_bursts_too(
    kind: Literal["bucket", "window"], stated: int | None, late: bool, latency_s: float
) -> None:
    # Of a window, what is not used is lost: 98 % of three have to be.
    rows = 1800 if kind == "bucket" else 1764
    server = Metered(requests=LIMIT, kind=kind, late=late, latency_s=latency_s, offset_s=7)
    seconds = took_s(server, Limits(Adaptive(), stated), rows)
    # The first 600 at once; then 10 a second, or 600 with each new minute (the first after 53 s).
    soonest_s = (rows - LIMIT) / (LIMIT / 60) if kind == "bucket" else 53 + 60
    assert soonest_s - 0.1 <= seconds <= soonest_s * 1.02
    assert server.refused == 0


@pytest.mark.parametrize("stated", [None, LIMIT])
@pytest.mark.parametrize("burst_s", [1.0, 10.0])
def test_a_small_bucket_is_not_overrun(stated: int | None, burst_s: float) -> None:
    rows = 1200
    server = Metered(requests=LIMIT, burst_s=burst_s, latency_s=0.3)
    seconds = took_s(server, Limits(Adaptive(), stated), rows)
    assert seconds <= (rows / (LIMIT / 60) - burst_s) * 1.02
    assert server.refused < 0.05 * rows


@pytest.mark.parametrize("kind", ["bucket", "window"])
def test_without_headers_the_stated_limit_is_used_evenly(kind: Literal["bucket", "window"]) -> None:
    server = Metered(requests=LIMIT, kind=kind, says=False)
    seconds = took_s(server, Limits(Adaptive(), LIMIT), 1200)
    assert 119 <= seconds <= 120 / 0.98
    assert server.refused == 0


@pytest.mark.parametrize("kind", ["bucket", "window"])
@pytest.mark.parametrize("max_tokens", [10, 100, 4000])
@pytest.mark.parametrize("stated", [None, TOKENS])
def test_tokens_are_used_whatever_the_longest_answer_could_have_been(
    kind: Literal["bucket", "window"], max_tokens: int, stated: int | None
) -> None:
    rows, used = 2000, 110
    server = Metered(tokens=TOKENS, used=used, kind=kind, offset_s=7)
    seconds = took_s(server, Limits(Adaptive(), None, stated), rows, max_tokens)
    soonest_s = (rows * used - TOKENS) / (TOKENS / 60) if kind == "bucket" else 53 + 120
    assert soonest_s - 0.5 <= seconds <= soonest_s * 1.03
    assert server.refused < 0.05 * rows


@pytest.mark.parametrize("max_tokens", [10, 100])
def test_tokens_without_headers_are_reconciled_with_the_usage(max_tokens: int) -> None:
    rows, used = 2000, 110
    server = Metered(tokens=TOKENS, used=used, says=False)
    seconds = took_s(server, Limits(Adaptive(), None, TOKENS), rows, max_tokens)
    assert seconds <= rows * used / (TOKENS / 60) / 0.98
    assert server.refused == 0


def test_a_limit_of_the_file_below_the_providers_holds() -> None:
    server = Metered(requests=LIMIT)
    took_s(server, Limits(Adaptive(), 60), 90)
    starts = server.starts
    assert max(sum(s <= t < s + 59.999 for t in starts) for s in starts) <= 60


@settings(max_examples=15, deadline=None)
@given(
    limit=st.integers(6, 300),
    kind=st.sampled_from(["bucket", "window"]),
    latency_s=st.floats(0.01, 20),
    offset_s=st.floats(0, 60),
    rows=st.integers(1, 300),
    late=st.booleans(),
)
# A minute that is whole again just after the group that waited for it has arrived.
@example(limit=123, kind="window", latency_s=3.68, offset_s=27.98, rows=274, late=True)
@example(limit=21, kind="window", latency_s=3.0, offset_s=1.27, rows=25, late=True)
def test_a_provider_that_says_what_is_left_refuses_next_to_nothing(
    limit: int,
    kind: Literal["bucket", "window"],
    latency_s: float,
    offset_s: float,
    rows: int,
    late: bool,
) -> None:
    server = Metered(requests=limit, kind=kind, latency_s=latency_s, offset_s=offset_s, late=late)
    took_s(server, Limits(Adaptive(), limit), rows)
    assert len(server.starts) == rows
    # Of 4,700 draws one had 3 more than a twentieth, four had any.
    assert server.refused <= 4 + 0.05 * rows
