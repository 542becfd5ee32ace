"""The block of a vLLM server that synthkd starts itself, and which of vLLM's arguments it takes.

    vllm:
      model: /models/qwen3-8b
      args: [--max-model-len, 8192, --gpu-memory-utilization, 0.9]

Arguments go to vLLM as they stand, with two exceptions: what synthkd sets itself, and what makes
vLLM load code or pickles. Those are refused by name, and so is every shortened form of them, since
vLLM takes `--trust-rem` for `--trust-remote-code`. The names are those of vLLM 0.32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, StringConstraints

from synthkd.config.settings import Name, Settings

BASE = "base"
"""How the base model is called in a request, whatever its folder is called: a folder that is moved
or renamed is still the same model."""

_ELSEWHERE = "start the server yourself and give its `endpoint`"
_CODE = f"it makes vLLM load code that is not vLLM's own; if you trust that code, {_ELSEWHERE}"

SET_BY_SYNTHKD: Mapping[str, str] = {
    "--model": "use `model`",
    "--served-model-name": "synthkd names the models; use `model` and `lora`",
    "--revision": "use `revision`",
    "--code-revision": "use `revision`",
    "--tokenizer-revision": "use `revision`",
    "--host": "the server listens on 127.0.0.1 only",
    "--port": "synthkd takes a free one; `synthkd serve` has --port",
    "--uds": "the server listens on 127.0.0.1 only",
    "--root-path": "the server listens on 127.0.0.1 only",
    "--api-key": "synthkd makes one for each run",
    "--ssl-keyfile": "the server listens on 127.0.0.1 only",
    "--ssl-certfile": "the server listens on 127.0.0.1 only",
    "--ssl-ca-certs": "the server listens on 127.0.0.1 only",
    "--ssl-cert-reqs": "the server listens on 127.0.0.1 only",
    "--ssl-ciphers": "the server listens on 127.0.0.1 only",
    "--enable-ssl-refresh": "the server listens on 127.0.0.1 only",
    "--grpc": "it is asked over HTTP",
    "--grpc-port": "it is asked over HTTP",
    "--headless": "it is asked over HTTP",
    "--tensor-parallel-size": "use `tensor_parallel`",
    "--api-server-count": "use `servers`",
    "--device-ids": "set CUDA_VISIBLE_DEVICES; `servers` share what it names",
    **dict.fromkeys(
        (
            "--data-parallel-size",
            "--data-parallel-rank",
            "--data-parallel-start-rank",
            "--data-parallel-size-local",
            "--data-parallel-address",
            "--data-parallel-rpc-port",
            "--data-parallel-backend",
            "--data-parallel-hybrid-lb",
            "--data-parallel-external-lb",
            "--data-parallel-multi-port-external-lb",
            "--data-parallel-supervisor-port",
        ),
        f"use `servers`; for one model that spans them, {_ELSEWHERE}",
    ),
    **dict.fromkeys(
        ("--nnodes", "--node-rank", "--master-addr", "--master-port"),
        f"synthkd starts servers on this machine only; for several nodes, {_ELSEWHERE}",
    ),
    "--enable-lora": "use `lora`",
    "--lora-modules": "use `lora`",
    "--default-mm-loras": "use `lora`",
    "--config": "a file of arguments cannot be looked through: write them into `args`",
    "--hf-token": "a secret has no place in this file: set the environment variable HF_TOKEN",
    "--tokenizer": "the tokenizer is the model's own; put it into the model's folder",
    "--hf-config-path": "the config is the model's own; put it into the model's folder",
    "--speculative-config": f"a draft model is not part of who answers yet; {_ELSEWHERE}",
    "--spec-method": f"a draft model is not part of who answers yet; {_ELSEWHERE}",
    "--spec-model": f"a draft model is not part of who answers yet; {_ELSEWHERE}",
    "--spec-tokens": f"a draft model is not part of who answers yet; {_ELSEWHERE}",
}
"""Arguments that are settings here, or would lead the questions elsewhere; and what to do."""

RUNS_FOREIGN_CODE: Mapping[str, str] = dict.fromkeys(
    (
        "--trust-remote-code",
        "--middleware",
        "--worker-cls",
        "--worker-extension-cls",
        "--logits-processors",
        "--tool-parser-plugin",
        "--reasoning-parser-plugin",
        "--io-processor-plugin",
        "--scheduler-cls",
        "--model-class-overrides",
        "--compilation-config",
        "--kernel-config",
        "--kv-transfer-config",
        "--ec-transfer-config",
        "--ec-manager-config",
        "--weight-transfer-config",
        "--additional-config",
        "--logging-config",
        "--log-config-file",
        "--tool-server",
    ),
    _CODE,
)
"""Arguments that name modules, classes or files with either, which vLLM then imports."""

ONLY: Mapping[str, Sequence[str]] = {
    "--load-format": ("safetensors", "fastsafetensors", "runai_streamer", "dummy"),
    "--distributed-executor-backend": ("mp", "ray", "uni"),
    "--generation-config": ("auto", "vllm"),
}
"""Arguments of which only these values are taken: others read pickles, classes or other folders."""

WHOLE = {"--reasoning-parser"}
"""Names that are whole, and the beginning of a refused one."""

REFUSED: Mapping[str, str] = {**SET_BY_SYNTHKD, **RUNS_FOREIGN_CODE}

NAMES_CODE = re.compile("plugin|module_path|_cls$|_class$|qualname|passes$")
"""Keys of JSON values under which vLLM finds the name of what it imports."""

_LONG = re.compile(r"--[A-Za-z][A-Za-z0-9_-]*")


def options(args: Sequence[str]) -> dict[str, list[list[str]]]:
    """Arguments by name: `--max-model-len=8k` and `--max_model_len 8k` are one and the same.

    Args:
        args: as on vLLM's command line.

    Returns:
        For each name the values of each of its appearances. A key of JSON stays with its name, as
        in `--hf-overrides.rope_theta`.

    Raises:
        ValueError: a value without a name, or a name of one dash.
    """
    found: dict[str, list[list[str]]] = {}
    values: list[str] | None = None
    for word in args:
        if "\0" in word:
            raise ValueError(f"{word!r:.100} has a NUL, which no command line can have")
        if word.startswith("--"):
            written, equals, value = word.partition("=")
            root, dot, rest = written.partition(".")
            if not _LONG.fullmatch(root):
                raise ValueError(f"{word!r:.100} is no argument of vLLM")
            values = [value] if equals else []
            found.setdefault(root.replace("_", "-") + dot + rest, []).append(values)
        elif re.match("-[A-Za-z]", word):
            raise ValueError(f"{word!r:.100}: write the long name, which begins with --")
        elif values is None:
            raise ValueError(f"{word!r:.100} is a value without a name before it")
        else:
            values.append(word)
    return found


def _words(args: object) -> object:
    """YAML makes numbers of numbers; a command line has words."""
    if not isinstance(args, list):
        return args
    return [str(each) if type(each) in {int, float} else each for each in args]


def _taken(args: list[str]) -> list[str]:
    for name, appearances in options(args).items():
        root = name.partition(".")[0]
        plain = "--" + root.removeprefix("--no-") if root.startswith("--no-") else root
        if plain in REFUSED:
            raise ValueError(f"{root} is not for `args`: {REFUSED[plain]}")
        for refused, reason in REFUSED.items():
            # vLLM takes any beginning of a name that is no name itself.
            if refused.startswith(plain) and plain not in WHOLE:
                raise ValueError(
                    f"{root} may stand for {refused}, which is not for `args`: {reason}"
                )
        for value in (each for values in appearances for each in values):
            if key := _code_in(name, value):
                raise ValueError(f"{name} has {key!r:.100}: {_CODE}")
        for limited, allowed in ONLY.items():
            wrong = [v for v in appearances if len(v) != 1 or v[0] not in allowed]
            if limited.startswith(plain) and (wrong or plain != limited):
                raise ValueError(f"{root} must be {limited} with one of {', '.join(allowed)}")
    return args


def _code_in(name: str, value: str) -> str | None:
    """The first key, in the name or in a value of JSON, that has vLLM import something."""
    todo: list[object] = [dict.fromkeys(name.split(".")[1:])]
    if name != "--chat-template" and value.lstrip()[:1] in {"{", "["}:
        try:
            todo.append(json.loads(value))
        except (ValueError, RecursionError):
            raise ValueError(f"{name}: {value!r:.100} is no JSON") from None
    while todo:
        match todo.pop():
            case dict() as keys:
                for key in keys:
                    if NAMES_CODE.search(str(key).replace("-", "_").rstrip("+")):
                        return str(key)
                todo.extend(keys.values())
            case list() as items:
                todo.extend(items)
    return None


class VllmConfig(Settings):
    """Servers that synthkd starts from one model, asks, and stops."""

    model: Annotated[str, StringConstraints(min_length=1)]
    """A folder with config.json, tokenizer and weights as safetensors, or a Hugging Face id."""
    revision: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Of a Hugging Face id: a commit, tag or branch; by default what the local cache has."""
    servers: Annotated[int, Field(ge=1, le=64)] = 1
    """The least loaded one is asked; the GPUs are shared among them."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that one server spreads the model over."""
    lora: dict[Name, str] = {}
    """Adapters by name, each a folder; a teacher's `model` says which one answers."""
    args: Annotated[list[str], BeforeValidator(_words), AfterValidator(_taken)] = []
    """Further arguments of `vllm serve`."""
    start_timeout_s: PositiveFloat = 600.0
    """Seconds until a server must answer: loading a large model takes minutes."""
