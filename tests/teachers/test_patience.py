"""A teacher that is broken for everybody stops the run; a prompt that always fails costs itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from synthkd.errors import AttemptFailed, RequestRefused, TeacherRefused, Unanswered
from synthkd.teachers.layers import Limited, Retrying
from synthkd.teachers.limits import Limits
from synthkd.teachers.patience import FIRST_PATIENCE_S, PATIENCE_S, Patience
from synthkd.teachers.request import Completion, Request
from tests.teachers.acting import Acting, ask, said
from tests.virtual_time import run_virtually

Act = Callable[[Request], Awaitable[Completion]]


def refused() -> AttemptFailed:
    return AttemptFailed("no connection to http://127.0.0.1:1/v1: refused", unreachable=True)


def asked(act: Act, questions: int, patience: Patience) -> tuple[list[object], float]:
    """The outcome of each question, 64 at once, and the virtual seconds that it took."""

    async def work() -> list[object]:
        layer = Retrying(Limited(Acting(act), Limits(64)), max_attempts=4, patience=patience)
        outcomes: list[object] = [None] * questions
        numbers = iter(range(questions))

        async def worker() -> None:
            for number in numbers:
                try:
                    outcomes[number] = (await layer.complete(ask(str(number), sample=number))).text
                except (Unanswered, RequestRefused) as error:
                    outcomes[number] = type(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(worker())
        return outcomes

    return run_virtually(work())


@pytest.mark.parametrize("questions", [1, 500])
@pytest.mark.parametrize("patience_s", [None, 40.0])
def test_a_server_that_never_takes_a_connection_stops_the_run_soon(
    questions: int, patience_s: float | None
) -> None:
    stopped_at = 0.0

    async def act(_: Request) -> Completion:
        nonlocal stopped_at
        await asyncio.sleep(0.001)
        stopped_at = asyncio.get_running_loop().time()
        raise refused()

    allowed_s = patience_s or FIRST_PATIENCE_S
    with pytest.raises(BaseExceptionGroup) as raised:
        asked(act, questions, Patience(patience_s))
    errors = raised.value.exceptions
    assert {type(error) for error in errors} == {TeacherRefused}
    assert "has done nothing but fail for" in str(errors[0])
    assert "everything bought is kept" in str(errors[0])
    assert allowed_s < stopped_at < allowed_s + 11


@pytest.mark.parametrize("away_s", [30.0, 150.0])
@pytest.mark.parametrize("how", ["refused", "503"])
def test_a_server_that_is_started_again_costs_no_row(away_s: float, how: str) -> None:
    async def act(_: Request) -> Completion:
        await asyncio.sleep(0.5)
        if 10 < asyncio.get_running_loop().time() < 10 + away_s:
            raise refused() if how == "refused" else AttemptFailed("HTTP 503", status=503)
        return said("fine")

    outcomes, took_s = asked(act, 3000, Patience())
    assert set(outcomes) == {"fine"}
    assert took_s < 3000 / 64 * 0.5 + away_s + (12 if how == "refused" else 62)


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_prompt_that_always_fails_costs_only_itself(status: int | None) -> None:
    async def act(request: Request) -> Completion:
        await asyncio.sleep(0.5)
        if request.sample % 50 == 0:
            raise AttemptFailed("poison", status=status)
        return said("fine")

    outcomes, _ = asked(act, 1000, Patience())
    assert outcomes == [Unanswered if number % 50 == 0 else "fine" for number in range(1000)]


def test_the_last_rows_may_all_be_poison() -> None:
    async def act(request: Request) -> Completion:
        if request.sample >= 995:
            await asyncio.sleep(120)
            raise AttemptFailed("no whole answer in 120 s", maybe_billed=True)
        await asyncio.sleep(0.5)
        return said("fine")

    outcomes, _ = asked(act, 1000, Patience())
    assert outcomes[995:] == [Unanswered] * 5
    assert set(outcomes[:995]) == {"fine"}


def test_nothing_but_failures_stops_the_run_before_many_rows_are_lost() -> None:
    async def act(_: Request) -> Completion:
        await asyncio.sleep(0.1)
        raise AttemptFailed("HTTP 500", status=500)

    with pytest.raises(BaseExceptionGroup) as raised:
        asked(act, 1000, Patience())
    assert {type(error) for error in raised.value.exceptions} == {TeacherRefused}


def test_a_refusal_of_one_request_is_a_sign_of_life() -> None:
    patience = Patience(10.0)
    error = refused()
    patience.failed(0.0, error, new=True, answers=0)
    patience.answered()
    patience.failed(11.0, error, new=True, answers=1)
    with pytest.raises(TeacherRefused):
        patience.failed(22.0, error, new=False, answers=1)


def test_a_wait_that_the_provider_asks_for_is_not_impatience() -> None:
    patience = Patience()
    error = AttemptFailed("HTTP 429", status=429, wait_s=300.0)
    for number in range(20):
        patience.failed(float(number), error, new=True, answers=0)
    patience.failed(301.0, error, new=False, answers=0)
    with pytest.raises(TeacherRefused):
        patience.failed(PATIENCE_S + 301.0, error, new=False, answers=0)


def test_what_may_be_billed_is_never_excused() -> None:
    patience = Patience()
    for number in range(20):
        patience.failed(0.1 * number, refused(), new=True, answers=0)
    assert patience.excuses(refused(), 0)
    assert patience.excuses(AttemptFailed("HTTP 500", status=500), 0)
    assert not patience.excuses(AttemptFailed("HTTP 429", status=429), 0)
    assert not patience.excuses(AttemptFailed("cut", maybe_billed=True), 0)
    patience.answered()
    assert not patience.excuses(refused(), 0)


def test_whoever_says_at_once_and_never_answers_is_not_asked_without_end() -> None:
    times = 0

    async def act(_: Request) -> Completion:
        nonlocal times
        times += 1
        await asyncio.sleep(0.001)
        raise AttemptFailed("HTTP 503", wait_s=0.0, status=503)

    with pytest.raises(BaseExceptionGroup) as raised:
        asked(act, 64, Patience(60.0))
    assert {type(error) for error in raised.value.exceptions} == {TeacherRefused}
    # Each of 64 questions: 4 tries at once, then waits that grow to a minute.
    assert times < 64 * 12
