"""The fake teacher in a thread, in a process of its own, and by command."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.errors import UserError
from synthkd.fake_teacher import FakeTeacher, in_process, in_thread
from tests.runs import command


def asked(url: str, text: str = "one two", key: str = "k") -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {key}")
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


def refused(url: str, text: str = "one two", key: str = "k") -> urllib.error.HTTPError:
    with pytest.raises(urllib.error.HTTPError) as caught:
        asked(url, text, key)
    caught.value.close()
    return caught.value


def test_options_of_the_command_reach_the_teacher() -> None:
    options = "--api-key k --model m --requests-per-minute 60 --burst 2 --retry-after-as ms"
    with in_process(*options.split(), "--reasoning-tokens", "3", "--prefix-cache") as teacher:
        assert refused(teacher.url, key="other").code == 401
        first, second = asked(teacher.url, key="k"), asked(teacher.url, key="k")
        assert len(first["choices"][0]["message"]["reasoning_content"].split()) == 3
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
        late = refused(teacher.url)
        assert late.code == 429
        assert 0 < int(late.headers["retry-after-ms"]) <= 1000
        assert late.headers["x-ratelimit-limit-requests"] == "60"


def test_more_options_of_the_command() -> None:
    options = "--latency 0.001-0.002 --token-time 0.001 --concurrency 1 --tokens-per-minute 50"
    faults = "--fault poison=1 --retry-after 2.5 --batch-delay 1 --batch-fault expired --seed 3"
    with in_process(*options.split(), *faults.split(), "--when-full", "refuse") as teacher:
        poisoned = refused(teacher.url)
        assert poisoned.code == 500
        assert poisoned.headers["x-ratelimit-limit-tokens"] == "50"
        assert refused(teacher.url).code == 429


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--latency=soon", "--latency is seconds, such as 0.2 or 0.1-0.5; got 'soon'"),
        ("--when-full=panic", "--when-full is queue or refuse, got 'panic'"),
        ("--retry-after-as=weeks", "one of seconds, ms, date, none; got 'weeks'"),
        ("--concurrency=0", "concurrency must be at least 1, got 0"),
        ("--requests-per-minute=0", "requests_per_minute and burst_s must be above 0"),
        ("--batch-fault=late", "no batch fault 'late'; there are invalid enqueued expired"),
    ],
)
def test_an_option_out_of_its_range_is_a_mistake(option: str, says: str) -> None:
    ended = CliRunner().invoke(app, ["fake-teacher", option])
    assert ended.exit_code == 2
    assert says in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    with subprocess.Popen(command("fake-teacher"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert asked(url)["choices"]
        process.send_signal(number)
        assert process.wait(30) == 0
