"""A vLLM server's life within a run: started late, shared, started again, stopped."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import NotInLedger, TeacherRefused, UserError
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers import http
from synthkd.teachers.load import watched
from synthkd.teachers.open import Gateway, OpenTeacher, open_teachers
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.vllm import server
from tests.teachers.vllm.life import (
    alive,
    environment_of,
    make_adapter,
    make_model,
    port_of,
    starts,
    told,
)


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
            sleep=lambda wait_s: asyncio.sleep(wait_s / 50),
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
    ports = [port_of(each) for each in starts(notes)]
    assert len(ports) == 3
    assert len(set(ports)) == 1
    assert not alive(str(notes))


async def test_two_teachers_with_one_block_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    make_adapter(tmp_path / "adapter", rank=24)
    vllm = {"model": "model", "lora": {"sql": "adapter"}}
    blocks: dict[str, dict[str, Any]] = {
        "base": {"vllm": vllm},
        "warm": {"vllm": vllm, "params": {"temperature": 1.0}},
        "sql": {"vllm": vllm, "model": "sql"},
    }
    async with opened(tmp_path, blocks) as gateway:
        texts = {name: (await ask(gateway.teachers[name], "hello")).text for name in blocks}
        assert texts == {"base": "base: hello", "warm": "base: hello", "sql": "sql: hello"}
        assert gateway.teachers["base"].stats.hits == 0
    (start,) = starts(notes)
    line = " ".join(start["args"])
    assert f"--enable-lora --lora-modules sql={tmp_path}/adapter --max-lora-rank 32" in line


async def test_several_servers_share_the_gpus_and_the_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, slow_s=0.02)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4,5,6")
    make_model(tmp_path / "model")
    block = {"vllm": {"model": "model", "servers": 2, "tensor_parallel": 2}}
    async with opened(tmp_path, {"main": block}) as gateway:
        (fleet,) = gateway.fleets.values()
        assert len(set(await fleet.all_ready())) == 2
        await ask_all(gateway.teachers["main"], [f"say {n}" for n in range(60)])
        assert {server.in_flight for server in fleet.servers.all} == {0}
    assert {each["env"]["CUDA_VISIBLE_DEVICES"] for each in starts(notes)} == {"3,4", "5,6"}
    assert all("--tensor-parallel-size" in each["args"] for each in starts(notes))
    assert not alive(str(notes))


async def test_one_of_several_that_dies_costs_no_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, tmp_path, die_after=15, deaths=1, slow_s=0.01)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model", "servers": 2}}}) as gateway:
        answers = await ask_all(gateway.teachers["main"], [f"say {n}" for n in range(80)])
        assert [answer.text for answer in answers] == [f"base: say {n}" for n in range(80)]


async def test_too_few_gpus_are_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    make_model(tmp_path / "model")
    block = {"vllm": {"model": "model", "servers": 2, "tensor_parallel": 2}}
    async with opened(tmp_path, {"main": block}) as gateway:
        with pytest.raises(UserError, match="2 servers of 2 GPUs need 4, but there are 3"):
            await ask(gateway.teachers["main"], "hello")
    assert not starts(notes)


async def test_one_that_dies_again_and_again_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, die_after=1, deaths=99, log=["the last words"])
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        with pytest.raises(TeacherRefused, match="died 4 times") as raised:
            await ask(gateway.teachers["main"], "hello")
        assert "the last words" in str(raised.value)
        with pytest.raises(TeacherRefused, match="died 4 times"):
            await ask(gateway.teachers["main"], "another")
    assert len(starts(notes)) == 4
    assert not alive(str(notes))


async def test_why_it_does_not_start_is_read_off_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oom = "(EngineCore pid=7) ERROR 11-25 01:00:00 [core.py:1] torch.OutOfMemoryError: CUDA out of"
    told(monkeypatch, tmp_path, exit=1, log=["something before", f"{oom} memory. Tried 20 GiB"])
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        with pytest.raises(TeacherRefused, match="does not start: the GPU's memory does") as raised:
            await ask(gateway.teachers["main"], "hello")
        assert "Tried 20 GiB" in str(raised.value)
        assert "something before" in str(raised.value)


async def test_one_that_never_answers_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, hang=True)
    make_model(tmp_path / "model")
    block = {"vllm": {"model": "model", "start_timeout_s": 0.5}}
    async with opened(tmp_path, {"main": block}) as gateway:
        with pytest.raises(TeacherRefused, match=r"did not answer within 0\.5 s"):
            await ask(gateway.teachers["main"], "hello")
        assert not alive(str(notes))


@pytest.mark.parametrize("said", ["[1]", '{"data": null}', '{"data": ["x"]}', "null", "<html>"])
async def test_what_is_healthy_and_no_vllm_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    notes = told(monkeypatch, tmp_path, models=said)
    make_model(tmp_path / "model")
    block = {"vllm": {"model": "model", "start_timeout_s": 1.5}}
    async with opened(tmp_path, {"main": block}) as gateway:
        with pytest.raises(TeacherRefused, match=r"did not answer within 1\.5 s"):
            await ask(gateway.teachers["main"], "hello")
        assert not alive(str(notes))


async def test_a_port_that_was_taken_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, take_port=2)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        assert (await ask(gateway.teachers["main"], "hello")).text == "base: hello"
    assert len({port_of(each) for each in starts(notes)}) == 3


async def test_the_end_of_a_run_stops_one_that_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, hang=True, log=["Starting to load model /m..."])
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        asking = asyncio.create_task(ask(gateway.teachers["main"], "hello"))
        while "loading weights (Starting to load model /m...)" not in " ".join(gateway.starting):  # noqa: ASYNC110  a log tells no event
            await asyncio.sleep(0.01)
        # What waits for a server holds no slot, so a signal need not wait for it.
        assert gateway.closing.in_air == 0
        asking.cancel()
    assert not alive(str(notes))


async def test_released_it_starts_again_for_a_new_question_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        await ask(gateway.teachers["main"], "hello")
        await gateway.release()
        assert not alive(str(notes))
        assert (await ask(gateway.teachers["main"], "hello")).hit
        assert len(starts(notes)) == 1
        assert (await ask(gateway.teachers["main"], "news")).text == "base: news"
    assert len(starts(notes)) == 2
    assert not alive(str(notes))


async def test_released_and_started_again_its_load_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "watched", functools.partial(watched, every_s=0.01))
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    block = {"vllm": {"model": "model"}, "concurrency": "auto"}
    async with opened(tmp_path, {"main": block}) as gateway:
        for number in (1, 2):
            await ask(gateway.teachers["main"], f"say {number}")
            port = port_of(starts(notes)[-1])
            while not (notes / f"looked-{port}").exists():  # noqa: ASYNC110  another process
                await asyncio.sleep(0.01)
            await gateway.release()
    assert len({port_of(each) for each in starts(notes)}) == 2


async def test_nobody_without_the_key_asks_it_and_no_key_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret-secret")
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        await ask(gateway.teachers["main"], "hello")
        (start,) = starts(notes)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port_of(start)}/v1/models") as response,
        ):
            assert response.status == 401
        environ = environment_of(start["pid"])
        assert b"secret-secret" not in environ
        key = next(each for each in environ.split(b"\0") if each.startswith(b"VLLM_API_KEY="))[13:]
        assert key.decode() not in " ".join(start["args"])
        wanted = {"VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
        assert {name: start["env"].get(name) for name in wanted} == dict.fromkeys(wanted, "1")


async def test_offline_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}, offline=True) as gateway:
        with pytest.raises(NotInLedger):
            await ask(gateway.teachers["main"], "hello")
    assert not starts(notes)


async def test_it_makes_no_vectors_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    async with opened(tmp_path, {"main": {"vllm": {"model": "model"}}}) as gateway:
        with pytest.raises(UserError, match=r"teachers\.main makes no vectors"):
            gateway.teachers["main"].embedder()
