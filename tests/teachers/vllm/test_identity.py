"""Who answers: the same bytes are the same teacher, wherever and however they run."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import TeacherConfig
from synthkd.teachers.vllm.hashes import Hashes
from synthkd.teachers.vllm.identity import identities
from tests.teachers.vllm.life import make_adapter, make_model, tensors


def who(folder: Path, model: str | None = None, **vllm: Any) -> str:
    values = {"model": model, "vllm": {"model": "model", **vllm}}
    config = TeacherConfig.model_validate(values)
    return identities({"main": config}, folder, True, threading.Event())["main"].served_by


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model(tmp_path / "model")
    make_model(tmp_path / "other", weights=b"\1" * 8)
    make_adapter(tmp_path / "sql")
    return tmp_path


def test_it_says_what_it_is(folder: Path) -> None:
    assert who(folder).startswith('{"vllm":"sha256:')
    commit = "a" * 40
    assert who(folder, **{"model": None}) == who(folder)
    config = TeacherConfig.model_validate({"vllm": {"model": "a/b", "revision": commit}})
    found = identities({"main": config}, folder, True, threading.Event())
    assert found["main"].served_by == f'{{"vllm":"a/b@{commit}"}}'


def test_a_moved_folder_and_more_servers_are_the_same(folder: Path) -> None:
    before = who(folder, servers=1)
    (folder / "model").rename(folder / "moved")
    again = TeacherConfig.model_validate(
        {"vllm": {"model": "moved", "servers": 4, "tensor_parallel": 2, "start_timeout_s": 9}}
    )
    found = identities({"main": again}, folder, True, threading.Event())
    assert found["main"].served_by == before


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("chat_template.jinja", "model.safetensors", "merges.txt", "tokenizer.model"),
        *("chat_templates/tools.jinja", "tiktoken.tiktoken", "anything_new.json"),
    ],
)
def test_any_part_that_changes_is_another_teacher(folder: Path, name: str) -> None:
    before = who(folder)
    file = folder / "model" / name
    file.parent.mkdir(exist_ok=True)
    content = b'{"architectures": ["X"], "a": 1}'
    file.write_bytes(tensors(b"\2" * 8) if name.endswith(".safetensors") else content)
    assert who(folder) != before


@pytest.mark.parametrize("name", ["README.md", "trainer_state.json", "pytorch_model.bin", "x.py"])
def test_what_is_no_part_of_a_model_changes_nothing(folder: Path, name: str) -> None:
    before = who(folder)
    (folder / "model" / name).write_bytes(b"{}")
    assert who(folder) == before


@pytest.mark.parametrize(
    "args",
    [
        ["--max-num-seqs", 64],
        ["--gpu-memory-utilization=0.5"],
        ["--enforce-eager"],
        ["--no-enable-prefix-caching"],
        ["--max_num_batched_tokens", "8k"],
        ["--load-format", "fastsafetensors"],
    ],
)
def test_how_fast_it_runs_changes_nothing(folder: Path, args: list[Any]) -> None:
    assert who(folder, args=args) == who(folder)


@pytest.mark.parametrize(
    "args",
    [
        ["--dtype", "float16"],
        ["--quantization", "fp8"],
        ["--max-model-len", 4096],
        ["--chat-template", "{{ messages }}"],
        ["--kv-cache-dtype", "fp8"],
        ["--override-generation-config.temperature", 0],
        ["--reasoning-parser", "qwen3"],
        ["--load-format", "dummy"],
        ["--seed", 1],
        ["--something-that-nobody-knows"],
    ],
)
def test_what_may_change_an_answer_is_another_teacher(folder: Path, args: list[Any]) -> None:
    assert who(folder, args=args) != who(folder)


def test_the_order_and_the_spelling_of_arguments_change_nothing(folder: Path) -> None:
    one = who(folder, args=["--dtype", "half", "--max-model-len=8k", "--seed", 1])
    assert one == who(folder, args=["--seed=1", "--max_model_len", "8k", "--dtype=half"])


def test_a_template_counts_by_its_bytes(folder: Path) -> None:
    (folder / "one.jinja").write_text("{{ 1 }}", encoding="utf-8")
    (folder / "two.jinja").write_text("{{ 1 }}", encoding="utf-8")
    one = who(folder, args=["--chat-template", "one.jinja"])
    assert one == who(folder, args=["--chat-template=two.jinja"])
    (folder / "one.jinja").write_text("{{ 2 }}", encoding="utf-8")
    assert one != who(folder, args=["--chat-template", "one.jinja"])


def test_an_adapter_counts_for_who_asks_it(folder: Path) -> None:
    lora = {"sql": "sql"}
    assert who(folder, lora=lora) == who(folder)
    asked = who(folder, model="sql", lora=lora)
    assert asked != who(folder)
    make_adapter(folder / "more")
    assert who(folder, model="sql", lora={"sql": "sql", "more": "more"}) == asked
    (folder / "sql" / "adapter_model.safetensors").write_bytes(tensors(b"\3" * 8))
    assert who(folder, model="sql", lora=lora) != asked


def old(file: Path) -> Path:
    """As if it had been written long ago."""
    os.utime(file, (1, 1))
    return file


def test_a_second_start_reads_nothing_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"x" * 1000)
    old(file)
    memory = tmp_path / "memory" / "hashes.json"
    first = Hashes(memory)
    wanted = first.of(file)
    first.save()
    second = Hashes(memory)
    assert second.of(file) == wanted
    assert (first.read_bytes, second.read_bytes) == (1000, 0)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    memory = tmp_path / "hashes.json"
    file.write_bytes(b"x" * 1000)
    old(file)
    before = Hashes(memory)
    was = before.of(file)
    before.save()
    other = tmp_path / "other"
    other.write_bytes(b"y" * 1000)
    old(other).replace(file)  # the same path, size and time; only the inode tells
    assert Hashes(memory).of(file) != was


def test_what_has_just_changed_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"x" * 1000)
    first = Hashes(tmp_path / "hashes.json")
    first.of(file)
    first.save()
    again = Hashes(tmp_path / "hashes.json")
    again.of(file)
    assert again.read_bytes == 1000


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"x")
    memory = tmp_path / "hashes.json"
    memory.write_bytes(damage)
    hashes = Hashes(memory)
    hashes.of(old(file))
    hashes.save()
    assert Hashes(memory).of(file) == hashes.of(file)


def test_reading_ends_when_nobody_waits(tmp_path: Path) -> None:
    left = threading.Event()
    left.set()
    file = tmp_path / "weights"
    file.write_bytes(b"x")
    with pytest.raises(InterruptedError):
        Hashes(None, left).of(file)
