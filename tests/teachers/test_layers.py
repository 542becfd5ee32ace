from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.config import BudgetConfig, Price
from synthkd.errors import (
    AttemptFailed,
    BudgetReached,
    RequestRefused,
    TeacherRefused,
    Unanswered,
)
from synthkd.ledger import Cost
from synthkd.rows import Json
from synthkd.teachers.layers import Budgeted, Limited, Retrying, prompt_bound
from synthkd.teachers.limits import Budget, Limits
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.stats import TeacherStats
from tests.teachers.acting import Acting, Noting, Playing, ask, cached, said
from tests.virtual_time import run_virtually

# ------------------------------------------------------------------------------------ Retrying


def failed(wait_s: float | None = None, maybe_billed: bool = False) -> AttemptFailed:
    return AttemptFailed("HTTP 429: busy", wait_s=wait_s, maybe_billed=maybe_billed, status=429)


async def slept(*outcomes: BaseException, max_attempts: int = 6) -> list[float]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    layer = Retrying(
        Playing(*outcomes), max_attempts=max_attempts, sleep=sleep, rng=random.Random(1)
    )
    assert (await layer.complete(ask())).text == "fine"
    return waits


async def test_retry_after_is_obeyed_and_else_the_wait_doubles() -> None:
    assert await slept() == []
    assert await slept(failed(30), failed(0.25)) == [30, 0.25]
    waits = await slept(*[failed()] * 5)
    assert len(waits) == 5
    for wait_s, longest_s in zip(waits, (1, 2, 4, 8, 16), strict=True):
        assert longest_s / 2 <= wait_s <= longest_s


async def test_when_the_attempts_are_used_up_the_row_fails() -> None:
    layer = Retrying(teacher := Playing(*[failed(0)] * 9), max_attempts=3)
    with pytest.raises(
        Unanswered, match=r"no answer after 3 attempts; the last failed: HTTP 429: busy\. Running"
    ):
        await layer.complete(ask())
    assert len(teacher.asked) == 3


async def test_a_single_attempt_and_a_wait_beyond_patience() -> None:
    for layer in (
        Retrying(first := Playing(failed(0)), max_attempts=1),
        Retrying(second := Playing(failed(86_400)), max_attempts=6),
    ):
        with pytest.raises(Unanswered, match="after 1 attempts"):
            await layer.complete(ask())
    assert len(first.asked) == len(second.asked) == 1


@pytest.mark.parametrize(
    "error", [RequestRefused(400, "no"), TeacherRefused("no"), BudgetReached("no"), KeyError("x")]
)
async def test_nothing_else_is_retried(error: Exception) -> None:
    layer = Retrying(teacher := Playing(error), max_attempts=6)
    with pytest.raises(type(error)):
        await layer.complete(ask())
    assert len(teacher.asked) == 1


# ------------------------------------------------------------------------------------ together


def test_what_waits_to_retry_holds_no_slot() -> None:
    """200 calls of 1 s in 8 slots, every fifth answered 429 and 30 s: 56 s instead of 188 s."""
    numbers = itertools.count(1)

    async def attempt(_: Request) -> Completion:
        number = next(numbers)
        await asyncio.sleep(1)
        if number <= 200 and number % 5 == 0:
            raise failed(30)
        return said("fine")

    async def work() -> None:
        layer = Retrying(Limited(Acting(attempt), Limits(8)), max_attempts=3)
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(layer.complete(ask(str(number))))

    _, took_s = run_virtually(work())
    assert 30 <= took_s <= 60


# ------------------------------------------------------------------------------------ Budgeted

PRICE = Price(prompt=1, completion=3)
TOKENS = BudgetConfig(tokens=1000, requests=100, usd=1)


def budgeted(
    inner: Acting, ledger: Noting, config: BudgetConfig = TOKENS, price: Price | None = PRICE
) -> Budgeted:
    stats = TeacherStats(nano_usd=0)
    return Budgeted(
        inner,
        budget=Budget(config, ledger.spent),
        price=price,
        ledger=ledger,
        run_id="r",
        stats=stats,
    )


WORST = Cost(requests=1, prompt_tokens=4 + 16, completion_tokens=50, nano_usd=20 * 1000 + 50 * 3000)


