"""Every test: no network but loopback, no keys in the environment, state in a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A law is no race: the machine may be busy, and a test that hangs has the timeout of pytest.
settings.register_profile("synthkd", deadline=None)
settings.load_profile("synthkd")

# There are as many workers as cores: threads of their own would only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts something in the background has it ignore Ctrl-C, and whatever it starts too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address!r}")
        real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_PROXY", "_proxy")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """Recorded teacher outputs that live outside the project; tests that need them skip without."""
    folder = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder}: set SYNTHKD_DATA to its folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def project() -> Path:
    """The folder of the project, with its pipelines and sample data."""
    return ROOT.resolve()
