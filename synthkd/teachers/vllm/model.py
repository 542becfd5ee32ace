"""A model that a setting names, looked at before anything starts: a folder, or a Hugging Face id.

Weights are safetensors. Pickles run code when they are read, so a folder that has nothing else is
refused, and vLLM is started with `--load-format safetensors`.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from synthkd.config import VllmConfig
from synthkd.errors import SourceError, UserError
from synthkd.io.paths import expanded, places

PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl"}
LARGEST_HEADER = 100 * 2**20
"""Bytes: the format's own limit."""
LFS = b"version https://git-lfs"
HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
COMMIT = re.compile("[0-9a-f]{40}")
HUB_ANSWERS_S = 10.0
"""How long the hub may take to say which commit a name means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What vLLM is given."""

    name: str
    """For people, and in vLLM's replies."""
    place: str
    """The folder's full path, or the id."""
    folder: Path | None
    """None = a Hugging Face id."""
    revision: str | None = None
    """The commit of an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter beside the model."""

    name: str
    folder: Path
    rank: int


def find_model(name: str, config: VllmConfig, base: Path, *, offline: bool) -> Model:
    """The model of a teacher's block: see `model_named`."""
    setting = f"teachers.{name}.vllm.model"
    return model_named(setting, config.model, config.revision, base, offline=offline)


def model_named(
    setting: str,
    written: str,
    revision: str | None,
    base: Path,
    *,
    offline: bool,
    allow_pickle: bool = False,
) -> Model:
    """The model that a setting names, checked as far as that is quick.

    Args:
        setting: for messages.
        written: a folder, or a Hugging Face id.
        revision: of an id.
        base: the pipeline file's folder, where relative paths are looked up too.
        offline: ask no hub.
        allow_pickle: whether weights may be pickles.

    Raises:
        UserError: no such folder, no model in it, or an id that cannot be resolved.
    """
    folder = _folder(written, base)
    if folder is not None:
        if revision is not None:
            raise UserError(f"{setting} is a folder, so it has no `revision`: remove it")
        check_model(folder, setting, allow_pickle=allow_pickle)
        return Model(name=folder.name, place=str(folder), folder=folder)
    if not HUB_ID.fullmatch(written):
        tried = ", ".join(str(place) for place in _places(written, base))
        raise UserError(
            f"{setting}: {written} is no folder (looked for {tried}) and no Hugging Face id"
            " such as Qwen/Qwen3-8B"
        )
    commit = _resolved(written, revision or "main", offline)
    if commit is None:
        raise UserError(
            f"{setting}: {written} is neither a folder nor in the local Hugging Face cache,"
            " and the hub does not say which commit it is at now: set `revision` to a commit (40"
            " hex digits), or download the model first"
        )
    return Model(name=written, place=written, folder=None, revision=commit)


def find_adapters(name: str, config: VllmConfig, base: Path) -> list[Adapter]:
    """The adapters of a block, each checked.

    Raises:
        UserError: no such folder, or no adapter in it.
    """
    found = []
    for adapter, written in config.lora.items():
        setting = f"teachers.{name}.vllm.lora.{adapter}"
        folder = _folder(written, base)
        if folder is None:
            tried = ", ".join(str(place) for place in _places(written, base))
            raise UserError(f"{setting}: there is no folder {written}; looked for {tried}")
        found.append(Adapter(name=adapter, folder=folder, rank=_check_adapter(folder, setting)))
    return found


