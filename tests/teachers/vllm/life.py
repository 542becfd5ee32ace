"""What the tests of a server's life share: a model that is none, and the stand-in for vLLM."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.teachers.vllm.fake_vllm import NAMED, standing_in

DEADLINE_S = 30


def tensors(values: bytes = b"\0" * 8) -> bytes:
    """A whole safetensors file."""
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [len(values) // 4], "data_offsets": [0, len(values)]}}
    ).encode()
    return struct.pack("<Q", len(header)) + header + values


def make_model(folder: Path, weights: bytes = b"\0" * 8) -> Path:
    """A folder that looks like a model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(tensors(weights))
    return folder


def make_adapter(folder: Path, rank: int = 8) -> Path:
    """A folder that looks like a LoRA adapter."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(tensors(bytes([rank]) * 8))
    return folder


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, **wishes: Any) -> Path:
    """Put the stand-in in vLLM's place, with these wishes; returns where it leaves its notes."""
    notes = folder / "notes"
    notes.mkdir(exist_ok=True)
    monkeypatch.setenv("SYNTHKD_VLLM_PYTHON", str(standing_in(folder / "bin")))
    monkeypatch.setenv(NAMED, json.dumps({"note": str(notes), **wishes}))
    return notes


def starts(notes: Path) -> list[dict[str, Any]]:
    """What each start was started with, in order."""
    files = sorted(notes.glob("start-*"), key=lambda file: int(file.name.partition("-")[2]))
    return [json.loads(file.read_text()) for file in files]


def port_of(start: Mapping[str, Any]) -> str:
    """The port that a server was started with."""
    port: str = start["args"][start["args"].index("--port") + 1]
    return port


def environment_of(pid: int) -> bytes:
    """What it was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def alive(marker: str) -> list[int]:
    """Processes with this in their command line or environment, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            seen = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if marker.encode() in seen and state != b"Z":
            found.append(int(folder.name))
    return found


def awaited(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
