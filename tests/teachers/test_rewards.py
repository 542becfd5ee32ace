"""Scores of a reward model go through the stack as answers do: keys, ledger, budget, retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import BudgetReached, RequestRefused, Unanswered, UserError
from synthkd.fake_teacher import FakeTeacher
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.teachers.embeddings import split
from synthkd.teachers.endpoint import api_urls
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.teachers.request import Completion, Identity, Request, key_of


def ask(text: str, **more: Any) -> Request:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
    return Request(api="classify", body={"model": "m", "messages": messages, **more}, inputs={})


def flat(text: str) -> Request:
    return Request(api="classify", body={"model": "m", "input": text}, inputs={})


@asynccontextmanager
async def opened(
    url: str, folder: Path, budget: BudgetConfig | None = None, **settings: Any
) -> AsyncIterator[OpenTeacher]:
    async def soon(_: float) -> None:
        await asyncio.sleep(0)

    ledger = SqliteLedger(folder / "ledger.sqlite")
    config = TeacherConfig.model_validate(
        {"endpoint": url, "model": "m", "served_by": "me"} | settings
    )
    async with open_teachers(
        {"rm": config},
        base=folder,
        ledger=ledger,
        run_id="r",
        budget=budget or BudgetConfig(),
        sleep=soon,
    ) as gateway:
        yield gateway.teachers["rm"]
    await ledger.close()


async def scores(teacher: OpenTeacher, *requests: Request) -> list[Completion]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(teacher.score(request)) for request in requests]
    return [task.result() for task in tasks]


async def test_a_score_is_kept_by_its_key_and_bought_once(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        async with opened(provider.url, tmp_path) as teacher:
            first, twin, other = await scores(teacher, ask("a"), ask("a"), ask("b"))
            again = await teacher.score(ask("a"))
        assert provider.requests == 2
    assert first.key == twin.key == key_of(ask("a"), Identity(served_by="me")) != other.key
    assert (again.text, again.hit) == (first.text, True)
    assert first.usage.prompt_tokens
    assert first.usage.completion_tokens == 0
    chat = ask("a")._replace(api="chat")
    assert key_of(chat, Identity(served_by="me")) != first.key


async def test_each_text_has_its_own_entry_and_score(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        async with opened(provider.url, tmp_path) as teacher:
            together = await scores(teacher, *(flat(text) for text in "abc"))
            assert provider.requests == 1
        async with opened(provider.url, tmp_path / "alone", served_by="other") as teacher:
            alone = [await teacher.score(flat(text)) for text in "abc"]
    assert [each.text for each in together] == [each.text for each in alone]
    assert len({each.key for each in together}) == 3


async def test_what_fails_for_now_is_tried_again(tmp_path: Path) -> None:
    script = ["500", "cut", "json", "empty"]
    async with FakeTeacher(script=script).serve() as provider:
        async with opened(provider.url, tmp_path, max_attempts=6) as teacher:
            assert (await teacher.score(ask("a"))).text.startswith("[")
        assert provider.requests == 5


async def test_a_refusal_is_kept(tmp_path: Path) -> None:
    async with FakeTeacher(script=["400"]).serve() as provider:
        async with opened(provider.url, tmp_path) as teacher:
            for _ in range(2):
                with pytest.raises(RequestRefused):
                    await teacher.score(ask("a"))
        assert provider.requests == 1


async def test_the_budget_holds_for_scores(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        async with opened(provider.url, tmp_path, BudgetConfig(requests=1)) as teacher:
            await teacher.score(ask("a"))
            with pytest.raises(BudgetReached):
                await teacher.score(ask("b"))
        assert provider.requests == 1


@pytest.mark.parametrize(
    "settings",
    [{"mode": "batch"}, {"endpoint": None, "model": None, "simulated": {"world": "tickets"}}],
)
async def test_who_scores_nothing_says_so(tmp_path: Path, settings: dict[str, Any]) -> None:
    if "simulated" in settings:
        settings |= {"served_by": None}
    async with opened("http://127.0.0.1:9/v1", tmp_path, **settings) as teacher:
        with pytest.raises(UserError, match=r"teachers\.rm is no reward model"):
            await teacher.score(ask("a"))


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h/v1", "http://h/classify"),
        ("http://h/v1/", "http://h/classify"),
        ("http://h/pool/v1?a=b", "http://h/pool/classify?a=b"),
        ("http://h", "http://h/classify"),
    ],
)
def test_it_is_asked_at_the_root_of_the_server(endpoint: str, url: str) -> None:
    config = TeacherConfig.model_validate({"endpoint": endpoint, "model": "m"})
    assert api_urls("rm", config)[0]["classify"] == url


def test_a_reply_that_lacks_a_score_is_no_answer() -> None:
    with pytest.raises(Unanswered, match="has not a score for each"):
        split(b'{"data": [{"index": 0, "probs": [1.0]}]}', 2, "classify")
