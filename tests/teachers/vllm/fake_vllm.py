"""Stands in for a Python that has vLLM, for tests of a server's life and death.

`standing_in` makes a program out of it. It is asked whether it has vLLM (`-c`), or started as
`-m vllm.entrypoints.openai.api_server --port N ...`. Then it serves /health, /metrics, /v1/models
and chat on that port. What it is to do beside stands in `FAKE_VLLM`, as JSON:

    log          lines that it prints first
    hang         it never answers
    exit         it prints the log and ends with this code
    ready_s      seconds until it answers
    children     so many children, which ignore SIGTERM, the last in a session of its own
    models       what it says to who asks for its models, in place of them
    slow_s       seconds that an answer takes
    deaf         it ignores SIGTERM
    die_after    it dies (SIGKILL to itself) with this answer in the air, once for each file that
                 is not there yet: `FOLDER/died-N`, up to `deaths` times
    take_port    it listens and says that the port is taken, for the first so many starts
    note         a folder, in which each start leaves what it was started with (`start-N`), a file
                 when it was asked ten times (`asked-N`), and one for its port when it was first
                 asked how busy it is (`looked-PORT`)

Only the standard library: it runs with `-S`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

NAMED = "FAKE_VLLM"


def standing_in(folder: Path) -> Path:
    """A program that takes the place of a Python with vLLM."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" "$@"\n')
    program.chmod(0o755)
    return program


class Wishes:
    """What it was told to do."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.asked = 0
        self.running = 0
        self.lock = threading.Lock()

    def die_if_due(self) -> None:
        with self.lock:  # one death at a time: the others in the air die of the same
            due = self.die_after is not None and self.asked >= self.die_after
            if due and count(self.note, "died") < (self.deaths or 1):
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    def __getattr__(self, name: str) -> Any:
        return self.told.get(name)


def value_of(name: str, args: list[str]) -> str:
    return args[args.index(name) + 1] if name in args else ""


def names_of(args: list[str]) -> list[str]:
    names: list[str] = []
    for option in ("--served-model-name", "--lora-modules"):
        for word in args[args.index(option) + 1 :] if option in args else []:
            if word.startswith("--"):
                break
            names.append(word.partition("=")[0])
    return names


def count(folder: str, name: str) -> int:
    """How often this was called before; a file stands for each time."""
    for number in range(1000):
        try:
            Path(folder, f"{name}-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise AssertionError("it was called a thousand times")


def handler(wishes: Wishes, args: list[str]) -> type[BaseHTTPRequestHandler]:  # noqa: C901  one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def send(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def let_in(self) -> bool:
            key = os.environ.get("VLLM_API_KEY")
            return key is None or self.headers.get("Authorization") == f"Bearer {key}"

        def do_GET(self) -> None:
            if self.path == "/health":
                self.send(200, b"")
            elif self.path == "/metrics":
                page = f"vllm:num_requests_running {wishes.running}\nvllm:num_requests_waiting 0\n"
                page += "vllm:kv_cache_usage_perc 0.5\nvllm:num_preemptions_total 0\n"
                Path(wishes.note, f"looked-{value_of('--port', args)}").touch()
                self.send(200, page.encode(), "text/plain")
            elif not self.let_in():
                self.send(401, b"{}")
            elif wishes.models is not None:
                self.send(200, wishes.models.encode())
            else:
                models = [{"id": name} for name in names_of(args)]
                self.send(200, json.dumps({"data": models}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.let_in():
                self.send(401, b"{}")
                return
            if body["model"] not in names_of(args):
                self.send(404, b'{"error": {"message": "no such model"}}')
                return
            with wishes.lock:
                wishes.asked += 1
                if wishes.asked == 10:
                    count(wishes.note, "asked")
                wishes.running += 1
            time.sleep(wishes.slow_s or 0.001)
            with wishes.lock:
                wishes.running -= 1
            wishes.die_if_due()
            content = body["messages"][-1]["content"]
            if "poison" in content:
                self.send(400, b'{"error": {"message": "not that"}}')
                return
            words = f"{body['model']}: {content[-100:]}".split()  # a token each
            said = words[: body.get("max_tokens", len(words))]
            message = {"role": "assistant", "content": " ".join(said)}
            finish = "stop" if said == words else "length"
            choice = {"message": message, "finish_reason": finish}
            usage = {"prompt_tokens": 5, "completion_tokens": len(said)}
            reply = {"model": names_of(args)[0], "choices": [choice], "usage": usage}
            self.send(200, json.dumps(reply).encode())

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # without asking a name server who 127.0.0.1 is


def serve(args: list[str]) -> int:
    wishes = Wishes(json.loads(os.environ.get(NAMED, "{}")))
    number = count(wishes.note, "start")
    kept = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
    told = {"args": args, "env": kept, "pid": os.getpid()}
    Path(wishes.note, f"start-{number}").write_text(json.dumps(told), encoding="utf-8")
    if number < (wishes.take_port or 0):
        print("OSError: [Errno 98] Address already in use", flush=True)
        return 1
    for line in wishes.log or ():
        print(line, flush=True)
    if wishes.exit is not None:
        return int(wishes.exit)
    have_children(wishes.children or 0)
    while wishes.hang:
        time.sleep(60)
    time.sleep(wishes.ready_s or 0)
    server = Server(("127.0.0.1", int(value_of("--port", args))), handler(wishes, args))
    # Not server.shutdown: it waits for the loop that this very thread runs.
    ended = signal.SIG_IGN if wishes.deaf else lambda number, frame: os._exit(0)
    signal.signal(signal.SIGTERM, ended)
    print("Application startup complete.", flush=True)
    server.serve_forever(poll_interval=0.1)
    return 0


def have_children(wanted: int) -> None:
    for number in range(wanted):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if number == wanted - 1:
                os.setsid()
            while True:
                time.sleep(60)


if __name__ == "__main__":
    sys.exit(0 if sys.argv[1] == "-c" else serve(sys.argv[3:]))
