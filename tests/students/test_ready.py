"""What a training lacks is said before anything is spent."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.config import StudentConfig
from synthkd.errors import UserError
from synthkd.students.ready import ready

BLOCK: TypeAdapter[StudentConfig] = TypeAdapter(StudentConfig)
SFT = {"kind": "sft", "prompt": "text", "completion": "label"}


def looked_at(block: dict[str, Any], folder: Path) -> StudentConfig:
    return ready(BLOCK.validate_python(block), folder, offline=True)


def test_a_base_is_found_beside_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(UserError, match=r"student\.base: .*config\.json"):
        looked_at({**SFT, "base": "base"}, tmp_path)
    (tmp_path / "base" / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match="has no weights"):
        looked_at({**SFT, "base": "base"}, tmp_path)
    (tmp_path / "base" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="weights as pickles"):
        looked_at({**SFT, "base": "base"}, tmp_path)
    found = looked_at({**SFT, "base": "base", "allow_pickle": True}, tmp_path)
    assert getattr(found, "base", None) == str(tmp_path / "base")


def test_a_base_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"student\.base: no-such is no folder .*Qwen"):
        looked_at({**SFT, "base": "no-such"}, tmp_path)


def test_packages_that_are_missing_are_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gone = importlib.util.find_spec, {"trl", "bitsandbytes"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in gone else real(n))
    with pytest.raises(UserError, match=r"needs trl: pip install 'synthkd\[train\]'"):
        looked_at({**SFT, "scratch": {}}, tmp_path)
    gone.remove("trl")
    with pytest.raises(UserError, match="4bit needs bitsandbytes"):
        looked_at({**SFT, "scratch": {}, "lora": {"quantize": "4bit"}}, tmp_path)


def test_a_key_that_is_not_in_the_environment_is_named(tmp_path: Path) -> None:
    block = {"kind": "hosted", "base": "gpt-x", "prompt": "text", "completion": "label"}
    block |= {"endpoint": "http://127.0.0.1:1/v1", "api_key_env": "OPENAI_API_KEY"}
    config = TypeAdapter[StudentConfig](StudentConfig).validate_python(block)
    with pytest.raises(UserError, match="OPENAI_API_KEY, which is not set: export"):
        ready(config, tmp_path, offline=False)
    ready(config, tmp_path, offline=True)  # what was trained is there
    looked_at({**block, "api_key_env": None}, tmp_path)


def test_a_run_says_it_before_it_asks_anything(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(orjson.dumps({"text": "a", "label": "b"}))
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        yaml.safe_dump(
            {"name": "p", "source": {"jsonl": "rows.jsonl"}, "student": {**SFT, "base": "nowhere"}}
        )
    )
    run = CliRunner().invoke(app, ["run", str(pipeline), "--out", "out"])
    assert (run.exit_code, "student.base: nowhere is no folder" in run.output) == (2, True)
    assert not (tmp_path / "out").exists()
    plan = CliRunner().invoke(app, ["plan", str(pipeline)])
    assert "a run would not start: student.base" in plan.output


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"kind": "sft", "prompt": "t", "scratch": {}}, "student: name `prompt` and `completion`"),
        ({**SFT, "scratch": {}, "epochs": 0}, "student.epochs: .*greater than 0.*got 0"),
        ({**SFT}, "student: name one to begin with"),
        ({**SFT, "scratch": {}, "patience": 2}, "patience needs `best_by`"),
        ({**SFT, "scratch": {}, "rationale": "why"}, "say what is to be learnt from it"),
        ({**SFT, "scratch": {"hidden_size": 100, "heads": 3}}, "student.scratch: hidden_size 100"),
        ({"kind": "nonsense"}, "student: .*nonsense.*linear"),
        ({"kind": "encoder", "text": "t", "scratch": {}}, "name `label` .* or `spans`"),
    ],
)
def test_faults_of_the_block_have_their_place(
    tmp_path: Path, block: dict[str, Any], said: str
) -> None:
    pipeline = tmp_path / "p.yaml"
    content = {"name": "p", "source": {"jsonl": "rows.jsonl"}, "student": block}
    pipeline.write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, ["plan", str(pipeline)])
    assert result.exit_code == 2
    assert re.search(said, result.output), result.output


def test_a_chat_template_is_found_beside_the_pipeline_and_read_before_anything_is_spent(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=r"student\.chat_template: own\.jinja cannot be read"):
        looked_at({**SFT, "scratch": {}, "chat_template": "own.jinja"}, tmp_path)
    (tmp_path / "own.jinja").write_text("{{ messages }}")
    found = looked_at({**SFT, "scratch": {}, "chat_template": "own.jinja"}, tmp_path)
    assert getattr(found, "chat_template", None) == str(tmp_path / "own.jinja")
    looked_at({**SFT, "scratch": {}, "chat_template": "chatml"}, tmp_path)
