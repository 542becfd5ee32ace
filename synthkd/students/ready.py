"""Whether a student can be trained here at all: looked at before anything is spent."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from synthkd.config import (
    DpoConfig,
    HostedConfig,
    LoraConfig,
    NetworkConfig,
    PipelineConfig,
    SftConfig,
    StudentConfig,
)
from synthkd.errors import UserError
from synthkd.students.chat import template_of
from synthkd.teachers.endpoint import base_url, key_from
from synthkd.teachers.vllm.model import model_named

TRAIN = ("torch", "transformers", "trl", "peft", "accelerate")
"""What the extra `train` brings."""


def ready(config: StudentConfig, base: Path, *, offline: bool) -> StudentConfig:
    """The settings with the model to begin with found.

    Args:
        config: the `student` block.
        base: the pipeline file's folder, where relative paths are looked up too.
        offline: ask no hub.

    Raises:
        UserError: a package, the base model or a key is missing.
    """
    if isinstance(config, HostedConfig):
        base_url("student", config.endpoint)
        if not offline:
            key_from(config.api_key_env, "student")
        return config
    if not isinstance(config, NetworkConfig):
        return config
    _check_packages(config)
    if isinstance(config, SftConfig | DpoConfig):
        config = _with_template(config, base)
    if config.base is None:
        return config
    model = model_named(
        "student.base",
        config.base,
        config.revision,
        base,
        offline=offline,
        allow_pickle=config.allow_pickle,
    )
    return config.model_copy(update={"base": model.place, "revision": model.revision})


def check_cost(config: StudentConfig, pipeline: PipelineConfig) -> None:
    """Refuse a student whose provider could charge anything, where `budget.usd` is set.

    Raises:
        UserError: a price or the number of epochs is unknown.
    """
    if pipeline.budget.usd is None or not isinstance(config, HostedConfig):
        return
    needed: dict[str, tuple[object, str]] = {
        "usd_per_million_tokens": (config.usd_per_million_tokens, "what training costs"),
        "epochs": (config.epochs, "how often the provider goes over the rows, each time paid"),
    }
    if pipeline.evaluate is not None:
        needed["price"] = (config.price, "what asking the student costs")
    for name, (value, meaning) in needed.items():
        if value is None:
            raise UserError(
                f"budget.usd is set, but student.{name} is not: {meaning} is unknown, so nothing"
                " could hold it within the budget"
            )


def _with_template(config: SftConfig | DpoConfig, base: Path) -> SftConfig | DpoConfig:
    """Its chat template found, beside the pipeline file too."""
    named = config.chat_template
    if named is not None and (base / named).is_file():
        config = config.model_copy(update={"chat_template": str(base / named)})
    template_of(config)
    return config


def _check_packages(config: NetworkConfig) -> None:
    missing = [name for name in TRAIN if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"student: a neural network needs {', '.join(missing)}: pip install 'synthkd[train]',"
            " or choose `kind: linear`"
        )
    lora: LoraConfig | None = getattr(config, "lora", None)
    if lora is not None and lora.quantize and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "student.lora.quantize: 4bit needs bitsandbytes and a GPU: pip install bitsandbytes,"
            " or leave `quantize` out"
        )
