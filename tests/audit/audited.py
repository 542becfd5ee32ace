"""What the tests of an audit share: a finished run, and `synthkd audit` on it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from synthkd.cli import app

PIPELINE = """
name: words
source: {jsonl: words.jsonl, id: [n]}
steps: [{use: gate.length, with: {field: text, max_chars: 9}}]
export: {format: prompt-completion, prompt: n, completion: text}
"""


def finished(n: int = 120) -> Path:
    """A run of n rows, of which each sixth is rejected as too long."""
    rows = [{"n": str(i), "text": f"text {i}" + "!" * 9 * (i % 6 == 0)} for i in range(n)]
    Path("words.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    Path("words.yaml").write_text(PIPELINE, encoding="utf-8")
    result = invoke("run", "words.yaml", "--out", "out", "--quiet")
    assert result.exit_code == 0, result.output
    return Path("out")


def invoke(*arguments: object, keys: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=keys)


def audit(*options: object, keys: str = "") -> Result:
    result = invoke("audit", "out", *options, keys=keys)
    assert result.exit_code == 0, result.output
    return result


def card() -> str:
    return Path("out/dataset/README.md").read_text(encoding="utf-8")
