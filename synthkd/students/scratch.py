"""A base made from nothing: a tokenizer learnt from texts, a model of random weights.

    base = make(config, texts, Path("work/scratch"))
    AutoModelForCausalLM.from_pretrained(base.folder)    # like any other

The folder is an ordinary one of Hugging Face (safetensors), so what trains needs to know nothing of
it. Llama for the kinds `sft` and `dpo`, T5 for `seq2seq`, ModernBERT for `encoder`. The same
settings, seed and texts give the same bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkd.config import NetworkConfig, ScratchConfig
from synthkd.rows import Json, canonical
from synthkd.students.artefact import versions

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FORMAT = 1
"""Raised when the same settings and texts would give other bytes."""
PACKAGES = ("tokenizers", "transformers", "torch")
PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
IDENTITY = "scratch.sha256"
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' -}}
{%- if message['role'] == 'assistant' -%}
{% generation %}{{- message['content'] + eos_token -}}{% endgeneration %}
{%- else -%}
{{- message['content'] + eos_token -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""
"""One token before and one after each message: a small model has no room for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A model to begin with."""

    folder: Path
    identity: str
    """SHA-256 over all that decides its bytes."""


def make(config: NetworkConfig, texts: Sequence[str], folder: Path) -> Base:
    """The model of `config.scratch`, unless the folder holds this very one.

    Several processes may make it in one folder at once: their bytes are the same, one's stay.

    Args:
        config: with `scratch`; its kind decides the architecture.
        texts: what the tokenizer is learnt from: all that the student will read or write.
        folder: where it is kept; another one that is there is replaced.
    """
    assert config.scratch is not None  # noqa: S101  the caller asks only where there is one
    base = Base(folder=folder, identity=identity(config, texts))
    if _holds(base):
        return base
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        beside = Path(temporary) / "new"
        _write(config, config.scratch, texts, beside)
        (beside / IDENTITY).write_text(base.identity, encoding="utf-8")
        if folder.exists() and not _holds(base):
            with suppress(FileNotFoundError):  # another process moved it away
                folder.rename(Path(temporary) / "old")
        try:
            beside.rename(folder)
        except OSError:
            if not _holds(base):
                raise
    return base


def identity(config: NetworkConfig, texts: Sequence[str]) -> str:
    """SHA-256 over settings, seed, texts and library versions; needs no library."""
    assert config.scratch is not None  # noqa: S101  as above
    made_of: dict[str, Json] = {
        "format": FORMAT,
        "architecture": _architecture(config),
        "scratch": config.scratch.model_dump(),
        "seed": config.seed,
        "max_length": config.max_length,
        "positions": _positions(config),
        "versions": versions(PACKAGES),
    }
    hashed = hashlib.sha256(canonical(made_of))
    for text in texts:
        hashed.update(canonical(text))
    return hashed.hexdigest()


def _holds(base: Base) -> bool:
    try:
        return (base.folder / IDENTITY).read_text(encoding="utf-8") == base.identity
    except OSError:
        return False


def _architecture(config: NetworkConfig) -> str:
    kind: str = config.kind  # type: ignore[attr-defined]  # of every kind of network
    return {"seq2seq": "t5-v1.1", "encoder": "modernbert"}.get(kind, "llama")


def _positions(config: NetworkConfig) -> int:
    """Tokens that the model is made for: what it reads, and what it is let write after it."""
    return config.max_length + int(getattr(config, "max_new_tokens", 0))


def _write(
    config: NetworkConfig, scratch: ScratchConfig, texts: Sequence[str], folder: Path
) -> None:
    import torch
    from transformers import PreTrainedTokenizerFast

    architecture = _architecture(config)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(scratch, architecture, texts),
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=config.max_length,
        # A chat template writes special tokens; elsewhere `</s>` in a text is a text.
        split_special_tokens=architecture != "llama",
        **({"cls_token": BEGIN, "sep_token": END} if architecture == "modernbert" else {}),
    )
    if architecture == "llama":
        tokenizer.chat_template = CHAT_TEMPLATE
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _model(scratch, architecture, len(tokenizer), _positions(config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(scratch: ScratchConfig, architecture: str, texts: Sequence[str]) -> Tokenizer:
    """Characters are those of the texts; bytes, and bpe over bytes, can spell every text."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer

    special = [PAD, UNKNOWN, BEGIN, END, *(ROLES if architecture == "llama" else ())]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if scratch.tokenizer == "characters":
        alphabet = sorted({character for text in texts for character in text})
    spelt = {token: place for place, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(BPE(vocab=spelt, merges=[], unk_token=UNKNOWN))
    if scratch.tokenizer == "characters":
        tokenizer.decoder = decoders.Fuse()
    else:
        words = scratch.tokenizer == "bpe"
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
        tokenizer.decoder = decoders.ByteLevel()
    if scratch.tokenizer == "bpe":
        trainer = BpeTrainer(
            vocab_size=scratch.vocabulary,
            special_tokens=special,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(special)
    around = {"t5-v1.1": f"$A {END}", "modernbert": f"{BEGIN} $A {END}"}.get(architecture)
    if around is not None:
        ids = [(token, tokenizer.token_to_id(token)) for token in (BEGIN, END)]
        tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=ids)
    return tokenizer


def _model(scratch: ScratchConfig, architecture: str, vocabulary: int, positions: int) -> Any:
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        ModernBertConfig,
        ModernBertModel,
        T5Config,
        T5ForConditionalGeneration,
    )

    size, layers, heads = scratch.hidden_size, scratch.layers, scratch.heads
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    # 8/3 of the size: the three matrices of a gated layer weigh as two of 4 times the size.
    wide = -(-8 * size // 3 // 8) * 8
    match architecture:
        case "t5-v1.1":
            # As T5 v1.1: gated, logits not scaled down, no dropout in training from nothing. With
            # the shape of 1.0 new weights learn far slower (docs/log.md, 2026-11-30).
            config = T5Config(
                vocab_size=vocabulary,
                d_model=size,
                d_kv=size // heads,
                d_ff=wide,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,  # here that only means: do not scale
                dropout_rate=0.0,
                num_layers=layers,
                num_heads=heads,
                decoder_start_token_id=ids["pad_token_id"],
                **ids,
            )
            return T5ForConditionalGeneration(config)
        case "modernbert":
            # A label is read off the mean of all tokens: off the first alone, as BERT does it, new
            # weights learn far slower (docs/log.md, 2026-11-30).
            return ModernBertModel(
                ModernBertConfig(
                    vocab_size=vocabulary,
                    hidden_size=size,
                    intermediate_size=wide,
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    max_position_embeddings=positions,
                    classifier_pooling="mean",
                    cls_token_id=ids["bos_token_id"],
                    sep_token_id=ids["eos_token_id"],
                    **ids,
                )
            )
        case _:
            return LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=vocabulary,
                    hidden_size=size,
                    intermediate_size=wide,
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    max_position_embeddings=positions,
                    tie_word_embeddings=True,
                    **ids,
                )
            )
