"""What a server is to load is looked at before anything starts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import BudgetConfig, TeacherConfig, VllmConfig
from synthkd.errors import UserError
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.vllm.hashes import Hashes
from synthkd.teachers.vllm.identity import hash_of_folder
from synthkd.teachers.vllm.model import find_model
from tests.teachers.vllm.life import make_adapter, make_model, tensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def check(folder: Path, **vllm: Any) -> None:
    teacher = TeacherConfig.model_validate({"vllm": {"model": "model", **vllm}})
    check_teachers({"main": teacher}, base=folder, budget=BudgetConfig(), offline=True)


def found(folder: Path, model: str) -> Path | None:
    """The folder of a model that passes, as the server will be given it."""
    check(folder, model=model)
    config = VllmConfig.model_validate({"model": model})
    return find_model("main", config, folder, offline=True).folder


def test_a_whole_model_is_fine(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    assert found(tmp_path, "model") == tmp_path / "model"


def test_a_path_may_hold_variables_and_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "models" / "model")
    monkeypatch.setenv("MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HOME", str(tmp_path / "models"))
    for written in ("${MODELS}/model", "~/model"):
        assert found(tmp_path, written) == tmp_path / "models" / "model"


def framed(header: bytes) -> bytes:
    """The header of a safetensors file."""
    return len(header).to_bytes(8, "little") + header


def damaged(folder: Path, what: str) -> None:  # noqa: C901  a list
    weights = folder / "model.safetensors"
    match what:
        case "no config":
            (folder / "config.json").unlink()
        case "no architecture":
            (folder / "config.json").write_text("{}", encoding="utf-8")
        case "bad config":
            (folder / "config.json").write_text("{", encoding="utf-8")
        case "no weights":
            weights.unlink()
        case "pickles":
            weights.rename(folder / "pytorch_model.bin")
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "longer":
            weights.write_bytes(weights.read_bytes() + b"x")
        case "empty":
            weights.write_bytes(b"")
        case "no tensors":
            weights.write_bytes(b"\xff" * 100)
        case "lfs":
            weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
        case "a part is missing":
            parts = {"weight_map": {"a": weights.name, "b": "model-2-of-2.safetensors"}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(parts))
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no config", "is no model: it has no config.json"),
        ("no architecture", "names no architecture"),
        ("bad config", "config.json cannot be read"),
        ("no weights", "has no weights"),
        ("pickles", r"weights as pickles \(pytorch_model\.bin\), which run code.*convert them"),
        ("cut", "is not whole: download it again"),
        ("longer", "is not whole"),
        ("empty", "is no safetensors file"),
        ("no tensors", "is no safetensors file"),
        ("lfs", "pointer of Git LFS"),
        ("a part is missing", r"lacks model-2-of-2\.safetensors"),
        ("no tokenizer", "has no tokenizer"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, what: str, said: str) -> None:
    damaged(make_model(tmp_path / "model"), what)
    with pytest.raises(UserError, match=rf"teachers\.main\.vllm\.model: .*{said}"):
        check(tmp_path)


DEEP = b"[" * 100_000
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", DEEP),
        (INDEX, DEEP),
        (INDEX, b'{"weight_map": null}'),
        (INDEX, b'{"weight_map": "abc"}'),
        (INDEX, b'{"weight_map": {"a": null}}'),
        (INDEX, b'{"weight_map": {"a": "../../outside"}}'),
        (INDEX, json.dumps({"weight_map": {"a": "y" * 5000}}).encode()),
        ("model.safetensors", framed(DEEP)),
        ("model.safetensors", framed(b'{"w": {"data_offsets": [0, "x"]}}')),
        ("model.safetensors", framed(b'{"w": {"data_offsets": [0, [1]]}}')),
        ("model.safetensors", framed(b'{"w": {"data_offsets": [0, null]}, "v": {}}')),
        ("config.json", None),
        ("model.safetensors", None),
    ],
)
def test_a_damaged_file_is_one_message(tmp_path: Path, file: str, content: bytes | None) -> None:
    path = make_model(tmp_path / "model") / file
    if content is None:  # a pipe, at which reading would wait for ever
        path.unlink()
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"teachers\.main\.vllm\.model: ") as refused:
        check(tmp_path)
    assert len(str(refused.value)) < 600


def test_a_file_whose_name_is_no_text_is_hashed_like_others(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    before = hash_of_folder(folder, Hashes(None))
    (folder / os.fsdecode(b"\xff.json")).write_bytes(b"{}")
    assert hash_of_folder(folder, Hashes(None)) != before


@pytest.mark.parametrize("written", ["y" * 5000, "a/" + "b" * 5000])
def test_a_name_that_no_folder_can_have(tmp_path: Path, written: str) -> None:
    with pytest.raises(UserError, match=r"is no folder .* and no Hugging Face id"):
        check(tmp_path, model=written)


@pytest.mark.parametrize("written", ["nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_folder_that_is_not_there(tmp_path: Path, written: str) -> None:
    with pytest.raises(UserError, match=r"is no folder .* and no Hugging Face id"):
        check(tmp_path, model=written)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    with pytest.raises(UserError, match="is a folder, so it has no `revision`"):
        check(tmp_path, revision="main")


def test_a_hub_id_is_resolved_from_the_cache_or_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="set `revision` to a commit"):
        check(tmp_path, model="some/model")
    check(tmp_path, model="some/model", revision=COMMIT)
    refs = tmp_path / "models--some--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT, encoding="utf-8")
    check(tmp_path, model="some/model")
    with pytest.raises(UserError, match="set `revision` to a commit"):
        check(tmp_path, model="some/model", revision="v2")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("adapter_config.json", "is no LoRA adapter: it has no adapter_config.json"),
        ("adapter_model.safetensors", r"has no adapter_model\.safetensors; pickles"),
    ],
)
def test_what_is_no_adapter_is_refused(tmp_path: Path, file: str, said: str) -> None:
    make_model(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter")
    check(tmp_path, lora={"sql": "adapter"})
    (adapter / file).unlink()
    (adapter / "adapter_model.bin").write_bytes(tensors())
    with pytest.raises(UserError, match=rf"teachers\.main\.vllm\.lora\.sql: .*{said}"):
        check(tmp_path, lora={"sql": "adapter"})


def test_an_adapter_of_another_kind_or_nowhere(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text('{"peft_type": "IA3"}', encoding="utf-8")
    with pytest.raises(UserError, match="is not of a LoRA adapter"):
        check(tmp_path, lora={"sql": "adapter"})
    with pytest.raises(UserError, match="there is no folder elsewhere"):
        check(tmp_path, lora={"sql": "elsewhere"})
