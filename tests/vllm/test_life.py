"""The whole life of a real vLLM server: started by a run, killed, started again, gone in the end.

The deaths that take no real server are in tests/teachers/vllm.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import TeacherRefused
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.vllm import server
from tests.runs import command
from tests.teachers.vllm.life import alive, awaited

START_S = 240.0
"""Some 25 s on two quiet cores."""
ROWS = 400
ARGS = ["--enforce-eager", "--dtype", "float32", "--max-model-len", "2048"]
PIPELINE = """
name: own
teachers:
  main:
    vllm:
      model: {model}
      args: [--enforce-eager, --dtype, float32, --max-model-len, 2048{more}]
    concurrency: 2
    params: {{max_tokens: 24, temperature: 0.8, seed: 1}}
source: {{jsonl: rows.jsonl, id: [id]}}
steps:
  - {{use: generate, with: {{teacher: main}}}}
export: {{format: messages, prompt: instruction, completion: response}}
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")


def write_pipeline(folder: Path, model: Path, more: str = "") -> Path:
    rows = [json.dumps({"id": n, "instruction": f"say {n}"}) for n in range(ROWS)]
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    file = folder / "own.yaml"
    file.write_text(PIPELINE.format(model=model, more=more), encoding="utf-8")
    return file


def begun(pipeline: Path, out: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", pipeline, "--out", out, "--ledger", f"{out}.db"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(run: subprocess.Popen[str], rows: int) -> None:
    """Read what the run prints until it has brought so many rows into its first step."""
    assert run.stdout is not None
    for line in run.stdout:
        sys.stdout.write(line)
        words = line.split(" | ")
        if len(words) > 2 and words[1] == "asking" and int(words[2].split("/")[0]) >= rows:
            return
    raise AssertionError("it ended before")


def finished(run: subprocess.Popen[str]) -> str:
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 0, said
    return said


def below(pid: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            children = {int(child) for child in task.read_text().split()}
            todo += children - found
            found |= children
    return found


def servers_of(run: subprocess.Popen[str]) -> dict[str, int]:
    """Its guards and its server, by what they are."""
    found = {}
    for pid in below(run.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if words[4:5] == ["watchdog"]:
            found[words[5]] = pid
        elif "vllm.entrypoints.openai.api_server" in words:
            found["server"] = pid
    return found


def are_gone(pids: set[int]) -> bool:
    def state(pid: int) -> bytes:
        try:
            return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            return b"Z"

    return all(state(pid) == b"Z" for pid in pids)


def test_a_run_outlives_its_server_and_its_watchdog(
    vllm_python: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(write_pipeline(tmp_path, tiny_model), "out")
    until(run, 40)
    first = below(run.pid)
    assert len(first) >= 5  # two guards, the server, its engine, its worker
    os.kill(servers_of(run)["server"], signal.SIGKILL)
    assert awaited(lambda: are_gone(first)), "the engine outlived the server"
    until(run, 150)
    second = below(run.pid)
    os.kill(servers_of(run)["inner"], signal.SIGKILL)
    assert awaited(lambda: are_gone(second)), "the engine outlived the watchdog"
    said = finished(run)
    assert f"{ROWS} rows read = {ROWS} kept" in said
    # Another start, with other settings for speed, asks nothing: so it needs no vLLM.
    monkeypatch.setenv("SYNTHKD_VLLM_PYTHON", "/nowhere")
    write_pipeline(tmp_path, tiny_model, ", --max-num-seqs, 8")
    again = subprocess.run(
        command("run", tmp_path / "own.yaml", "--out", "again", "--ledger", "out.db"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "dataset" / "train.jsonl").read_bytes() == (
        tmp_path / "out" / "dataset" / "train.jsonl"
    ).read_bytes()


def test_of_two_runs_one_is_killed_and_nothing_of_it_is_left(
    vllm_python: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pipeline = write_pipeline(tmp_path, tiny_model)
    killed, other = begun(pipeline, "killed"), begun(pipeline, "other")
    until(killed, 20)
    its = below(killed.pid)
    assert len(its) >= 5
    killed.kill()
    killed.communicate()
    assert awaited(lambda: are_gone(its)), "something outlived the run"
    assert f"{ROWS} rows read = {ROWS} kept" in finished(other)
    # The killed one goes on from where it was.
    again = begun(pipeline, "killed")
    until(again, 1)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 130
    assert not alive(str(tmp_path))


def ask(teacher: OpenTeacher, text: str) -> Any:
    body: Fields = {
        "model": teacher.model,
        "messages": [{"role": "user", "content": text}],
        **teacher.params,
    }
    return teacher.complete(Request(body=body, inputs={}, max_tokens=16))


async def answers(
    folder: Path, blocks: Mapping[str, Mapping[str, Any]], *, kill: bool = False
) -> dict[str, Completion]:
    """What each teacher says to one question."""
    ledger = SqliteLedger(folder / "ledger.sqlite")
    others = below(os.getpid())  # the server of the tests that only ask
    try:
        async with open_teachers(
            {name: TeacherConfig.model_validate(block) for name, block in blocks.items()},
            base=folder,
            ledger=ledger,
            run_id="run",
            budget=BudgetConfig(),
        ) as gateway:
            found = {name: await ask(gateway.teachers[name], "where is it?") for name in blocks}
            if kill:
                for pid in below(os.getpid()) - others:
                    if b"api_server" in _command_of(pid):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.5)
                await ask(gateway.teachers[next(iter(blocks))], "and now?")
            return found
    finally:
        await ledger.close()


def _command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_an_adapter_is_served_beside_the_model(
    vllm_python: Path, tiny_model: Path, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("tiny_adapter.py")
    subprocess.run([vllm_python, script, tiny_model, tmp_path / "adapter"], check=True)  # noqa: ASYNC221  nothing else runs
    vllm = {"model": str(tiny_model), "lora": {"other": "adapter"}, "args": ARGS}
    params = {"temperature": 0, "logprobs": True}
    blocks: dict[str, dict[str, Any]] = {
        "base": {"vllm": vllm, "params": params},
        "adapted": {"vllm": vllm, "model": "other", "params": params},
    }
    said = await answers(tmp_path, blocks)
    assert said["base"].logprobs != said["adapted"].logprobs
    assert said["adapted"].served_model == "other"
    assert not alive(str(tmp_path))


async def test_one_that_dies_when_it_was_healthy_stops_the_run_with_its_log(
    vllm_python: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RESTARTS", 0)
    block = {"vllm": {"model": str(tiny_model), "args": ARGS}}
    with pytest.raises(TeacherRefused, match=r"died 1 times.*SIGKILL") as raised:
        await answers(tmp_path, {"main": block}, kill=True)
    assert "the end of its log .synthkd/vllm/" in str(raised.value)
    assert not alive(str(tmp_path))


def unknown_model(model: Path, folder: Path) -> Path:
    """A copy that says to be of an architecture that nobody knows."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_bytes())
    config |= {"architectures": ["NobodyKnowsItForCausalLM"], "model_type": "nobody_knows_it"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


async def test_why_it_does_not_start_is_said_in_one_sentence(
    vllm_python: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {"vllm": {"model": str(tiny_model), "args": [*ARGS, "--no-such-thing", "1"]}}
    with pytest.raises(TeacherRefused, match="does not start: it does not take these `args`"):
        await answers(tmp_path, {"main": block})
    unknown = unknown_model(tiny_model, tmp_path / "unknown")
    with pytest.raises(TeacherRefused, match="this vLLM does not know the model's architecture"):
        await answers(tmp_path, {"main": {"vllm": {"model": str(unknown), "args": ARGS}}})
    # More room for answers than this machine has.
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "900000")
    large = {"vllm": {"model": str(tiny_model), "args": ARGS}}
    with pytest.raises(TeacherRefused, match="memory"):
        await answers(tmp_path, {"main": large})
    assert not alive(str(tmp_path))
