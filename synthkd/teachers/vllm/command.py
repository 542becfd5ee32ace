"""What is started: arguments and environment of one server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkd.config import VllmConfig
from synthkd.config.vllm import BASE, options
from synthkd.errors import UserError
from synthkd.teachers.vllm.identity import template_file
from synthkd.teachers.vllm.model import Adapter, Model

MODULE = "vllm.entrypoints.openai.api_server"
"""Not the `vllm` program: the one of the CPU build does not find its own version."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks of adapters that vLLM lets one choose from."""

QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""It tells nobody that it runs."""
NOT_PASSED_ON = re.compile(
    r".*_API_KEY|VLLM_ALLOW_INSECURE_SERIALIZATION|VLLM_ALLOW_RUNTIME_LORA_UPDATING"
    r"|VLLM_SERVER_DEV_MODE|PYTHONPATH|PYTHONHOME|PYTHONSTARTUP"
)
"""Variables that are no business of a server, or open it to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What all servers of one block have in common."""

    python: Path
    config: VllmConfig
    model: Model
    adapters: Sequence[Adapter]
    base: Path
    """The pipeline file's folder, where relative paths are looked up too."""
    key: str | None
    """What a question must carry, so that no other server is taken for this one, and nobody else
    on this machine asks it; None = anybody may."""
    gpus: Sequence[str] | None
    """What CUDA_VISIBLE_DEVICES names; None = it is left as it is."""


def arguments(launch: Launch, port: int) -> list[str]:
    """The command line of one server."""
    config, model = launch.config, launch.model
    words = [str(launch.python), "-m", MODULE, "--model", model.place]
    taken = {adapter.name for adapter in launch.adapters}
    names = dict.fromkeys((model.name, BASE))
    words += ["--served-model-name", *(each for each in names if each not in taken)]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    if model.revision is not None:
        words += ["--revision", model.revision, "--tokenizer-revision", model.revision]
    if config.tensor_parallel > 1:
        words += ["--tensor-parallel-size", str(config.tensor_parallel)]
    given = options(config.args)
    if "--load-format" not in given:
        words += ["--load-format", "safetensors"]
    if "--disable-uvicorn-access-log" not in given:
        words += ["--disable-uvicorn-access-log"]  # a line for each question fills the disk
    if launch.adapters:
        words += ["--enable-lora", "--lora-modules"]
        words += [f"{adapter.name}={adapter.folder}" for adapter in launch.adapters]
        largest = max(adapter.rank for adapter in launch.adapters)
        if "--max-lora-rank" not in given:
            words += ["--max-lora-rank", str(next((r for r in RANKS if r >= largest), largest))]
        if "--max-loras" not in given:
            words += ["--max-loras", str(len(launch.adapters))]
    return [*words, *_with_full_paths(config.args, launch.base)]


def _with_full_paths(args: Sequence[str], base: Path) -> list[str]:
    """The arguments, with the template where it was found."""
    words = []
    for before, word in zip(["", *args], args, strict=False):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == "--chat-template" and equals:
            file = template_file(value, base)
            word = word if file is None else f"{name}={file}"
        elif before.replace("_", "-") == "--chat-template":
            word = str(template_file(word, base) or word)
        words.append(word)
    return words


def environment(launch: Launch, number: int) -> dict[str, str]:
    """The environment of the server of this number, from 0."""
    env = {name: value for name, value in os.environ.items() if not NOT_PASSED_ON.fullmatch(name)}
    # A file in the working folder must not be taken for a module; the log is read as it grows.
    env |= {**QUIET, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    if launch.model.folder is not None:
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if launch.key is not None:
        env["VLLM_API_KEY"] = launch.key
    if launch.gpus is not None:
        each = gpus_of_one(launch.config)
        env["CUDA_VISIBLE_DEVICES"] = ",".join(launch.gpus[number * each : (number + 1) * each])
    return env


def gpus_of_one(config: VllmConfig) -> int:
    """GPUs that one server needs."""
    stages = options(config.args).get("--pipeline-parallel-size", [["1"]])[-1]
    return config.tensor_parallel * (int(stages[0]) if stages and stages[0].isdecimal() else 1)


def shared_gpus(name: str, config: VllmConfig) -> list[str] | None:
    """The GPUs that several servers share out; None = one server takes what it finds, or none is.

    Raises:
        UserError: there are fewer than the servers need.
    """
    if config.servers == 1:
        return None
    visible = visible_gpus(os.environ)
    needed = config.servers * gpus_of_one(config)
    if visible is not None and len(visible) < needed:
        raise UserError(
            f"teachers.{name}.vllm: {config.servers} servers of {gpus_of_one(config)} GPUs need"
            f" {needed}, but there are {len(visible)} (CUDA_VISIBLE_DEVICES, or all that"
            " nvidia-smi lists): set `servers` or `tensor_parallel` lower"
        )
    return visible


def visible_gpus(environ: Mapping[str, str]) -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES names, or the numbers of all GPUs; None = there is none."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip()]
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        told = subprocess.run(  # noqa: S603  a fixed command, found on the PATH
            [program, "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):  # vLLM will say what is wrong with the driver
        return None
    return told.split() or None