@pytest.mark.parametrize(
    ("outcome", "cost"),
    [
        (said("x"), Cost(requests=1, prompt_tokens=10, completion_tokens=5, nano_usd=25_000)),
        (said("x", prompt=None, completion=None), WORST),
        (said("x", completion=None), replace(WORST, prompt_tokens=10, nano_usd=160_000)),
        (AttemptFailed("timed out", maybe_billed=True), WORST),
        (AttemptFailed("HTTP 429"), Cost()),
        (RequestRefused(400, "no"), Cost()),
        (TeacherRefused("no"), Cost()),
        (RuntimeError("a bug"), WORST),
        (asyncio.CancelledError(), WORST),
    ],
)
async def test_what_each_outcome_costs(outcome: BaseException | Completion, cost: Cost) -> None:
    ledger = Noting()
    seen: list[Cost] = []

    async def act(_: Request) -> Completion:
        seen.append(ledger.held)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    layer = budgeted(Acting(act), ledger)
    if isinstance(outcome, BaseException):
        with pytest.raises(type(outcome)):
            await layer.complete(ask())
    else:
        await layer.complete(ask())
    assert seen == [WORST], "held, durably, before the attempt left"
    assert ledger.spent == layer.budget.spent == cost
    assert ledger.held == layer.budget.held == Cost()
    assert (layer.stats.attempts, layer.stats.in_flight) == (1, 0)


async def test_cancelled_before_it_left_costs_nothing() -> None:
    layer = budgeted(teacher := Playing(), ledger := Noting())
    task = asyncio.create_task(layer.complete(ask()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert teacher.asked == []
    assert layer.budget.spent == ledger.spent == Cost()
    assert layer.budget.held == Cost()


async def test_without_limits_too_every_attempt_is_held() -> None:
    ledger = Noting()
    seen: list[Cost] = []

    async def act(_: Request) -> Completion:
        seen.append(ledger.held)
        return said("fine")

    layer = budgeted(Acting(act), ledger, BudgetConfig(), price=None)
    layer.stats.nano_usd = None
    await layer.complete(ask(max_tokens=None))
    assert seen == [Cost(requests=1, prompt_tokens=4 + 16)], "the answer may be of any length"
    assert ledger.held == Cost()
    assert ledger.spent == Cost(requests=1, prompt_tokens=10, completion_tokens=5)
    counts = layer.stats.counts()
    assert (counts.prompt_tokens, counts.completion_tokens, counts.usd) == (10, 5, None)


async def test_what_is_settled_is_kept_before_the_answer_is() -> None:
    ledger = Noting()
    await cached(budgeted(Playing(), ledger), ledger).complete(ask())  # type: ignore[arg-type]
    assert ledger.told == ["hold", "settle", "store"]


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(50, 2000),
    slots=st.integers(1, 40),
    outcomes=st.lists(
        st.tuples(
            st.sampled_from(["answered", "lost", "429", "refused"]),
            st.integers(0, 50),
            st.floats(0, 3),
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_the_provider_never_bills_more_than_the_budget(
    limit: int, slots: int, outcomes: list[tuple[str, int, float]]
) -> None:
    billed = 0
    play = itertools.cycle(outcomes)

    async def attempt(request: Request) -> Completion:
        nonlocal billed
        kind, completion, takes_s = next(play)
        await asyncio.sleep(takes_s)
        if kind == "429":
            raise failed(1)
        if kind == "refused":
            raise RequestRefused(400, "no")
        billed += prompt_bound(request.body) + completion
        if kind == "lost":
            raise AttemptFailed("reset", maybe_billed=True)
        return said("x", prompt_bound(request.body), completion)

    async def work() -> None:
        ledger = Noting()
        config = BudgetConfig(tokens=limit)
        inner = Limited(budgeted(Acting(attempt), ledger, config), Limits(slots))
        layer = Retrying(inner, max_attempts=3)

        async def one(text: str) -> None:
            with contextlib.suppress(BudgetReached, RequestRefused, Unanswered):
                await layer.complete(ask(text))

        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(one(str(number)))
        assert ledger.held == Cost()
        assert billed <= ledger.spent.tokens <= limit

    run_virtually(work())


# ------------------------------------------------------------------------------------ the bound


@given(st.lists(st.text(max_size=40), max_size=4))
def test_a_prompt_is_bounded_by_its_bytes(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    expected = sum(len(text.encode()) + 16 for text in texts)
    assert prompt_bound({"model": "m", "messages": messages, "temperature": 1}) == expected


def test_what_else_is_part_of_the_prompt_is_bounded_too() -> None:
    messages: Json = [{"role": "user", "content": [{"type": "text", "text": "x" * 100}]}]
    assert prompt_bound({"messages": messages}) > 116
    assert prompt_bound({"messages": [], "tools": [{"name": "y" * 100}]}) > 100
