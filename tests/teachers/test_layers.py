from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.config import BudgetConfig, Price
from synthkd.errors import (
    AttemptFailed,
    BudgetReached,
    NotInLedger,
    RequestRefused,
    TeacherRefused,
    Unanswered,
)
from synthkd.ledger import Cost, Entry
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields, Json
from synthkd.teachers.layers import Budgeted, Cached, InAir, Limited, Retrying, prompt_bound
from synthkd.teachers.limits import Budget, Limits
from synthkd.teachers.prices import FREE
from synthkd.teachers.request import Completion, Identity, Request, Usage
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.wire import chat_reply, parse_chat
from tests.virtual_time import run_virtually

ME = Identity(served_by="me")


def ask(text: str = "Why?", max_tokens: int | None = 50, **changes: Any) -> Request:
    body: Fields = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return replace(Request(body=body, max_tokens=max_tokens, inputs={}), **changes)


def said(text: str, prompt: int | None = 10, completion: int | None = 5) -> Completion:
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    return parse_chat(chat_reply(text, model="m", usage=usage))


class Acting:
    """A teacher that does what a function says."""

    def __init__(self, act: Callable[[Request], Awaitable[Completion]]) -> None:
        self.act = act
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        return await self.act(request)


class Playing(Acting):
    """A teacher that plays a list of outcomes, then answers."""

    def __init__(self, *outcomes: BaseException | Completion) -> None:
        self.outcomes = list(outcomes)
        super().__init__(self.play)

    async def play(self, request: Request) -> Completion:
        outcome = self.outcomes.pop(0) if self.outcomes else said("fine")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Noting:
    """A ledger in memory that notes what it was told, in order."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int | None], Entry] = {}
        self.held = Cost()
        self.spent = Cost()
        self.told: list[str] = []

    def find(self, key: str) -> Sequence[Entry]:
        return [entry for (stored, _), entry in self.entries.items() if stored == key]

    async def store(self, entry: Entry) -> Entry:
        self.told.append("store")
        return self.entries.setdefault((entry.key, entry.max_tokens), entry)

    async def open_run(self, run_id: str) -> Cost:
        return self.spent

    async def hold(self, run_id: str, worst: Cost) -> None:
        await asyncio.sleep(0)
        self.held = self.held + worst
        self.told.append("hold")

    def settle(self, run_id: str, worst: Cost, cost: Cost) -> None:
        self.told.append("settle")
        self.held = self.held - worst
        self.spent = self.spent + cost

    def add_wall(self, run_id: str, seconds: float) -> None:
        raise AssertionError("no layer counts wall time")

    def wall_s(self, run_id: str) -> float:
        return 0.0

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.sqlite")
    yield opened
    await opened.close()


def cached(
    inner: Acting, ledger: SqliteLedger | Noting, in_air: InAir | None = None, **options: Any
) -> Cached:
    stats = TeacherStats()
    in_air = {} if in_air is None else in_air
    return Cached(inner, ledger=ledger, identity=ME, stats=stats, in_air=in_air, **options)


# ------------------------------------------------------------------------------------ Cached


async def test_what_was_bought_is_a_hit_and_reads_the_same(ledger: SqliteLedger) -> None:
    teacher = Playing(said("because"))
    layer = cached(teacher, ledger)
    bought = await layer.complete(ask())
    again = await cached(Playing(RuntimeError("asked")), ledger).complete(ask())
    assert (bought.text, bought.hit, again.hit) == ("because", False, True)
    assert again == replace(bought, hit=True)
    assert len(bought.key) == 64
    assert (layer.stats.asked, layer.stats.hits) == (1, 0)


async def test_a_cut_answer_is_asked_again_when_more_is_allowed(ledger: SqliteLedger) -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=50)
    cut = parse_chat(chat_reply("becau", model="m", finish="length", usage=usage))
    teacher = Playing(cut, said("because", completion=60))
    layer = cached(teacher, ledger)
    assert (await layer.complete(ask(max_tokens=50))).finish == "length"
    assert (await layer.complete(ask(max_tokens=50))).hit
    assert (await layer.complete(ask(max_tokens=100))).text == "because"
    assert (await layer.complete(ask(max_tokens=90))).text == "because"
    assert len(teacher.asked) == 2


async def test_an_answer_is_durable_before_it_is_used(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    completion = await cached(Playing(), ledger).complete(ask())
    other = SqliteLedger(tmp_path / "l")
    assert [entry.reply for entry in other.find(completion.key)] == [completion.reply]
    await other.close()
    await ledger.close()


async def test_equal_questions_in_the_air_are_one_call(ledger: SqliteLedger) -> None:
    go = asyncio.Event()

    async def wait(request: Request) -> Completion:
        await go.wait()
        return said(str(request.sample))

    layer = cached(teacher := Acting(wait), ledger)
    async with asyncio.TaskGroup() as group:
        same = [group.create_task(layer.complete(ask())) for _ in range(20)]
        other = group.create_task(layer.complete(ask(sample=1)))
        await asyncio.sleep(0)
        go.set()
    assert len(teacher.asked) == 2
    assert {task.result().text for task in same} == {"0"}
    assert [task.result().hit for task in same].count(False) == 1
    assert other.result().text == "1"
    assert (layer.stats.asked, layer.stats.hits) == (21, 19)


async def test_two_teachers_that_are_one_share_what_is_in_the_air(ledger: SqliteLedger) -> None:
    in_air: InAir = {}
    layers = [cached(Playing(said(text)), ledger, in_air) for text in "ab"]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(layer.complete(ask())) for layer in layers]
    assert [task.result().text for task in tasks] == ["a", "a"]
    assert in_air == {}


async def test_of_two_processes_that_buy_both_use_what_a_replay_gives(tmp_path: Path) -> None:
    ledgers = [SqliteLedger(tmp_path / "l") for _ in range(2)]
    go = asyncio.Event()

    def buying(text: str) -> Acting:
        async def answer(_: Request) -> Completion:
            await go.wait()
            return said(text)

        return Acting(answer)

    teachers = [buying(text) for text in "ab"]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(cached(teacher, opened).complete(ask()))
            for teacher, opened in zip(teachers, ledgers, strict=True)
        ]
        await asyncio.sleep(0)
        go.set()
    used = {(task.result().text, task.result().hit) for task in tasks}
    replayed = await cached(Playing(), ledgers[0]).complete(ask())
    assert [len(teacher.asked) for teacher in teachers] == [1, 1]
    assert used == {(replayed.text, False)}
    for opened in ledgers:
        await opened.close()


async def test_refused_here_while_another_process_was_answered(tmp_path: Path) -> None:
    ledgers = [SqliteLedger(tmp_path / "l") for _ in range(2)]

    async def refuse(request: Request) -> Completion:
        await cached(Playing(said("because")), ledgers[1]).complete(request)
        raise RequestRefused(400, "too rude")

    assert (await cached(Acting(refuse), ledgers[0]).complete(ask())).text == "because"
    for opened in ledgers:
        await opened.close()


async def test_an_answer_at_another_length_is_found_before_a_refusal(ledger: SqliteLedger) -> None:
    with pytest.raises(RequestRefused):
        await cached(Playing(RequestRefused(400, "no")), ledger).complete(ask(max_tokens=50))
    await cached(Playing(said("fine")), ledger).complete(ask(max_tokens=90))
    for retry_failed in (True, False):
        layer = cached(Playing(), ledger, retry_failed=retry_failed)
        assert (await layer.complete(ask(max_tokens=50))).hit


async def test_without_usage_nobody_knows_what_the_answers_are_worth(ledger: SqliteLedger) -> None:
    layer = cached(Playing(said("a"), said("b", prompt=None, completion=None)), ledger)
    await layer.complete(ask("a"))
    assert layer.stats.worth_nano_usd(PRICE) == 10 * 1000 + 5 * 3000
    await layer.complete(ask("b"))
    assert layer.stats.worth_nano_usd(PRICE) is None
    assert layer.stats.worth_nano_usd(FREE) == 0


async def test_when_the_one_who_asked_is_cancelled_another_asks(ledger: SqliteLedger) -> None:
    go = asyncio.Event()

    async def wait(request: Request) -> Completion:
        await go.wait()
        return said("fine")

    layer = cached(teacher := Acting(wait), ledger)
    tasks = [asyncio.create_task(layer.complete(ask())) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.wait(tasks[:1])
    go.set()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, False, True, False, False]
    assert len(teacher.asked) == 2


async def test_cancelled_while_storing_is_not_paid_twice(ledger: SqliteLedger) -> None:
    layer = cached(teacher := Playing(), ledger)
    leader = asyncio.create_task(layer.complete(ask()))
    await asyncio.sleep(0)  # the answer is there and being stored
    assert len(teacher.asked) == 1
    follower = asyncio.create_task(layer.complete(ask()))
    await asyncio.sleep(0)
    leader.cancel()
    assert (await follower).hit
    assert len(teacher.asked) == 1


async def test_an_error_reaches_everyone_who_waits_and_is_not_stored(
    ledger: SqliteLedger,
) -> None:
    async def give_up(request: Request) -> Completion:
        await asyncio.sleep(0)
        raise Unanswered("gave up")

    layer = cached(Acting(give_up), ledger)
    results = [asyncio.create_task(layer.complete(ask())) for _ in range(3)]
    await asyncio.wait(results)
    assert [type(task.exception()) for task in results] == [Unanswered] * 3
    assert layer.stats.failed == 3
    assert (await cached(Playing(), ledger).complete(ask())).text == "fine"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_is_stored_and_not_asked_again_unless_told(
    ledger: SqliteLedger, status: int
) -> None:
    with pytest.raises(RequestRefused, match="too rude"):
        await cached(Playing(RequestRefused(status, "too rude")), ledger).complete(ask())
    again = cached(teacher := Playing(), ledger)
    with pytest.raises(RequestRefused, match=f"HTTP {status}: too rude"):
        await again.complete(ask())
    assert teacher.asked == []
    retrying = cached(teacher, ledger, retry_failed=True)
    assert (await retrying.complete(ask())).text == "fine"
    assert (await again.complete(ask())).text == "fine", "the answer replaced the refusal"
    assert len(teacher.asked) == 1


async def test_offline_answers_from_the_ledger_alone(ledger: SqliteLedger) -> None:
    await cached(Playing(), ledger).complete(ask())
    layer = cached(teacher := Playing(), ledger, offline=True)
    assert (await layer.complete(ask())).hit
    with pytest.raises(NotInLedger, match=r"offline .* run once without --offline to buy it"):
        await layer.complete(ask("How?"))
    assert teacher.asked == []


async def test_from_five_samples_to_eight_buys_three(ledger: SqliteLedger) -> None:
    layer = cached(teacher := Playing(), ledger)
    for samples in (5, 8):
        for sample in range(samples):
            await layer.complete(ask(sample=sample))
    assert [request.sample for request in teacher.asked] == list(range(8))


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
