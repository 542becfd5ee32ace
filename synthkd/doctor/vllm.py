"""A server that a run would start: its vLLM, its model, the GPUs, the memory. None is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from synthkd.config import TeacherConfig
from synthkd.doctor.machine import size_text
from synthkd.doctor.report import Examined
from synthkd.errors import UserError
from synthkd.teachers.vllm.command import gpus_of_one, shared_gpus, visible_gpus
from synthkd.teachers.vllm.find import find_python
from synthkd.teachers.vllm.model import find_adapters, find_model, weights_bytes

ROOM = 1.1
"""What the weights need, and a tenth for what is computed with them; answers need more."""
GPU_ANSWERS_S = 10.0


def examine_vllm(found: Examined, config: TeacherConfig, base: Path) -> None:
    """Look at what starting the servers needs.

    Args:
        found: where findings go.
        config: a teacher with a `vllm` block that `check_teachers` has nothing against.
        base: the pipeline file's folder.
    """
    vllm = config.vllm
    assert vllm is not None  # noqa: S101  the caller asked
    try:
        found.add("vLLM", "fine", f"{find_python()} has it")
    except UserError as error:
        found.add("vLLM", "mend", f"{error}; a run whose answers are all in the ledger needs none")
    model = find_model(found.name, vllm, base, offline=False)
    if model.folder is None:
        found.add("model", "fine", f"{model.place} at commit {model.revision}")
        found.add("memory", "note", "what the weights need is known once they are downloaded")
    else:
        weights = weights_bytes(model.folder)
        found.add("model", "fine", f"{model.place}: {size_text(weights)} of weights")
        _memory(found, config, weights)
    for adapter in find_adapters(found.name, vllm, base):
        found.add("adapter", "fine", f"{adapter.name}: {adapter.folder}, rank {adapter.rank}")
    try:
        shared_gpus(found.name, vllm)
    except UserError as error:
        found.add("GPUs", "mend", str(error))
    else:
        gpus = visible_gpus(os.environ)
        needed = vllm.servers * gpus_of_one(vllm)
        if gpus is None:
            found.add("GPUs", "note", "none is found: it would run on the CPU")
        elif len(gpus) < needed:
            found.add("GPUs", "mend", f"{needed} are needed, {len(gpus)} are found")
        else:
            found.add("GPUs", "fine", f"{needed} of {len(gpus)} are used")


def _memory(found: Examined, config: TeacherConfig, weights: int) -> None:
    vllm = config.vllm
    assert vllm is not None  # noqa: S101  the caller asked
    there = gpu_memory()
    if there is None:
        where, each, servers = "this machine", available_memory(), vllm.servers
    else:
        where, each, servers = "a GPU", there, 1
    if each is None:
        found.add("memory", "note", "how much there is cannot be told")
        return
    needed = round(weights * ROOM * servers / (1 if there is None else gpus_of_one(vllm)))
    said = f"the weights need {size_text(needed)}, {where} has {size_text(each)}"
    if needed > each:
        found.add("memory", "warning", f"{said}: it will hardly start")
    else:
        found.add("memory", "fine", f"{said} for them and for the answers")


def gpu_memory() -> int | None:
    """Bytes of the smallest GPU; None = there is none, or it does not say."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        told = subprocess.run(  # noqa: S603  a fixed command, found on the PATH
            [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=GPU_ANSWERS_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):  # the machine's own findings say it fails
        return None
    sizes = [int(line) * 2**20 for line in told.split() if line.isdecimal()]
    return min(sizes, default=None)


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that programs can still have; None = it cannot be told here."""
    try:
        match = re.search(rb"^MemAvailable:\s+(\d+) kB", meminfo.read_bytes(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
