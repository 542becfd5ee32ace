"""The model that a network begins with: from a folder or the hub, never from a pickle unasked.

    model = load_model(AutoModelForCausalLM, config)
    tokenizer = load_tokenizer(config)

A folder is read without the network. Code that a model brings along runs only with
`trust_remote_code: true`, and weights that are pickles are loaded only with `allow_pickle: true`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.config import NetworkConfig
from synthkd.errors import UserError
from synthkd.rows import Json
from synthkd.students.artefact import damaged

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
READ = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", *PICKLES)
"""What of a folder decides what is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a training begins with."""

    base: str
    """A folder, or a name on the hub."""
    identity: Json
    """Tells it from another."""
    license: str


def begun_with(config: NetworkConfig, texts: Sequence[str], scratch: Path) -> Begun:
    """The base that the settings name, or a new one.

    Args:
        config: the student's.
        texts: of a new one: all that the student will read or write.
        scratch: the folder of a new one.
    """
    if config.scratch is None:
        assert config.base is not None  # noqa: S101  the settings have one or the other
        return Begun(base=config.base, identity=identity(config), license=license_of(config))
    from synthkd.students.scratch import make

    made = make(config, texts, scratch)
    return Begun(base=str(made.folder), identity=made.identity, license="none: it is new")


def is_folder(config: NetworkConfig) -> bool:
    """Whether the base is a folder here rather than a name on the hub."""
    assert config.base is not None  # noqa: S101  asked only where there is a base
    path = Path(config.base)
    if not path.is_dir() and (path.is_absolute() or config.base.startswith((".", "~"))):
        raise UserError(f"student.base: there is no folder {config.base}")
    return path.is_dir()


def load_model(auto: Any, config: NetworkConfig, *, new_head: bool = False, **more: Any) -> Any:
    """The base as a model of class `auto`: see `whole`.

    Raises:
        UserError: there is none, it is not whole, its weights are pickles, or it wants to run code.
    """
    with _said(config):
        safe = None if config.allow_pickle else True
        settings = {"use_safetensors": safe, **_from(config), **more}
        return whole(auto, str(config.base), new_head=new_head, **settings)


def whole(auto: Any, place: str | Path, *, new_head: bool = False, **more: Any) -> Any:
    """A model all of whose weights are in its files: transformers makes up those that are not.

    Args:
        auto: the class, such as `AutoModelForCausalLM`.
        place: a folder, or a name on the hub.
        new_head: whether what lies on top of the base may be made up.
        more: settings of `from_pretrained`.

    Raises:
        ValueError: weights are missing, of another shape than config.json says, or unreadable.
        OSError, KeyError: as `from_pretrained`.
    """
    from safetensors import SafetensorError

    try:
        model, found = auto.from_pretrained(
            place, output_loading_info=True, ignore_mismatched_sizes=True, **more
        )
    except SafetensorError as error:
        raise ValueError(f"its weights cannot be read ({error})") from error
    lacking = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    if new_head:
        below = f"{model.base_model_prefix}."
        lacking = {name for name in lacking if name.startswith(below) and ".pooler." not in name}
    if lacking:
        raise ValueError(
            f"{len(lacking)} of the weights that its config.json asks for are missing or have"
            f" another shape, such as {min(lacking)}: it is not whole"
        )
    return model


def check_context(config: NetworkConfig, model: Any, most: float = math.inf) -> None:
    """Whether the base reads as many tokens as the settings give it.

    Args:
        config: the student's.
        model: the base.
        most: tokens that its tokenizer is made for.

    Raises:
        UserError: it does not.
    """
    context = min(most, context_of(model) or math.inf)
    if config.max_length > context:
        raise UserError(
            f"student.max_length {config.max_length} is more than the {context} tokens that"
            f" {config.base} can read: lower it"
        )


def context_of(model: Any) -> int | None:
    """Tokens that a model can read, or an encoder-decoder write; None = it has no limit."""
    context: int | None = getattr(model.config, "max_position_embeddings", None)
    return context


def load_tokenizer(config: NetworkConfig) -> Any:
    """The tokenizer of the base.

    Raises:
        UserError: there is none, or it wants to run code.
    """
    from transformers import AutoTokenizer

    with _said(config):
        return AutoTokenizer.from_pretrained(config.base, **_from(config))


def load_saved(auto: Any, folder: Path, *, dtype: Any = None) -> tuple[Any, Any]:
    """Model and tokenizer of a trained student, ready to be asked; in fp32 unless `dtype` is given.

    Raises:
        UserError: they are not whole, or would run code: neither pickles nor code are loaded.
    """
    import torch
    from transformers import AutoTokenizer

    try:
        model = whole(
            auto, folder, local_files_only=True, use_safetensors=True, dtype=dtype or torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise damaged(folder, str(error).strip().partition("\n")[0]) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def identity(config: NetworkConfig) -> Json:
    """What tells this base from another: SHA-256 of its files, or the commit on the hub."""
    if is_folder(config):
        folder, hashed = Path(str(config.base)), hashlib.sha256()
        for file in sorted({file for pattern in READ for file in folder.glob(pattern)}):
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256")
            hashed.update(file.name.encode() + digest.digest())
        return hashed.hexdigest()
    from transformers import AutoConfig

    with _said(config):
        loaded = AutoConfig.from_pretrained(config.base, **_from(config))
    return [config.base, getattr(loaded, "_commit_hash", None) or config.revision]


def license_of(config: NetworkConfig) -> str:
    """The licence that the base's card names, for the card of the student."""
    if not is_folder(config):
        return f"see the card of {config.base} on the hub"
    try:
        card = (Path(str(config.base)) / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "the base has no card that names one"
    for line in card.splitlines()[:40]:
        if line.startswith("license:"):
            return line.removeprefix("license:").strip()
    return "the base's card names none"


def _from(config: NetworkConfig) -> dict[str, Any]:
    here = is_folder(config)
    return {
        "revision": None if here else config.revision,
        "local_files_only": here,
        "trust_remote_code": config.trust_remote_code,
    }


@contextmanager
def _said(config: NetworkConfig) -> Iterator[None]:
    """What transformers says in a page, in a line."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise UserError(_why(config, error)) from error


def _why(config: NetworkConfig, error: Exception) -> str:
    base, said = config.base, str(error)
    if "trust_remote_code" in said:
        return (
            f"student.base: {base} brings code of its own, which is not run; choose another base,"
            " or read that code and set student.trust_remote_code: true"
        )
    folder = Path(str(base))
    pickles = [file.name for pattern in PICKLES for file in folder.glob(pattern)]
    if pickles and not config.allow_pickle and not list(folder.glob("*.safetensors")):
        return (
            f"student.base: the weights of {base} are pickles ({', '.join(pickles)}), and a pickle"
            " can run code; convert them to safetensors, or set student.allow_pickle: true"
        )
    first = said.strip().splitlines()[0] if said.strip() else repr(error)
    return f"student.base: {base} cannot be loaded: {first}"
