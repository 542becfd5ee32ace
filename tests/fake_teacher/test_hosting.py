"""The fake teacher in a thread, in a process of its own, and by command."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from typing import Any

import pytest

from synthkd.errors import UserError
from synthkd.fake_teacher import FakeTeacher, in_process, in_thread
from tests.runs import command


def asked(url: str, text: str = "one two") -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def test_in_a_thread() -> None:
    with in_thread(FakeTeacher()) as teacher:
        answer = asked(teacher.url)
        assert answer["choices"][0]["message"]["content"] == "echo -: one two"
        assert (teacher.requests, teacher.billed_requests) == (1, 1)


def test_in_a_process() -> None:
    with in_process("--fault", "500=0") as teacher:
        assert asked(teacher.url)["model"] == "m-served"
        assert teacher.repeats == 0
        asked(teacher.url)
        assert teacher.repeats == 1
        assert teacher.stats["billed_requests"] == 2


def test_a_process_that_does_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="ended before it listened"), in_process("--port", "x"):
        raise AssertionError("it listened")
    assert "Invalid value for '--port'" in capfd.readouterr().err


def test_a_port_that_is_taken() -> None:
    with in_thread(FakeTeacher()) as one:
        port = int(one.url.split(":")[2].partition("/")[0])
        with pytest.raises(UserError, match=f":{port}: .*port 0"), in_thread(FakeTeacher(), port):
            raise AssertionError("it listened")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "example.org", "::", ""])
def test_it_listens_on_loopback_only(host: str) -> None:
    ran = subprocess.run(
        command("fake-teacher", "--host", host), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert f"listens on loopback only, got {host!r}" in ran.stderr
    assert not ran.stdout


@pytest.mark.parametrize("fault", ["429", "429=often", "teapot=0.1", "429=2"])
def test_a_fault_that_is_none(fault: str) -> None:
    ran = subprocess.run(
        command("fake-teacher", "--fault", fault), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    with subprocess.Popen(command("fake-teacher"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert asked(url)["choices"]
        process.send_signal(number)
        assert process.wait(30) == 0
