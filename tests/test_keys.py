"""An API key shows nowhere, whatever goes wrong, and goes to no host but the one it is for.

Whole runs of the real command, with a key planted in the environment and a provider that echoes it
in every error. Afterwards all that the run wrote or said is searched for it, in every spelling.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import os
import re
import sqlite3
import ssl
import subprocess
import sys
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pyarrow.parquet
import pytest
import zstandard
from aiohttp import web
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.fake_teacher import FakeTeacher, faults, in_process, in_thread
from tests.runs import DEADLINE_S, command, killed_after

KEY = "sk-pl4nted+never/shown=anywhere~7Qz"
"""With characters that other spellings change."""
VARIABLE = "PLANTED_KEY"

PIPELINE = """
name: keyed
teachers:
  main:
    endpoint: {url}
    model: fake
    api_key_env: {variable}
    max_attempts: 2
    params: {{max_tokens: 20}}
    price: {{prompt: 1, completion: 1}}
budget: {{usd: 1, requests: 100}}
source: {{jsonl: rows.jsonl, id: [id]}}
steps:
  - {{use: generate, with: {{teacher: main}}}}
  - {{use: gate.length, with: {{field: response, min_words: 1}}}}
limits: {{max_failed: 1, max_rejected: 1}}
"""

ROWS = 3

FAULTS = [
    fault
    for name, table in vars(faults).items()
    if name.isupper() and isinstance(table, Mapping)
    for fault in table
]
"""All that the fake teacher knows."""
ENDLESS = {"stall", "hang", "drip"}
"""Faults that only a timeout ends."""
STOPPING = {"401", "403", "404", "quota", "no_model", "redirect"}
"""Faults that end a run; the others lose rows at most."""
ECHOED = STOPPING - {"redirect"} | {"400", "413", "422"}
"""Faults whose message, with the key in it, is kept or shown at once."""


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def write_pipeline(folder: Path, url: str) -> Path:
    rows = [{"id": f"r{i}", "instruction": f"say {i}"} for i in range(ROWS)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    file = folder / "p.yaml"
    file.write_text(PIPELINE.format(url=url, variable=VARIABLE), encoding="utf-8")
    return file


# ------------------------------------------------------------------------------------ the search


def spellings(key: str) -> set[bytes]:
    """The key as it may be written: as it is, in a URL, in JSON, in base64 wherever it starts."""
    plain = {key, urllib.parse.quote(key, safe=""), urllib.parse.quote_plus(key), key[::-1]}
    plain |= {key.replace("/", "\\/"), key.encode().hex(), repr(key)[1:-1]}
    found = {text.encode() for text in plain}
    for start in range(3):
        # Whatever stands around the key changes the digits at both ends alone.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(b"x" * start + key.encode())[4:-4])
    return found


NEEDLES = spellings(KEY)


def shown_in(content: bytes) -> bool:
    return any(needle in content for needle in NEEDLES)


def test_the_search_finds_every_spelling() -> None:
    for around in (b"", b"B", b"Be", b"Bearer ", b"user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert shown_in(encode(around + KEY.encode() + b" and more"))
    assert shown_in(urllib.parse.urlencode({"key": KEY}).encode())
    assert shown_in(orjson.dumps({"headers": {"Authorization": f"Bearer {KEY}"}}))
    assert not shown_in(b"Bearer [API key]")


def unpacked(file: Path) -> Iterator[bytes]:
    """What a file says once it is unpacked."""
    if file.suffix == ".parquet":
        yield repr(pyarrow.parquet.read_table(file).to_pylist()).encode()
    elif file.suffix == ".sqlite":
        yield from blobs(file)


def blobs(file: Path) -> Iterator[bytes]:
    """Every value of every table, unpacked."""
    connection = sqlite3.connect(file)
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        for row in connection.execute(f"select * from {table}"):
            for value in row:
                packed = isinstance(value, bytes) and value.startswith(b"\x28\xb5\x2f\xfd")
                yield zstandard.decompress(value) if packed else str(value).encode()
    connection.close()


def assert_nowhere(folder: Path, *said: str) -> None:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    assert files
    for file in files:  # before any is opened: SQLite tidies up as it reads
        assert not shown_in(file.read_bytes()), f"the key is in {file.relative_to(folder)}"
    for file in files:
        for content in unpacked(file):
            assert not shown_in(content), f"the key is packed into {file.relative_to(folder)}"
    for text in said:
        assert not shown_in(text.encode()), "the key was said"


# ------------------------------------------------------------------------------------ every fault


@pytest.mark.parametrize("fault", [*FAULTS, None])
def test_the_key_shows_nowhere(
    fault: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    runner = CliRunner()
    with in_thread(FakeTeacher(rates={} if fault is None else {fault: 1.0})) as provider:
        file = str(write_pipeline(tmp_path, provider.url))
        told = [runner.invoke(app, ["plan", file]).output]
        quick = ["--set", f"teachers.main.timeout_s={0.4 if fault in ENDLESS else 10}"]
        result = runner.invoke(app, ["run", file, "--debug", "--json", *quick])
        assert provider.requests > 0, result.output
        for arguments in (
            ["run", file, "--debug", "--retry-failed", *quick],
            ["show", "data/out/keyed", "--debug"],
            ["show", "data/out/keyed", "--json"],
            ["doctor", file, "--json", "--debug", *quick],
        ):
            again = runner.invoke(app, arguments)
            told += [again.stdout, again.stderr]
            assert again.exit_code != 1, again.output
    assert result.exit_code == (5 if fault in STOPPING else 0), result.output
    assert_nowhere(tmp_path, result.stdout, result.stderr, caplog.text, *told)
    ledger = tmp_path / ".synthkd" / "ledger.sqlite"
    if fault is None:
        assert any(b'"choices"' in body for body in unpacked(ledger)), "the search looks inside"
    if fault in STOPPING:
        assert "Traceback" in result.stderr, "--debug shows where it came from"
        assert (tmp_path / "data/out/keyed/stopped/stopped.json").exists()
    else:
        assert (tmp_path / "data/out/keyed/manifest.json").exists()
    if fault in ECHOED:
        heard = result.stdout + result.stderr + "".join(told) + _failed_text(tmp_path)
        assert "[API key]" in heard, "the provider echoed the key, and it was cut out"


def _failed_text(folder: Path) -> str:
    files = folder.rglob("failed.parquet")
    return "".join(str(pyarrow.parquet.read_table(file).to_pylist()) for file in files)


@pytest.mark.parametrize("fault", ["401", "cut"])
def test_not_even_a_developers_python_shows_it(fault: str, tmp_path: Path) -> None:
    """A process of its own, with every warning and asyncio's debugging switched on."""
    with in_thread(FakeTeacher(rates={fault: 1.0})) as provider:
        file = write_pipeline(tmp_path, provider.url)
        run = subprocess.run(
            [sys.executable, "-X", "dev", *command("run", file, "--debug")[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert run.returncode in {0, 5}, run.stderr
    assert_nowhere(tmp_path, run.stdout, run.stderr)


def test_a_run_killed_in_mid_air_leaves_no_key(tmp_path: Path) -> None:
    with in_process("--fault", "stall=1") as provider:
        file = write_pipeline(tmp_path, provider.url)
        assert killed_after(provider, 1, "run", file, "--debug", cwd=tmp_path)
    assert list(tmp_path.rglob("*.sqlite*")), "the ledger was at work"
    assert_nowhere(tmp_path)


def test_a_key_that_no_header_can_hold_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{KEY}\nX-Evil: 1")
    file = write_pipeline(tmp_path, "http://127.0.0.1:9/v1")
    for arguments in (["run", str(file), "--debug"], ["plan", str(file)], ["doctor", str(file)]):
        result = CliRunner().invoke(app, arguments)
        assert VARIABLE in result.output
        assert not shown_in(result.output.encode())


# ------------------------------------------------------------------------------------ other hosts


@asynccontextmanager
async def listening(
    answer: web.Response | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[Mapping[str, str]]]]:
    """A server that gives one answer to everything: its address, and the headers it was sent."""
    seen: list[Mapping[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        if answer is None:
            message = {"role": "assistant", "content": "fine words"}
            return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})
        return web.Response(status=answer.status, headers=answer.headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/v1", seen
    finally:
        await runner.cleanup()


async def run_command(*arguments: str | Path, cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        cwd=cwd,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_to_another_host_does_not_carry_the_key(
    status: int, tmp_path: Path
) -> None:
    async with listening(None) as (other, seen):
        location = {"Location": f"{other}/chat/completions?key={KEY}"}
        async with listening(web.Response(status=status, headers=location)) as (url, asked):
            file = write_pipeline(tmp_path, url)
            code, said = await run_command("run", file, "--debug", cwd=tmp_path, env={})
            examined, found = await run_command("doctor", file, cwd=tmp_path, env={})
    assert (code, examined) == (5, 5), said + found
    assert asked
    assert all(each["Authorization"] == f"Bearer {KEY}" for each in asked)
    assert seen == [], "nobody followed"
    assert_nowhere(tmp_path, said, found)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and one for another name; keys beside them."""
    folder = tmp_path_factory.mktemp("tls")
    made: list[Path] = []
    for name in ("IP:127.0.0.1", "DNS:elsewhere.example"):
        file = folder / f"{len(made)}.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        request += ["-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
        request += ["-keyout", str(folder / f"{len(made)}.key"), "-out", str(file)]
        try:
            subprocess.run(request, check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"openssl makes no certificate here: {error}")
        made.append(file)
    return made[0], made[1]


def server_context(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, file.with_suffix(".key"))
    return context


async def test_a_certificate_is_verified(certificates: tuple[Path, Path], tmp_path: Path) -> None:
    right, other_name = certificates
    async with listening(None, server_context(right)) as (url, seen):
        file = write_pipeline(tmp_path, url)
        code, said = await run_command("run", file, "--debug", cwd=tmp_path, env={})
        assert code == 5, said
        assert "shows a certificate that is not trusted" in said
        assert "SSL_CERT_FILE" in said
        examined, found = await run_command("doctor", file, cwd=tmp_path, env={})
        assert (examined, "its certificate is not trusted" in found) == (2, True), found
        assert seen == [], "no request left, so no key did"
        trusted = {"SSL_CERT_FILE": str(right)}
        code, said = await run_command("run", file, cwd=tmp_path, env=trusted)
        assert code == 0, said
        assert len(seen) == ROWS
    async with listening(None, server_context(other_name)) as (url, seen):
        file = write_pipeline(tmp_path, url)
        trusted = {"SSL_CERT_FILE": str(other_name)}
        code, said = await run_command("run", file, "--out", "b", cwd=tmp_path, env=trusted)
        assert code == 5, said
        assert seen == [], "a certificate of another name is none"
    assert_nowhere(tmp_path, said)


RESERVED = re.compile(r"127\.0\.0\.1|localhost|[\w.-]+\.(example|invalid)|example\.org")
"""Loopback, and names that nobody can have."""
NAMESPACES = {"http://www.w3.org/2000/svg"}
"""What XML calls its languages; nobody is asked there."""


def test_the_package_names_no_host_of_its_own() -> None:
    """No telemetry: whom the code talks to stands in pipeline files alone."""
    package = Path(__file__).parent.parent / "synthkd"
    found = []
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                for name in NAMESPACES:
                    text = text.replace(name, "")
                hosts = re.findall(r"https?://([\w.-]+)", text)
                found += [host for host in hosts if not RESERVED.fullmatch(host)]
    assert found == []
