"""Makes a tiny Llama: random weights, a tokenizer, a chat template. Nothing is downloaded.

    python tests/vllm/tiny_model.py FOLDER [SEED]

It has learnt nothing, but it behaves: it writes printable ASCII, and after some twenty tokens it
stops by itself (`END_EVERY`). One place of its hidden state is the same for every token; through it
each token has a bias. The same seed makes the same files.

It needs numpy, tokenizers and safetensors, as they are in an environment with vLLM.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAYERS = 2
HIDDEN = 64
HEADS = 2
"""Of 32 places each: vLLM has no attention for 16 on a CPU, and says so only when first asked."""
INNER = 128
LONGEST = 2048
"""Tokens of prompt and answer."""
VOCABULARY = 512
"""At most: the tokenizer learns as many as its text has."""
SPECIAL = ("<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>")
END = SPECIAL.index("</s>")

CONSTANT = 4.0
"""What stands in the first place of every embedding, and stays there through all layers."""
SPREAD = 2.0
"""Standard deviation of the logits, roughly."""
END_EVERY = 30
"""Tokens, roughly; measured it is some twenty, because logits differ more than `SPREAD` says."""
NEVER = -30.0
"""The bias of tokens that are not to be written."""

TEXT = """
the a an of to in is was for on that with as are be this from it at by or not have has your you we
order parcel number where when what which how refund money card address account please thank hello
delivery late broken wrong size colour question answer label reason confidence message because so
yes no good bad positive negative one two three four five six seven eight nine ten 0 1 2 3 4 5 6 7 8
9 10 100 2024 2025 { } [ ] " : , . ? ! - the teacher asks the student and the student answers
"""
"""The tokenizer learns its words from this."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make(folder: Path, seed: int = 0) -> None:
    """Write the model into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _tokenizer(folder)
    _weights(folder, vocabulary, seed)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": LONGEST,
        "tie_word_embeddings": False,
        "vocab_size": len(vocabulary),
        "bos_token_id": SPECIAL.index("<s>"),
        "eos_token_id": END,
        "pad_token_id": SPECIAL.index("<pad>"),
        "dtype": "float32",
    }
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"eos_token_id": END})


def _tokenizer(folder: Path) -> Mapping[str, int]:
    """A byte-level tokenizer; what it knows, with its numbers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT.replace("\n", " ")] * 2, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": LONGEST,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    _write(folder / "tokenizer_config.json", settings)
    return dict(tokenizer.get_vocab())


def _weights(folder: Path, vocabulary: Mapping[str, int], seed: int) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    chance = np.random.default_rng(seed)

    def random(rows: int, columns: int, scale: float = 1.0) -> Any:  # (rows, columns) float32
        values = chance.standard_normal((rows, columns)) * scale / math.sqrt(columns)
        return values.astype(np.float32)

    def writes(columns: int) -> Any:  # (HIDDEN, columns) float32: adds to the hidden state
        values = random(HIDDEN, columns)
        values[0] = 0.0
        return values

    embedding = random(len(vocabulary), HIDDEN, math.sqrt(HIDDEN))
    embedding[:, 0] = CONSTANT
    head = random(len(vocabulary), HIDDEN, SPREAD)
    # The last norm divides by the size of the hidden state, some sqrt(2 + CONSTANT**2 / HIDDEN).
    head[:, 0] = _biases(vocabulary) / (CONSTANT / math.sqrt(2 + CONSTANT**2 / HIDDEN))
    head[END, 1:] = 0.0
    tensors = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": np.ones(HIDDEN, dtype=np.float32),
        "lm_head.weight": head,
    }
    for layer in range(LAYERS):
        ones = np.ones(HIDDEN, dtype=np.float32)
        parts = {
            "input_layernorm": ones,
            "self_attn.q_proj": random(HIDDEN, HIDDEN),
            "self_attn.k_proj": random(HIDDEN, HIDDEN),
            "self_attn.v_proj": random(HIDDEN, HIDDEN),
            "self_attn.o_proj": writes(HIDDEN),
            "post_attention_layernorm": ones.copy(),
            "mlp.gate_proj": random(INNER, HIDDEN),
            "mlp.up_proj": random(INNER, HIDDEN),
            "mlp.down_proj": writes(INNER),
        }
        for name, tensor in parts.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = tensor
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})


def _biases(vocabulary: Mapping[str, int]) -> Any:
    """What each token's logit is moved by: (tokens,) float64."""
    import numpy as np

    biases = np.full(len(vocabulary), NEVER)
    # In the spelling of byte-level tokenizers a space is U+0120; other bytes beyond ASCII have
    # letters of their own beyond it.
    words = [number for token, number in vocabulary.items() if _is_plain(token)]
    biases[words] = 0.0
    # The mean of exp(logit) is exp(SPREAD**2 / 2).
    biases[END] = math.log(len(words) / (END_EVERY - 1)) + SPREAD**2 / 2
    return biases


def _is_plain(token: str) -> bool:
    if token in SPECIAL:
        return False
    return all(" " < letter <= "~" for letter in token.replace("\u0120", "_"))


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
