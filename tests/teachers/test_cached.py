"""Cached: pay once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from synthkd.errors import NotInLedger, RequestRefused, Unanswered
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.teachers.layers import InAir
from synthkd.teachers.request import Completion, Request, Usage
from synthkd.teachers.wire import chat_reply, parse_chat
from tests.teachers.acting import Acting, Noting, Playing, ask, cached, said


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.sqlite")
    yield opened
    await opened.close()


async def test_what_was_bought_is_a_hit_and_reads_the_same(ledger: SqliteLedger) -> None:
    teacher = Playing(said("because"))
    layer = cached(teacher, ledger)
    bought = await layer.complete(ask())
    again = await cached(Playing(RuntimeError("asked")), ledger).complete(ask())
    assert (bought.text, bought.hit, again.hit) == ("because", False, True)
    assert again == bought._replace(hit=True)
    assert len(bought.key) == 64
    assert (layer.stats.asked, layer.stats.hits) == (1, 0)


async def test_a_longer_answer_that_came_after_reading_ahead_is_not_bought_again(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=50)
    cut = parse_chat(chat_reply("becau", model="m", finish="length", usage=usage))
    first, question = ask("first"), ask("why", max_tokens=50)
    layer = cached(Playing(said("one"), cut), ledger)
    await layer.complete(first)
    await layer.complete(question)
    again = SqliteLedger(tmp_path / "ledger.sqlite")
    replay = cached(Playing(RuntimeError("asked")), again)
    assert (await replay.complete(first)).hit  # the cut answer is read ahead with it
    longer = question._replace(max_tokens=100)
    await cached(Playing(said("because", completion=60)), ledger).complete(longer)
    assert (await replay.complete(longer)).text == "because"
    await again.close()


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


async def test_who_answers_is_noted_once_each() -> None:
    async def answer(request: Request) -> Completion:
        model = "m-2" if request.sample > 2 else "m-1"
        return said("fine")._replace(served_model=model, fingerprint=f"fp{request.sample // 5}")

    layer = cached(Acting(answer), Noting())
    for sample in [*range(7), 0, 1]:
        await layer.complete(ask(sample=sample))
    assert layer.stats.counts().served == ["m-1 (fp0)", "m-2 (fp0)", "m-2 (fp1)", "m"]
    for state in range(50):
        layer.stats.saw("m", f"fp{state}")
    assert len(layer.stats.counts().served) == 20
