"""Asked once more: for the shape of an answer, for room. Over real sockets, with a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import RequestRefused
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.schemas import Schema
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.teachers.structured import InShape, Lengthened
from tests.teachers.serving import ask, serving

SCHEMA = Schema.of(
    "s", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
)
Say = Callable[[Mapping[str, Any]], str]


@asynccontextmanager
async def opened(
    folder: Path, say: Say, seen: list[Mapping[str, Any]], finish: str = "stop"
) -> AsyncIterator[OpenTeacher]:
    """The whole stack on a server that says what it is told to; one token a character."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        seen.append(body)
        text = say(body)
        if text == "refuse":
            return web.json_response({"error": {"message": "no schemas here"}}, status=400)
        room = body.get("max_tokens", 10**6)
        choice = {
            "message": {"content": text[:room]},
            "finish_reason": "length" if len(text) > room else finish,
        }
        usage = {"prompt_tokens": 1, "completion_tokens": min(room, len(text))}
        return web.json_response({"choices": [choice], "usage": usage})

    ledger = SqliteLedger(folder / "ledger.sqlite")
    async with serving(answer) as url:
        config = TeacherConfig(endpoint=url, model="m", served_by="me")
        async with open_teachers(
            {"main": config}, base=folder, ledger=ledger, run_id="r", budget=BudgetConfig()
        ) as gateway:
            yield gateway.teachers["main"]
    await ledger.close()


async def test_an_answer_that_fits_is_asked_for_once(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    async with opened(tmp_path, lambda _: '{"n": 1}', seen) as teacher:
        completion = await InShape(teacher, SCHEMA).complete(ask())
    assert completion.shaped is not None
    assert (completion.shaped.value, completion.shaped.faults) == ({"n": 1}, ())
    assert completion.keys == (completion.key,)
    assert seen[0]["response_format"] == SCHEMA.response_format
    assert len(seen) == 1


def mending(body: Mapping[str, Any]) -> str:
    return '{"n": 2}' if len(body["messages"]) > 1 else '{"n": "two"}'


async def test_a_faulty_answer_is_mended_once_and_both_are_kept(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    async with opened(tmp_path, mending, seen) as teacher:
        completion = await InShape(teacher, SCHEMA).complete(ask())
        again = await InShape(teacher, SCHEMA).complete(ask())
        assert teacher.stats.attempts == 2
        assert teacher.stats.completion_tokens == len('{"n": "two"}') + len('{"n": 2}')
    assert completion.shaped is not None
    assert (completion.shaped.value, completion.shaped.faults) == ({"n": 2}, ())
    assert completion.keys == (completion.shaped.mends, completion.key) == again.keys
    assert len(set(completion.keys)) == 2
    assert again.hit
    question, faulty, told = seen[1]["messages"]
    assert question == seen[0]["messages"][0]
    assert faulty == {"role": "assistant", "content": '{"n": "two"}'}
    assert '- n: Input should be a valid integer, got "two"' in told["content"]


async def test_there_is_one_repair_at_most(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    async with opened(
        tmp_path, lambda body: f'{{"n": "{len(body["messages"])}"}}', seen
    ) as teacher:
        completion = await InShape(teacher, SCHEMA).complete(ask())
    assert len(seen) == 2
    assert completion.shaped is not None
    assert completion.shaped.faults == ('n: Input should be a valid integer, got "3"',)


@pytest.mark.parametrize("finish", ["length", "content_filter", "tool_calls"])
async def test_what_was_cut_or_filtered_is_not_mended(tmp_path: Path, finish: str) -> None:
    seen: list[Mapping[str, Any]] = []
    async with opened(tmp_path, lambda _: '{"n":', seen, finish) as teacher:
        completion = await InShape(teacher, SCHEMA).complete(ask())
    assert len(seen) == 1
    assert completion.shaped is not None
    assert completion.shaped.faults


async def test_a_server_that_takes_no_schema_refuses_the_row(tmp_path: Path) -> None:
    async with opened(tmp_path, lambda _: "refuse", []) as teacher:
        with pytest.raises(RequestRefused, match="no schemas here"):
            await InShape(teacher, SCHEMA).complete(ask())


async def test_a_cut_answer_is_asked_for_once_more_with_room(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    async with opened(tmp_path, lambda _: "x" * 20, seen) as teacher:
        longer = Lengthened(teacher, 30)
        first = await longer.complete(ask(max_tokens=5))
        assert (len(first.text), first.finish, first.hit) == (20, "stop", False)
        again = await longer.complete(ask(max_tokens=5))
        assert (again.text, again.hit) == (first.text, True)
        assert [body["max_tokens"] for body in seen] == [5, 30]
        assert (await Lengthened(teacher, 10).complete(ask("b", max_tokens=5))).finish == "length"
        assert [body["max_tokens"] for body in seen] == [5, 30, 5, 10]
        for room in (10, 12, None):
            await Lengthened(teacher, 10).complete(ask("c", max_tokens=room))
        assert [body.get("max_tokens") for body in seen[4:]] == [10, 12, None]