def weights_bytes(folder: Path) -> int:
    """Of all weights together."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _places(written: str, base: Path) -> list[Path]:
    return [place.expanduser() for place in places(os.path.expanduser(expanded(written)), base)]  # noqa: PTH111  before it is joined


def _folder(written: str, base: Path) -> Path | None:
    with suppress(OSError):  # a name that is too long for a folder
        return next((place for place in _places(written, base) if place.is_dir()), None)
    return None


def check_model(folder: Path, setting: str, *, allow_pickle: bool = False) -> None:
    """Find what would keep the model in a folder from loading, as far as that is quick.

    Raises:
        UserError: there is none, or it is damaged, or its weights are pickles and may not be.
    """
    config = _json(folder / "config.json", f"{setting}: {folder} is no model")
    if not config.get("architectures") and not config.get("model_type"):
        raise UserError(f"{setting}: {folder}/config.json names no architecture: it is no model's")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        if pickles and allow_pickle:
            return
        if pickles:
            raise UserError(
                f"{setting}: {folder} has its weights as pickles ({pickles[0]}), which run code"
                " when they are read: convert them to safetensors"
            )
        raise UserError(f"{setting}: {folder} has no weights (*.safetensors)")
    for file in weights:
        _check_safetensors(file, setting)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = _json(index, f"{setting}: {folder} is damaged").get("weight_map")
        if not isinstance(parts, dict):
            raise UserError(f"{setting}: {folder} is damaged: {index.name} has no weight_map")
        missing = sorted({str(part) for part in parts.values()} - {file.name for file in weights})
        if missing:
            raise UserError(f"{setting}: {folder} lacks {missing[0]:.100}: download it again")
    if not any(folder.glob("*token*")) and not any(folder.glob("*.model")):
        raise UserError(f"{setting}: {folder} has no tokenizer: put its files beside the weights")


def _check_adapter(folder: Path, setting: str) -> int:
    config = _json(folder / "adapter_config.json", f"{setting}: {folder} is no LoRA adapter")
    rank = config.get("r")
    if config.get("peft_type") != "LORA" or type(rank) is not int or rank < 1:
        raise UserError(f"{setting}: {folder}/adapter_config.json is not of a LoRA adapter")
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise UserError(
            f"{setting}: {folder} has no adapter_model.safetensors; pickles (.bin, .pt) run code"
            " when they are read: convert them to safetensors"
        )
    _check_safetensors(weights, setting)
    return rank


def _json(file: Path, complaint: str) -> dict[str, Any]:
    try:
        if file.exists() and not file.is_file():  # reading a pipe would wait for ever
            raise ValueError("it is no file")
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{complaint}: it has no {file.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{complaint}: {file.name} cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{complaint}: {file.name} is no JSON object")
    return value


def _check_safetensors(file: Path, setting: str) -> None:
    """Whether it is whole: the header says how long the file must be."""
    try:
        if file.exists() and not file.is_file():  # reading a pipe would wait for ever
            raise ValueError
        size = file.stat().st_size
        with file.open("rb") as opened:
            start = opened.read(8)
            if LFS.startswith(start) and len(start) == 8:
                raise UserError(
                    f"{setting}: {file} is a pointer of Git LFS, not the weights: `git lfs pull`"
                )
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size, LARGEST_HEADER):
                raise UserError(f"{setting}: {file} is no safetensors file: download it again")
            header = json.loads(opened.read(length))
            ends = [
                int(tensor["data_offsets"][1])
                for name, tensor in header.items()
                if name[:2] != "__"
            ]
    except OSError as error:
        raise SourceError(f"{setting}: {file} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise UserError(f"{setting}: {file} is no safetensors file: download it again") from None
    if 8 + length + max(ends, default=0) != size:
        raise UserError(f"{setting}: {file} is not whole: download it again")


def _resolved(repo: str, revision: str, offline: bool) -> str | None:
    """The commit that a revision means: in the local cache, or else at the hub; None = unknown."""
    if COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}", "refs", revision)
    if cached.is_file() and COMMIT.fullmatch(commit := cached.read_text(encoding="utf-8").strip()):
        return commit
    if offline or constants.HF_HUB_OFFLINE:
        return None
    return _at_the_hub(repo, revision)


@cache
def _at_the_hub(repo: str, revision: str) -> str | None:
    """Asked once: a branch that moves during a run must not change who answers."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi().model_info(repo, revision=revision, timeout=HUB_ANSWERS_S).sha
    except (HfHubHTTPError, OSError, ValueError):  # no such model, no network, a proxy's page
        return None
    return commit if commit is not None and COMMIT.fullmatch(commit) else None
