"""The `vllm` block: what it takes, and what is refused with which way out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.config import TeacherConfig
from synthkd.config.vllm import ONLY, RUNS_FOREIGN_CODE, SET_BY_SYNTHKD, options


def block(**vllm: Any) -> TeacherConfig:
    return TeacherConfig.model_validate({"vllm": {"model": "m", **vllm}})


def fault(**teacher: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        TeacherConfig.model_validate(teacher)
    (error,) = raised.value.errors()
    return str(error["msg"]).removeprefix("Value error, ")


def test_arguments_go_through_as_words() -> None:
    config = block(args=["--max-model-len", 8192, "--gpu-memory-utilization", 0.9]).vllm
    assert config is not None
    assert config.args == ["--max-model-len", "8192", "--gpu-memory-utilization", "0.9"]


def test_arguments_are_the_same_however_they_are_written() -> None:
    one = options(["--max_model_len=8k", "--no-enable-prefix-caching", "--x", "a", "b"])
    two = options(["--x", "a", "b", "--max-model-len", "8k", "--no-enable-prefix-caching"])
    assert (
        one
        == two
        == {"--max-model-len": [["8k"]], "--no-enable-prefix-caching": [[]]} | {"--x": [["a", "b"]]}
    )
    assert options(["--a", "-1", "--hf-overrides.rope_theta", "2"]) == {
        "--a": [["-1"]],
        "--hf-overrides.rope_theta": [["2"]],
    }


@pytest.mark.parametrize("name", [*SET_BY_SYNTHKD, *RUNS_FOREIGN_CODE])
@pytest.mark.parametrize("form", ["{}", "{}=x", "{}.key=x", "under_score"])
def test_what_synthkd_sets_or_runs_foreign_code_is_refused(name: str, form: str) -> None:
    word = "--" + name[2:].replace("-", "_") if form == "under_score" else form.format(name)
    assert f"{name} is not for `args`: " in fault(vllm={"model": "m", "args": [word]})


@pytest.mark.parametrize("short", ["--trust-remote-cod", "--trust-rem", "--middlew", "--tool-p"])
def test_no_beginning_of_such_a_name_gets_through(short: str) -> None:
    assert "may stand for --" in fault(vllm={"model": "m", "args": [short]})


@pytest.mark.parametrize("name", ONLY)
def test_of_some_arguments_only_harmless_values_are_taken(name: str) -> None:
    for allowed in ONLY[name]:
        assert block(args=[name, allowed]).vllm is not None
    for wrong in (["pt"], ["my.module.Class"], [], ["safetensors", "pt"]):
        assert f"must be {name} with one of" in fault(vllm={"model": "m", "args": [name, *wrong]})
    assert f"must be {name}" in fault(vllm={"model": "m", "args": [name[:-2], ONLY[name][0]]})


@pytest.mark.parametrize(
    "args",
    [
        ["--structured-outputs-config", '{"reasoning_parser_plugin": "/tmp/evil.py"}'],
        ["--structured-outputs-config", '{"reasoning_parser_\\u0070lugin": "/tmp/evil.py"}'],
        ["--structured-outputs-config.reasoning_parser_plugin", "/tmp/evil.py"],
        ["--structured-outputs-config.reasoning-parser-plugin=/tmp/evil.py"],
        ["--hf-overrides", '{"a": [{"worker_cls": "x"}]}'],
    ],
)
def test_keys_of_json_that_name_code_are_refused(args: list[str]) -> None:
    assert "makes vLLM load code" in fault(vllm={"model": "m", "args": args})


def test_a_whole_name_is_no_beginning() -> None:
    assert block(args=["--reasoning-parser", "qwen3"]).vllm is not None


def test_other_json_is_taken() -> None:
    args = ["--structured-outputs-config", '{"backend": "xgrammar"}', "--hf-overrides.x=1"]
    assert block(args=args).vllm is not None
    assert block(args=["--chat-template", "{{ messages }}"]).vllm is not None
    assert "is no JSON" in fault(vllm={"model": "m", "args": ["--hf-overrides", "{oops"]})


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-tp", "2"], "write the long name"),
        (["qwen"], "is a value without a name before it"),
        (["--"], "is no argument of vLLM"),
        (["--max-model-len", "8k\0"], "has a NUL"),
        (["--hf-overrides", "[" * 100_000], "is no JSON"),
        (["--hf-overrides", '{"a":' * 50_000 + "1" + "}" * 50_000], "is no JSON"),
    ],
)
def test_words_that_are_no_arguments(args: list[str], said: str) -> None:
    assert said in fault(vllm={"model": "m", "args": args})


def test_the_model_is_the_base_or_an_adapter() -> None:
    assert block().asked_model == "base"
    vllm = {"model": "m", "lora": {"sql": "adapters/sql"}}
    assert TeacherConfig.model_validate({"vllm": vllm, "model": "sql"}).asked_model == "sql"
    assert fault(vllm=vllm, model="sqll") == (
        "model must name what `vllm` serves: one of base, sql; got 'sqll'"
    )
    assert "may not be called base" in fault(vllm={"model": "m", "lora": {"base": "x"}})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("served_by", "me"), ("api_key_env", "KEY"), ("headers", {"a": "b"})],
)
def test_settings_of_endpoints_are_refused(setting: str, value: Any) -> None:
    assert f"{setting} belongs to an `endpoint`" in fault(
        **{"vllm": {"model": "m"}, setting: value}
    )


def test_it_is_one_kind_of_teacher() -> None:
    assert block().kind == "vllm"
    assert fault(vllm={"model": "m"}, endpoint="http://x/v1", model="m") == (
        "must have exactly one of endpoint, vllm, student, recorded, simulated; has endpoint, vllm"
    )


@pytest.mark.parametrize("name", ["guided_json", "guided_choice", "guided_regex", "guided_grammar"])
@pytest.mark.parametrize(
    "teacher", [{"vllm": {"model": "m"}}, {"endpoint": "http://127.0.0.1:1/v1", "model": "m"}]
)
def test_old_names_of_constraints_are_refused(name: str, teacher: dict[str, Any]) -> None:
    said = fault(**teacher, params={name: ["a"]})
    assert said.startswith(f"params.{name} is an old name that vLLM ignores without a word")
    assert "structured_outputs" in said
