"""Starts and stops a vLLM server for tests and benchmarks, as plainly as can be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MODEL = "tiny"
"""What requests call the model."""
START_S = 540.0
"""Some 30 s on two quiet cores, 230 on two that eleven processes wanted."""
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, the least
}
ARGUMENTS = (
    *("--served-model-name", MODEL),
    *("--dtype", "float32"),
    *("--max-model-len", "2048"),
    "--enforce-eager",
    # A `seed` of a prompt that is worked on piece by piece kills vLLM 0.32 on a CPU ("CPU Generator
    # does not use offset"), as soon as some 200 prompts come at once.
    "--no-enable-chunked-prefill",
    # A model that has learnt nothing writes blanks without end where JSON allows them.
    *("--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}'),
)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that answers."""

    url: str
    """Its base URL, with /v1."""
    log: Path
    session: int
    """What all its processes have in common."""

    def page(self, path: str) -> str:
        """What it answers at a path beside /v1, such as /metrics."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path, timeout=30) as reply:
            text: str = reply.read().decode()
        return text

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                # After the name, which may hold blanks: state, parent, group, session, ...
                told = stat.read_text().rpartition(")")[2].split()
                ticks += int(told[11]) + int(told[12]) if int(told[3]) == self.session else 0
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(python: Path, model: Path, log: Path, *more: str) -> Iterator[Served]:
    """A server of this model on a free port, while the body runs.

    Args:
        python: of an environment with vLLM.
        model: its folder.
        log: where it writes to.
        more: further arguments of `vllm serve`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), *ARGUMENTS, *more]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | QUIET,
            start_new_session=True,  # its workers end with it
        )
    running = Served(url=f"http://127.0.0.1:{port}/v1", log=log, session=process.pid)
    try:
        _wait(running, process)
        yield running
    finally:
        _stop(process)


def _wait(running: Served, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            break
        try:
            running.page("/health")
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    tail = running.log.read_text(errors="replace")[-4000:]
    raise AssertionError(f"vLLM did not start (exit {process.returncode}):\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # whoever of its group is still there
    process.wait()
