"""A real vLLM server for the tests of this folder. `make test-vllm` runs them; others skip.

A file here may start servers of its own; what only asks uses `vllm_url`, which is started once.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vllm.server import MODEL, Served, served

ASKED_FOR = "SYNTHKD_VLLM_PYTHON"
"""The Python of an environment with vLLM, in this environment variable."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a server, unless it was asked for."""
    if os.environ.get(ASKED_FOR):
        return
    skip = pytest.mark.skip(f"needs a real vLLM server: `make test-vllm` ({ASKED_FOR} is not set)")
    for item in items:
        if "vllm_python" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The Python that can serve; not resolved, because a link is what makes it an environment."""
    return Path(os.environ[ASKED_FOR])


@pytest.fixture(scope="session")
def tiny_model(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama, its tokenizer and its chat template."""
    folder = tmp_path_factory.mktemp("models") / MODEL
    script = Path(__file__).with_name("tiny_model.py")
    subprocess.run([vllm_python, script, folder], check=True)
    return folder


@pytest.fixture(scope="session")
def vllm_server(
    vllm_python: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One server for all tests that only ask: 16 requests at once, the others wait in it."""
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with served(vllm_python, tiny_model, log, "--max-num-seqs", "16") as running:
        yield running


@pytest.fixture
def vllm_url(vllm_server: Served) -> str:
    """The base URL of the shared server; its model is called `tiny`."""
    return vllm_server.url
