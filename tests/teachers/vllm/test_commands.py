"""`serve`, `doctor`, `plan` and a whole run with a student, with the stand-in for vLLM."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkd import running
from synthkd.config import TeacherConfig
from synthkd.doctor.vllm import available_memory
from synthkd.pipeline import Pipeline
from synthkd.students.artefact import Student
from synthkd.training import train
from tests.runs import command, finished
from tests.teachers.vllm.life import alive, make_adapter, make_model, starts, told

pytestmark = pytest.mark.timeout(180)  # a run, a server and two guards: slow on a busy machine

LABELS = """
name: labels
teachers:
  main: {vllm: {model: model}, params: {max_tokens: 10}}
source: {jsonl: rows.jsonl, id: [id], holdout: {test: 0.5, by: [id]}}
steps:
  - {use: generate, with: {teacher: main}}
export: {format: messages, prompt: instruction, completion: response}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_serve_says_what_a_pipeline_needs_and_stops_with_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path, children=1)
    make_model(tmp_path / "model")
    make_adapter(tmp_path / "sql")
    port = free_port()
    serving = subprocess.Popen(
        command("serve", "model", "--port", str(port), "--lora", "sql=sql", "--", "--seed", "3"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    said = [serving.stdout.readline() for _ in range(6)]
    assert said[0] == f"ready: http://127.0.0.1:{port}/v1\n"
    block = yaml.safe_load("".join(said[1:]))["teachers"]["main"]
    assert TeacherConfig.model_validate(block).kind == "http"
    assert (block["endpoint"], block["model"]) == (f"http://127.0.0.1:{port}/v1", "model")
    question = json.dumps({"model": "sql", "messages": [{"role": "user", "content": "hello"}]})
    asked = urllib.request.Request(
        f"{block['endpoint']}/chat/completions", question.encode(), {"Content-Type": "text/json"}
    )
    with urllib.request.urlopen(asked, timeout=20) as reply:
        assert json.load(reply)["choices"][0]["message"]["content"] == "sql: hello"
    assert starts(notes)[0]["args"][-2:] == ["--seed", "3"]
    serving.send_signal(signal.SIGINT)
    assert serving.wait(30) == 0
    serving.stdout.close()
    assert not alive(str(notes))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("serve", "nowhere"), 2, "nowhere is no folder"),
        (("serve", "model", "--lora", "sql"), 2, "--lora is NAME=PATH"),
        (("serve", "model", "--", "--trust-remote-code"), 2, "--trust-remote-code is not for"),
        (("serve", "model", "--servers", "99"), 2, "less than or equal to 64"),
    ],
)
def test_serve_says_what_is_wrong(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    make_model(tmp_path / "model")
    done = finished(*words, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_serve_says_that_a_port_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, tmp_path, take_port=9)
    make_model(tmp_path / "model")
    done = finished("serve", "model", "--port", str(free_port()), cwd=tmp_path)
    assert done.returncode == 5
    assert "does not start: another program has taken its port" in done.stderr


def write_labels(folder: Path, more: str = "") -> Path:
    rows = [
        json.dumps({"id": n, "instruction": f"say {n % 2} {n}", "topic": f"t{n % 2}"})
        for n in range(20)
    ]
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    file = folder / "labels.yaml"
    file.write_text(LABELS + more, encoding="utf-8")
    return file


def test_doctor_looks_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    pipeline = write_labels(tmp_path)
    fine = finished("doctor", pipeline, cwd=tmp_path)
    assert fine.returncode == 0, fine.stdout
    assert "price: free: hardware of your own" in fine.stdout
    assert f"model: {tmp_path}/model: " in fine.stdout
    assert "memory: the weights need " in fine.stdout
    monkeypatch.setenv("SYNTHKD_VLLM_PYTHON", "/nowhere")
    bad = finished("doctor", pipeline, cwd=tmp_path)
    assert (bad.returncode, "/nowhere, which is no program" in bad.stdout) == (2, True)
    (tmp_path / "model" / "config.json").unlink()
    worse = finished("doctor", pipeline, cwd=tmp_path)
    assert (worse.returncode, "is no model: it has no config.json" in worse.stdout) == (2, True)
    planned = finished("plan", pipeline, cwd=tmp_path)
    assert "warning: a run would not start: teachers.main.vllm.model: " in planned.stdout
    assert not starts(notes)


def test_the_servers_are_gone_while_a_student_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = told(monkeypatch, tmp_path)
    make_model(tmp_path / "model")
    student = "student: {kind: linear, text: instruction, label: topic}\n"
    evaluation = "evaluate: {on: test, gold: topic}\n"
    seen: list[list[int]] = []

    async def watched(*words: Any, **named: Any) -> Student:
        seen.append(alive(str(notes)))
        return await train(*words, **named)

    monkeypatch.setattr(running, "train", watched)
    pipeline = Pipeline.load(write_labels(tmp_path, student + evaluation))
    manifest = pipeline.run_sync()
    assert manifest.student is not None
    assert seen == [[]]
    assert len(starts(notes)) == 1
    assert manifest.spend.usd == 0
    price = manifest.prices["main"]
    assert price is not None
    assert price.source == "free: hardware of your own, so no bill for tokens"


def test_a_run_that_lacks_vllm_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNTHKD_VLLM_PYTHON", raising=False)
    make_model(tmp_path / "model")
    (tmp_path / "vllm").mkdir()  # a folder of that name is no vLLM
    done = finished("run", write_labels(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert "vLLM is not installed here: make an environment of its own" in done.stderr


def test_the_memory_that_is_there_is_read(tmp_path: Path) -> None:
    told_by = tmp_path / "meminfo"
    told_by.write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n", encoding="utf-8")
    assert available_memory(told_by) == 2048 * 1024
    assert available_memory(tmp_path / "none") is None
