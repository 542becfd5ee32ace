"""What `synthkd doctor` finds about a real vLLM server."""

from __future__ import annotations

from pathlib import Path

import orjson
from typer.testing import CliRunner

from synthkd.cli import app
from tests.vllm.test_refusals import pipeline


def found(file: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and each check's grade and words."""
    result = CliRunner().invoke(app, ["doctor", str(file), "--json"])
    findings = orjson.loads(result.stdout)["findings"]
    told = {one["check"]: (one["grade"], one["said"]) for one in findings if "main" in one["about"]}
    return result.exit_code, told


def test_it_sees_what_the_server_can_do(vllm_url: str, tmp_path: Path) -> None:
    price = {"prompt": 0, "completion": 0}
    code, told = found(pipeline(tmp_path, vllm_url, ["Where is it?"], price=price))
    assert code == 0
    fine = {check for check, (grade, _) in told.items() if grade == "fine"}
    assert fine >= {"model", "usage", "seed", "n", "logprobs", "json_schema", "latency"}
    assert "tiny" in told["model"][1]


def test_it_sees_that_the_model_is_another(vllm_url: str, tmp_path: Path) -> None:
    code, told = found(pipeline(tmp_path, vllm_url, ["Where is it?"], model="qwen3-32b"))
    assert code == 5
    assert any("tiny" in said for _, said in told.values())
