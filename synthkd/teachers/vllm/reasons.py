"""Why a server died or does not start, read off its log; and how far a start has come.

What vLLM logs is text of others: it is shown on one line, without control characters, and not long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TAIL = 256 * 2**10
"""Bytes at the end of a log that are looked at: a traceback through three processes fits."""
GLANCE = 16 * 2**10
"""Bytes that tell how far a start is: it is looked at several times a second."""
LONGEST_LINE = 300
SHORT = 80
"""Characters of a line that tell how far a start is, beside all else that a person looks at."""
LINES = 12
"""Of a log's end that a person is shown."""


class Reason(NamedTuple):
    """A way to die."""

    found: str
    """What stands in the log then, as a regular expression."""
    means: str
    """What it means, with the way out."""


REASONS = (
    Reason(
        "OutOfMemoryError|CUDA out of memory|HIP out of memory|OUT_OF_MEMORY",
        "the GPU's memory does not suffice for this model: take fewer --max-num-seqs or a smaller"
        " --max-model-len in `args`, more GPUs (`tensor_parallel`), or a smaller or quantized"
        " model",
    ),
    Reason(
        "Free memory on device .* is less than desired",
        "something else holds the GPU's memory: end it, or set --gpu-memory-utilization lower in"
        " `args`",
    ),
    Reason(
        "No available memory for the cache|No available memory for KV cache|available (?:KV|kv)"
        " cache memory|larger than the (?:available|maximum number of tokens)",
        "what the weights leave of the memory is too little for the answers: set --max-model-len"
        " lower or --gpu-memory-utilization higher in `args` (on a CPU: the environment variable"
        " VLLM_CPU_KVCACHE_SPACE, in GiB)",
    ),
    Reason(
        "MemoryError|Cannot allocate memory|can't allocate memory|not enough memory",
        "this machine's memory does not suffice for this model: take a smaller or quantized one,"
        " or end what else uses it",
    ),
    Reason("[Aa]ddress already in use|Errno 98", "another program has taken its port"),
    Reason(
        "No module named '?vllm",
        "this Python has no vLLM: see the environment variable SYNTHKD_VLLM_PYTHON",
    ),
    Reason(
        "unrecognized arguments|error: argument |invalid choice|error: ambiguous option",
        "it does not take these `args`",
    ),
    Reason(
        "trust_remote_code=True|execute the configuration file|contains custom code",
        "the model needs code of its own, which synthkd does not run: take one that vLLM knows, or"
        " start the server yourself and give its `endpoint`",
    ),
    Reason(
        "architectures .* (?:are|is) not supported|does not recognize this architecture"
        "|No model architectures are specified|Cannot find model module",
        "this vLLM does not know the model's architecture: update it, or take another model",
    ),
    Reason(
        "[Bb]float16 is only supported|dtype .* is not supported|Unsupported dtype"
        r"|not supported for quantization method|torch\.\w+ is not supported",
        "this hardware cannot compute in the model's dtype: set --dtype in `args` (float16,"
        " float32)",
    ),
    Reason(
        "Cannot find any model weights|Cannot find any .*safetensors",
        "the model has no weights as safetensors, and synthkd reads no pickles: convert them",
    ),
    Reason(
        "World size .* is larger than the number|number of available GPUs|not enough GPUs",
        "there are fewer GPUs than it is to use: set `tensor_parallel` or `servers` lower",
    ),
    Reason(
        "must be divisible by (?:the )?tensor parallel|divisible by tensor model parallel",
        "the model cannot be divided so: set `tensor_parallel` to another power of two",
    ),
    Reason(
        r"[Ll]o[Rr][Aa] rank \d+ is greater",
        "the adapter's rank is greater than --max-lora-rank in `args` allows",
    ),
    Reason(
        "No CUDA GPUs are available|Failed to infer device type|driver version is insufficient"
        "|Found no NVIDIA driver",
        "it finds no GPU that it can use: check the driver (nvidia-smi), or install a build of"
        " vLLM for this hardware",
    ),
    Reason("No space left on device", "the disk is full"),
    Reason(
        "LocalEntryNotFoundError|OfflineModeIsEnabled|Connection error|couldn't connect to",
        "the model is not in the local cache, and the hub cannot be reached: download it first",
    ),
    Reason(
        "GatedRepoError|401 Client Error|403 Client Error",
        "the hub does not give out this model without a token: set the environment variable"
        " HF_TOKEN",
    ),
)
"""The first that is found is told."""

