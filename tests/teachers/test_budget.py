"""Budget and Budgeted: the hard stop is never passed, whatever happens to an attempt."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
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
    WaitingForBatch,
)
from synthkd.ledger import Cost
from synthkd.rows import Json
from synthkd.teachers.budget import Budget, Budgeted, prompt_bound
from synthkd.teachers.layers import Limited, Retrying
from synthkd.teachers.limits import Limits
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.stats import TeacherStats
from tests.teachers.acting import Acting, Noting, Playing, ask, cached, said
from tests.virtual_time import run_virtually


def cost(tokens: int, requests: int = 1, nano_usd: int = 0) -> Cost:
    return Cost(requests=requests, prompt_tokens=tokens, nano_usd=nano_usd)


# ------------------------------------------------------------------------------------ budget


async def test_what_does_not_fit_waits_for_what_is_in_the_air() -> None:
    budget = Budget(BudgetConfig(tokens=100), cost(20))
    await budget.hold(cost(50))
    waiting = asyncio.create_task(budget.hold(cost(40)))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.settle(cost(50), cost(10))
    await waiting
    assert (budget.spent.tokens, budget.held.tokens) == (30, 40)


async def test_what_can_never_fit_stops_the_run() -> None:
    budget = Budget(BudgetConfig(tokens=100), cost(20))
    await budget.hold(cost(50))
    waiting = asyncio.create_task(budget.hold(cost(40)))
    await asyncio.sleep(0)
    budget.settle(cost(50), cost(50))
    with pytest.raises(
        BudgetReached,
        match=r"budget\.tokens is 100, the run has spent 70 and the next request may cost 40\. "
        r"Raise budget\.tokens and run again",
    ):
        await waiting
    await budget.hold(cost(30))  # a smaller one still fits
    assert budget.held.tokens == 30


@pytest.mark.parametrize(
    ("config", "spent", "worst"),
    [
        (BudgetConfig(requests=2), Cost(requests=2), cost(1)),
        (BudgetConfig(usd=0.5), Cost(nano_usd=400_000_000), cost(1, nano_usd=100_000_001)),
        (BudgetConfig(tokens=5), Cost(), cost(6)),
    ],
)
async def test_each_limit_is_kept(config: BudgetConfig, spent: Cost, worst: Cost) -> None:
    budget = Budget(config, spent)
    with pytest.raises(BudgetReached):
        await budget.hold(worst)
    assert budget.held == Cost()


async def test_no_limits_no_waiting() -> None:
    budget = Budget(BudgetConfig(wall_s=1), Cost())
    for _ in range(1000):
        await budget.hold(cost(10**12))
    assert budget.held.requests == 1000


async def test_cancelled_while_waiting_gives_everything_back() -> None:
    budget = Budget(BudgetConfig(tokens=100), Cost())
    await budget.hold(cost(100))
    waiting = [asyncio.create_task(budget.hold(cost(60))) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    budget.settle(cost(100), cost(0))  # the first is gone, the second is let in now
    waiting[1].cancel()  # ... and cancelled in the same moment
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, True, False]
    assert budget.held.tokens == 60
    budget.settle(cost(60), cost(0))
    assert budget.held == Cost()


@given(
    limit=st.integers(1, 300),
    attempts=st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1), st.floats(0, 9)), max_size=40),
)
def test_spent_and_held_together_never_exceed_the_limit(
    limit: int, attempts: list[tuple[int, float, float]]
) -> None:
    async def work() -> int:
        budget = Budget(BudgetConfig(tokens=limit), Cost())

        async def attempt(worst: int, share: float, takes_s: float) -> None:
            try:
                await budget.hold(cost(worst))
            except BudgetReached:
                return
            assert budget.spent.tokens + budget.held.tokens <= limit
            await asyncio.sleep(takes_s)
            budget.settle(cost(worst), cost(int(worst * share)))

        async with asyncio.TaskGroup() as group:
            for one in attempts:
                group.create_task(attempt(*one))
        assert budget.held == Cost()
        return budget.spent.tokens

    spent, _ = run_virtually(work())
    assert spent <= limit


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
            raise AttemptFailed("HTTP 429: busy", wait_s=1, status=429)
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
            with contextlib.suppress(BudgetReached, RequestRefused, TeacherRefused, Unanswered):
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


async def test_what_is_held_for_batches_may_come_back_so_the_run_waits_for_it() -> None:
    budget = Budget(BudgetConfig(requests=10), Cost(requests=2))
    assert budget.hold_batched(Cost(requests=6)) is None
    assert "budget.requests is 10" in (budget.hold_batched(Cost(requests=3)) or "")
    with pytest.raises(WaitingForBatch, match="6 questions are under way in batches"):
        await budget.hold(Cost(requests=3))
    await budget.hold(Cost(requests=2))
    budget.settle(Cost(requests=2), Cost())
    budget.recall(Cost(requests=8), Cost())
    with pytest.raises(BudgetReached, match="has spent 8"):
        await budget.hold(Cost(requests=3))
