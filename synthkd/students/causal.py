"""What the kinds `sft` and `dpo` share: base, adapters, and the student that comes of it.

model.safetensors, config.json, tokenizer files    the whole model, adapters merged in
adapter/        the adapters alone, where there are any
preview.md      what was learnt and what masked, decoded
student.json, README.md
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from synthkd.config import DpoConfig, SftConfig
from synthkd.errors import UserError
from synthkd.rows import Row
from synthkd.students import chat, pretrained, targets
from synthkd.students.artefact import damaged, read_about
from synthkd.students.data import Message, Tokenised, in_short, written
from synthkd.students.generation import generated
from synthkd.students.lesson import Tell
from synthkd.students.machine import precision_of, quiet

ADAPTER, PREVIEW = "adapter", "preview.md"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers")
Config = SftConfig | DpoConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalStudent:
    """A trained causal model."""

    folder: Path
    fingerprint: str
    about: Mapping[str, Any]
    """The content of student.json."""
    config: Config
    model: Any
    """Of transformers, in evaluation mode."""
    tokenizer: Any

    def predict(self, texts: Sequence[str]) -> list[str | None]:
        """What it writes for each text, greedily; None = it never came to its cue."""
        return answers(self.model, self.tokenizer, self.config, texts, self.about.get("system"))


def answers(
    model: Any, tokenizer: Any, config: Config, texts: Sequence[str], system: str | None
) -> list[str | None]:
    """The answers to texts, as `CausalStudent.predict`; `system` stands before each."""
    questions = [targets.question(config, text) for text in texts]
    prompts = [written(tokenizer, asked(question, system), ask=True) for question in questions]
    wrote = generated(model, tokenizer, prompts, max_new_tokens=config.max_new_tokens)
    return [targets.answer_in(config, text) for text in wrote]


def asked(prompt: str, system: str | None) -> list[Message]:
    """The conversation up to where the student answers."""
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": prompt}]


def load(folder: Path) -> CausalStudent:
    """The student in a folder; no code that the folder may hold is run.

    Raises:
        UserError: there is no whole student, or it cannot be loaded here.
    """
    quiet()
    from transformers import AutoModelForCausalLM

    about = read_about(folder)
    try:
        config = TypeAdapter[Config](Config).validate_python(about["config"])
    except (ValueError, KeyError) as error:
        raise damaged(folder, error) from None
    # As saved: bf16 weights stay bf16 where there is a GPU, and a CPU is faster in fp32.
    model, tokenizer = pretrained.load_saved(AutoModelForCausalLM, folder, dtype=_dtype())
    return CausalStudent(
        folder=folder,
        fingerprint=about["fingerprint"],
        about=about,
        config=config,
        model=model,
        tokenizer=tokenizer,
    )


def _dtype() -> Any:
    import torch

    return "auto" if torch.cuda.is_available() else torch.float32


# --- the base


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What training begins with."""

    model: Any
    tokenizer: Any
    peft: Any
    """The settings of the adapters; None = all weights are trained."""


def load_base(config: Config, tell: Tell) -> Base:
    """Model and tokenizer to train.

    Args:
        config: with `base`.
        tell: told what was put in.

    Raises:
        UserError: it cannot be loaded, or does not fit the settings.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = chat.prepared(pretrained.load_tokenizer(config), config, tell)
    # Adapters are trained in fp32 beside a base that only needs to be read; fully trained weights
    # are kept in fp32, because in bf16 a step of 1e-5 is rounded away.
    half = config.lora is not None and precision_of(config) == "bf16"
    model = pretrained.load_model(
        AutoModelForCausalLM,
        config,
        dtype=torch.bfloat16 if half else torch.float32,
        **_quantized(config),
    )
    pretrained.check_context(config, model)
    if config.lora is None:
        return Base(model=model, tokenizer=tokenizer, peft=None)
    from peft import LoraConfig

    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.targets,
    )
    return Base(model=model, tokenizer=tokenizer, peft=lora)


@contextmanager
def adapters_fit(config: Config) -> Iterator[None]:
    """Around what puts the adapters in, to say by which setting they do not fit the base.

    Raises:
        UserError: no layer is called so, or one can have no adapter.
    """
    try:
        yield
    except (ValueError, re.error) as error:
        if config.lora is None:
            raise
        raise UserError(
            f"student.lora does not fit {config.base} (targets: {config.lora.targets}): {error}"
        ) from error


def _quantized(config: Config) -> dict[str, Any]:
    """QLoRA's 4-bit NF4 with double quantization, where it is asked for."""
    if config.lora is None or config.lora.quantize is None:
        return {}
    import torch

    if importlib.util.find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise UserError(
            "student.lora.quantize: 4-bit training needs a GPU and bitsandbytes (pip install"
            " bitsandbytes); leave `quantize` out to train adapters on the whole base"
        )
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    }


# --- what a person should see before hours of training


def common_system(config: Config, rows: Sequence[Row]) -> str | None:
    """The system message that all rows share, for asking; None = there is none in common."""
    found = {row.fields.get(config.system) for row in rows} if config.system else set()
    shared = found.pop() if len(found) == 1 else None
    return shared if isinstance(shared, str) else None


def say(learnt: Tokenised, base: Base, tell: Tell) -> None:
    """Figures, the first example, and what is odd about the template."""
    figures = learnt.figures()
    tell(
        f"{figures['examples']:,} examples, {figures['tokens']:,} tokens, of which"
        f" {figures['tokens_learnt']:,} are learnt; {figures['truncated']:,} truncated,"
        f" {figures['left_out']:,} left out because nothing of their answer fits"
    )
    tell(in_short(learnt, base.tokenizer))
    if learnt.split:
        tell(
            "the chat template writes a prompt that waits for its answer otherwise than before one:"
            " what differs is learnt as part of the answer (see preview.md)"
        )
    ends = {base.tokenizer.eos_token_id, *_listed(base.model.generation_config.eos_token_id)}
    if not any(label in ends for tokens in learnt.kept[:100] for label in tokens.labels):
        tell("no end token is learnt: asked, the student will write on up to max_new_tokens")


def _listed(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


# --- what is kept


def save(learning: Any, base: Base, config: Config, folder: Path) -> None:
    """The whole model with adapters merged in, the adapters alone, and the tokenizer."""
    import torch

    model = learning.accelerator.unwrap_model(learning.model)
    if base.peft is not None:
        model.save_pretrained(folder / ADAPTER)
        model = _merged(model, config, folder / ADAPTER)
    if precision_of(config) == "bf16":
        model = model.to(torch.bfloat16)
    model.config.use_cache = True
    model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)


def _merged(model: Any, config: Config, adapter: Path) -> Any:
    """The base with the adapters added in; a 4-bit base cannot take them and is read anew."""
    if config.lora is None or config.lora.quantize is None:
        return model.merge_and_unload()
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole = pretrained.load_model(AutoModelForCausalLM, config, dtype=torch.bfloat16)
    return PeftModel.from_pretrained(whole, adapter).merge_and_unload()
