"""The suite of all teachers (tests/teachers/test_conformance.py), asked of a real vLLM server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.teachers.test_conformance import *  # noqa: F403  its tests and its fixture `teacher`
from tests.teachers.test_conformance import Kind
from tests.vllm.server import MODEL

PARAMS = {"seed": 3, "min_tokens": 2}
"""So each answer is the same whenever it is asked for, and has something to cut."""


IDS = ["vllm", "vllm streamed"]


@pytest.fixture(params=[False, True], ids=IDS)  # type: ignore[no-redef]  # the suite has its own
def kind(request: pytest.FixtureRequest, vllm_url: str) -> Kind:
    config: dict[str, Any] = {"endpoint": vllm_url, "model": MODEL, "stream": request.param}
    config["served_by"] = "me"
    return Kind(config, params=PARAMS, unanswerable="no " * 3000)
