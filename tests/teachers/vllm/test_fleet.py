"""A vLLM server's life within a run: started late, shared, started again, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import UserError
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.open import Gateway, OpenTeacher, open_teachers
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.vllm import server
from tests.teachers.vllm.life import alive, make_model, starts, told


@asynccontextmanager
async def opened(
    folder: Path, blocks: Mapping[str, Mapping[str, Any]], **options: Any
) -> AsyncIterator[Gateway]:
    ledger = SqliteLedger(folder / "ledger.sqlite")
    try:
        async with open_teachers(
            {name: TeacherConfig.model_validate(block) for name, block in blocks.items()},
            base=folder,
            ledger=ledger,
            run_id="run",
            budget=BudgetConfig(),
            **options,
        ) as gateway:
            yield gateway
    finally:
        await ledger.close()


def ask(teacher: OpenTeacher, text: str) -> Any:
    body: Fields = {"model": teacher.model, "messages": [{"role": "user", "content": text}]}
    return teacher.complete(Request(body=body, inputs={}, max_tokens=10))


async def ask_all(teacher: OpenTeacher, texts: list[str]) -> list[Completion]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(teacher, text)) for text in texts]
    return [task.result() for task in tasks]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BACKOFF_S", 0.01)
    monkeypatch.setattr(server, "LOOK_S", 0.02)


async def test_the_first_question_starts_it_and_the_end_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        assert not starts(notes)
        answers = await ask_all(gateway.teachers["main"], [f"say {n}" for n in range(30)])
        assert [answer.text for answer in answers] == [f"base: say {n}" for n in range(30)]
        assert len(starts(notes)) == 1
        assert alive(str(notes))
    assert not alive(str(notes))


async def test_a_warm_replay_starts_nothing_and_needs_no_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    block = {"main": {"vllm": {"model": "model"}}}
    async with opened(tmp_path, block) as gateway:
        await ask(gateway.teachers["main"], "hello")
    (tmp_path / "model").rename(tmp_path / "moved")
    monkeypatch.setenv("SYNTHKD_VLLM_PYTHON", "/nowhere")
    more = {"main": {"vllm": {"model": "moved", "args": ["--max-num-seqs", 4]}}}
    async with opened(tmp_path, more) as gateway:
        assert (await ask(gateway.teachers["main"], "hello")).hit
        with pytest.raises(UserError, match="/nowhere, which is no program"):
            await ask(gateway.teachers["main"], "something else")
    assert len(starts(notes)) == 1


async def test_one_that_dies_is_started_again_on_its_port_and_loses_no_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, die_after=20, deaths=2, slow_s=0.01)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        answers = await ask_all(gateway.teachers["main"], [f"say {n}" for n in range(60)])
        assert [answer.text for answer in answers] == [f"base: say {n}" for n in range(60)]
    ports = [each["args"][each["args"].index("--port") + 1] for each in starts(notes)]
    assert len(ports) == 3
    assert len(set(ports)) == 1
    assert not alive(str(notes))
