"""Real signals to real processes that wait for a slow provider: gentle at first, then at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synthkd.fake_teacher import TeacherProcess, in_process
from synthkd.teachers.closing import GRACE_S
from tests.runs import DEADLINE_S, command, finished

ROWS = 30
IN_FLIGHT = 8
PIPELINE = """
name: interrupted
teachers: {{main: {{endpoint: {url}, model: fake, concurrency: {in_flight}}}}}
source: {{jsonl: rows.jsonl, id: [id]}}
steps: [{{use: generate, with: {{teacher: main}}}}]
"""
SCRIPT = """
import asyncio
from synthkd import Pipeline
from synthkd.errors import Interrupted
try:
    asyncio.run(Pipeline.load("p.yaml", out="out").run())
except Interrupted as stop:
    print(stop)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def write_inputs(folder: Path, url: str, rows: int = ROWS) -> None:
    lines = [json.dumps({"id": f"r{i}", "instruction": f"say {i}"}) for i in range(rows)]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    text = PIPELINE.format(url=url, in_flight=IN_FLIGHT)
    (folder / "p.yaml").write_text(text, encoding="utf-8")


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        arguments,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], provider: TeacherProcess, requests: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while provider.stats["requests"] < requests:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_in_the_air_is_stored_and_nothing_is_asked_twice(
    tmp_path: Path, number: signal.Signals
) -> None:
    with in_process("--latency", "2") as provider:
        write_inputs(tmp_path, provider.url)
        with running(tmp_path, *command("run", "p.yaml", "--out", "out", "--quiet")) as process:
            # All of the second lot have left: for two seconds as many as may be are in the air.
            until(process, provider, 2 * IN_FLIGHT)
            process.send_signal(number)
            _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130, said
        waits = f"stopping: waiting up to {GRACE_S:g} s for {IN_FLIGHT} answers in the air; Ctrl-C"
        assert waits in said
        assert "interrupted: run the same command again to resume" in said
        assert "Traceback" not in said
        asked = provider.stats["requests"]
        assert asked < ROWS, "no new question left"
        shown = finished("show", "out", cwd=tmp_path)
        assert "ended early (exit code 130)" in shown.stdout
        again = finished("run", "p.yaml", "--out", "out", "--quiet", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert provider.stats["requests"] == ROWS
        assert provider.repeats == 0


def test_the_second_one_stops_at_once(tmp_path: Path) -> None:
    with in_process("--latency", "60") as provider:
        write_inputs(tmp_path, provider.url)
        with running(tmp_path, *command("run", "p.yaml", "--out", "out", "--quiet")) as process:
            until(process, provider, IN_FLIGHT)
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            assert process.poll() is None, "it waits for the answers"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=GRACE_S / 2)
        assert process.returncode == 130, said
        assert "stopping now" in said
        assert "Traceback" not in said


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_grace(
    tmp_path: Path,
) -> None:
    with in_process("--latency", "60") as provider:
        write_inputs(tmp_path, provider.url)
        with running(tmp_path, *command("run", "p.yaml", "--out", "out", "--quiet")) as process:
            until(process, provider, IN_FLIGHT)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=GRACE_S + 10)
        assert process.returncode == 130


def test_in_a_program_of_ones_own_it_is_an_exception(tmp_path: Path) -> None:
    with in_process("--latency", "1") as provider:
        write_inputs(tmp_path, provider.url)
        with running(tmp_path, sys.executable, "-c", SCRIPT) as process:
            until(process, provider, IN_FLIGHT)
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
        assert out == "interrupted: everything bought is kept\n"
        again = finished("run", "p.yaml", "--out", "out", "--quiet", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert provider.repeats == 0


def test_started_in_the_background_it_heeds_sigterm_alone(tmp_path: Path) -> None:
    with in_process("--latency", "1") as provider:
        write_inputs(tmp_path, provider.url)
        arguments = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command("run", "p.yaml")]
        with running(tmp_path, *arguments, "--out", "out", "--quiet") as process:
            until(process, provider, IN_FLIGHT)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130, said
        assert said.count("stopping") == 1
        assert provider.stats["requests"] < ROWS


def test_while_the_source_is_looked_through(tmp_path: Path) -> None:
    rows = 300_000
    write_inputs(tmp_path, "http://127.0.0.1:1/v1", rows)
    scratch = tmp_path / "out" / ".work" / "account.scratch"
    with running(tmp_path, *command("run", "p.yaml", "--out", "out", "--quiet")) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not scratch.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, said
    assert "stopping now" in said
    assert "no connection" not in said, "it did not go on to ask"
    assert "Traceback" not in said