STAGES: Mapping[str, str] = {
    r"Application startup complete|Starting vLLM server": "ready",
    r"Capturing CUDA graph|Graph capturing": "capturing graphs",
    r"init engine|KV cache size|KV cache memory|Memory profiling": "making room for answers",
    r"torch\.compile took|Dynamo bytecode|Compiling a graph|Cache the graph": "compiling",
    r"Starting to load|Loading safetensors|Loading weights|Model loading": "loading weights",
    r"Downloading|Fetching \d+ files": "downloading",
    r"Initializing a V\d LLM engine": "starting its engine",
}
"""What stands in a line -> which stage of a start that is."""

_ERROR = re.compile(r"\b((?:\w+\.)*\w*(?:Error|Exception|Interrupt))\b:?\s*(.*)")
_PREFIX = re.compile(r"^(?:\([^)]*pid=\d+\)\s*)?(?:[A-Z]+ \d\d-\d\d [\d:]+ )?(?:\[[^\]]+\]\s*)?")
_IDLE = re.compile(r"(?:INFO|WARNING|DEBUG) \d\d-\d\d ")
"""In lines that say what goes well, such as all settings that make a server fail elsewhere."""
_FOLLOWS = ("Engine core initialization failed", "EngineDeadError", "Engine process failed")


def tail_of(log: Path, since: int = 0, most: int = TAIL) -> str:
    """The end of what a log has gained since it was so many bytes long."""
    try:
        with log.open("rb") as opened:
            end = opened.seek(0, 2)
            opened.seek(max(since, end - most))
            return opened.read(most).decode(errors="replace")
    except FileNotFoundError:
        return ""


def lines_of(text: str) -> list[str]:
    """Its lines, fit to be shown; what a progress bar wrote over itself is one."""
    lines = (one_line(line.rpartition("\r")[2]) for line in text.replace("\r\n", "\n").split("\n"))
    return [line for line in lines if line]


def one_line(text: str) -> str:
    """Without control characters and what vLLM writes before each line; not too long."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    line = "".join(c if c.isprintable() else " " for c in plain).strip()
    line = _PREFIX.sub("", line, count=1)
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "..."


def reason_of(text: str, code: int | None) -> str:
    """Why it ended, in one sentence, with the way out where there is a known one."""
    lines = [one_line(line) for line in text.splitlines() if not _IDLE.search(line)]
    for found, means in REASONS:
        for line in lines:
            if re.search(found, line):
                return f"{means} ({line})"
    errors = [match for line in lines if (match := _ERROR.search(line))]
    causes = [each for each in errors if not any(text in each[0] for text in _FOLLOWS)]
    if causes:
        return f"{causes[-1][1]}: {causes[-1][2]}".rstrip(": ")
    if code == -9:
        return "it was killed (SIGKILL), as the system does when its memory runs out"
    if code is None:
        return "it ended, and so did its watchdog"
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def stage_of(text: str) -> str:
    """How far a start has come, with the latest line that says something of it."""
    lines = [line[:SHORT] for line in lines_of(text)]
    latest = next((line for line in reversed(lines) if re.search("[a-z]{3}", line)), "")
    for line in reversed(lines):
        for found, stage in STAGES.items():
            if re.search(found, line):
                return f"{stage} ({line})"
    return f"starting ({latest})" if latest else "starting"


def shown_tail(text: str) -> str:
    """The last lines for a person, each set in."""
    return "\n".join(f"  {line}" for line in lines_of(text)[-LINES:])
