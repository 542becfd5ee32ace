"""Who answers, for the ledger's keys: the model's bytes, the adapter's, and what changes an answer.

Not where it runs, nor on how many GPUs: a restart on another port, with more servers or less memory
asks nothing again, and neither does a folder that was moved.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthkd.config import TeacherConfig
from synthkd.config.vllm import options
from synthkd.errors import UserError
from synthkd.io.paths import expanded, places
from synthkd.rows import Json, canonical
from synthkd.teachers.request import Identity
from synthkd.teachers.vllm.hashes import Hashes
from synthkd.teachers.vllm.model import Adapter, Model, find_adapters, find_model

PARTS = {".safetensors", ".skops", ".json", ".jinja", ".txt", ".model", ".tiktoken"}
"""Endings of what a model is made of: weights, config, generation config, tokenizer, template."""
TEMPLATES = ("chat_templates", "additional_chat_templates")
"""Folders of further chat templates."""
LEFT_BY_TRAINING = {
    *("trainer_state.json", "all_results.json", "train_results.json", "eval_results.json"),
    *("requirements.txt", "student.json"),
}

_RUNNING = """
gpu-memory-utilization device-memory-utilization kv-cache-memory-bytes num-gpu-blocks-override
block-size cpu-offload-gb cpu-offload-params offload-backend offload-group-size
offload-num-in-group offload-prefetch-step offload-params kv-offloading-size
kv-offloading-backend pipeline-parallel-size distributed-executor-backend
distributed-timeout-seconds cpu-distributed-timeout-seconds disable-custom-all-reduce
enable-expert-parallel max-parallel-loading-workers numa-bind numa-bind-nodes numa-bind-cpus
enforce-eager optimization-level performance-mode cudagraph-capture-sizes
max-cudagraph-capture-size enable-flashinfer-autotune max-num-batched-tokens
max-num-scheduled-tokens max-num-seqs max-num-active-seqs max-num-queued-reqs
max-num-queued-tokens enable-chunked-prefill long-prefill-token-threshold
long-prefill-token-threshold-adaptive scheduling-policy async-scheduling stream-interval
enable-prefix-caching prefix-caching-hash-algo prefix-cache-retention-interval watermark
renderer-num-workers shutdown-timeout enable-sleep-mode download-dir use-tqdm-on-load
safetensors-load-strategy safetensors-prefetch-num-threads safetensors-prefetch-block-size
max-loras max-lora-rank max-cpu-loras fully-sharded-loras mm-processor-cache-gb
mm-processor-cache-type mm-shm-cache-max-object-size-mb skip-mm-profiling
"""
"""Where and how fast it runs."""
_SAYING = """
disable-log-stats enable-log-requests enable-log-outputs enable-log-deltas max-log-len
uvicorn-log-level log-level disable-uvicorn-access-log disable-access-log-for-endpoints
log-error-stack aggregate-engine-logging enable-server-load-tracking enable-per-request-metrics
kv-cache-metrics kv-cache-metrics-sample cudagraph-metrics enable-mfu-metrics
show-hidden-metrics-for-version otlp-traces-endpoint collect-detailed-traces
enable-layerwise-nvtx-tracing enable-logging-iteration-details jit-monitor-mode
jit-monitor-verbose disable-fastapi-docs enable-offline-docs enable-request-id-headers
fingerprint-mode fingerprint-value enable-prompt-tokens-details allow-credentials
allowed-origins allowed-methods allowed-headers h11-max-incomplete-event-size
h11-max-header-count fail-on-environ-validation
"""
"""What it says besides."""
SAME_ANSWERS = frozenset(f"--{name}" for name in f"{_RUNNING} {_SAYING}".split())
"""Arguments that are known not to change an answer (beyond the last digit of a floating-point sum,
as the batch that a question falls into does too). All others are part of who answers."""
SAME_FORMATS = {"safetensors", "fastsafetensors", "runai_streamer"}
"""Ways to load the same weights."""


REMEMBERED = Path(".synthkd", "vllm", "hashes.json")
"""What files hold, below the working folder."""


def identities(
    configs: Mapping[str, TeacherConfig], base: Path, offline: bool, left: threading.Event
) -> dict[str, Identity]:
    """Who answers, of each teacher with a `vllm` block.

    Args:
        configs: those teachers.
        base: the pipeline file's folder.
        offline: ask no hub.
        left: set when nobody waits any more.

    Raises:
        UserError: a model or an adapter that is none, or cannot be read.
    """
    hashes = Hashes(REMEMBERED, left)
    found = {}
    for name, config in configs.items():
        assert config.vllm is not None  # noqa: S101  the caller chose them so
        model = find_model(name, config.vllm, base, offline=offline)
        adapters = find_adapters(name, config.vllm, base)
        try:
            answering = served_by(config, model, adapters, hashes, base)
        except OSError as error:
            raise UserError(
                f"teachers.{name}.vllm: {error.filename} cannot be read: {error.strerror}"
            ) from None
        found[name] = Identity(served_by=answering)
    hashes.save()
    return found


def served_by(
    config: TeacherConfig,
    model: Model,
    adapters: Sequence[Adapter],
    hashes: Hashes,
    base: Path,
) -> str:
    """Who answers, as canonical JSON.

    Args:
        config: of the teacher; its `model` may name an adapter.
        model: what the servers load.
        adapters: what they serve beside it.
        hashes: what files hold.
        base: the pipeline file's folder, where relative paths are looked up too.

    Raises:
        OSError: a file cannot be read.
    """
    vllm = config.vllm
    assert vllm is not None  # noqa: S101  the caller asked
    who: dict[str, Json] = {}
    if model.folder is None:
        who["vllm"] = f"{model.place}@{model.revision}"
    else:
        who["vllm"] = f"sha256:{hash_of_folder(model.folder, hashes)}"
    for adapter in adapters:
        if adapter.name == config.model:
            who["lora"] = f"sha256:{hash_of_folder(adapter.folder, hashes)}"
    if args := _answer_changing(vllm.args, hashes, base):
        who["args"] = args
    return canonical(who).decode()


def hash_of_folder(folder: Path, hashes: Hashes) -> str:
    """One hash over the names and the bytes of all that a model or an adapter is made of."""
    files = [file for file in folder.iterdir() if _is_part(file)]
    for name in TEMPLATES:
        files += [file for file in folder.joinpath(name).glob("*") if file.is_file()]
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative_to(folder).as_posix()):
        # A file's name may be no UTF-8.
        name = os.fsencode(file.relative_to(folder)).decode(errors="backslashreplace")
        digest.update(canonical([name, hashes.of(file)]))
    return digest.hexdigest()


def _is_part(file: Path) -> bool:
    return file.suffix in PARTS and file.name not in LEFT_BY_TRAINING and file.is_file()


def _answer_changing(args: Sequence[str], hashes: Hashes, base: Path) -> dict[str, Json]:
    changing: dict[str, Json] = {}
    for name, appearances in sorted(options(args).items()):
        plain = "--" + name[5:] if name.startswith("--no-") else name
        if plain.partition(".")[0] in SAME_ANSWERS:
            continue
        if name == "--load-format" and all(set(values) <= SAME_FORMATS for values in appearances):
            continue
        values = [[_content(name, value, hashes, base) for value in each] for each in appearances]
        changing[name] = values[0] if len(values) == 1 else values
    return changing


def _content(name: str, value: str, hashes: Hashes, base: Path) -> str:
    """Of a template its bytes, wherever they lie."""
    file = template_file(value, base) if name == "--chat-template" else None
    return value if file is None else f"sha256:{hashes.of(file)}"


def template_file(value: str, base: Path) -> Path | None:
    """The file that `--chat-template` names; None = the value is the template itself."""
    if "\n" in value or "{" in value.replace("${", ""):
        return None
    return next((place for place in places(expanded(value), base) if place.is_file()), None)
