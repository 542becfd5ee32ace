"""What a causal model writes, greedily and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BATCH = 16
"""Prompts in a batch on a CPU; four times as many on a GPU."""


def generated(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int | None = None,
) -> list[str]:
    """What the model writes after each prompt, without its end token.

    Args:
        model: causal, with a language head.
        tokenizer: its own; it pads.
        prompts: token ids. One that leaves no room for an answer loses its beginning.
        max_new_tokens: the longest answer.
        batch_size: prompts at once; None = by device.
    """
    import torch

    size = batch_size or (BATCH if model.device.type == "cpu" else 4 * BATCH)
    context = getattr(model.config, "max_position_embeddings", None)
    room = max(1, context - max_new_tokens) if context else None
    texts = [""] * len(prompts)
    # Long prompts first, with their like: less padding, and memory runs out at once or not at all.
    by_length = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(by_length), size):
            places = by_length[start : start + size]
            batch = tokenizer.pad(
                {"input_ids": [list(prompts[p])[-room:] if room else prompts[p] for p in places]},
                padding_side="left",
                return_tensors="pt",
            ).to(model.device)
            with torch.inference_mode():
                wrote = model.generate(
                    **batch,
                    do_sample=False,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                    use_cache=True,
                    # What the base's own settings say of sampling is not for greedy search.
                    temperature=None,
                    top_p=None,
                    top_k=None,
                )
            answers = wrote[:, batch["input_ids"].shape[1] :]
            decoded = tokenizer.batch_decode(answers, skip_special_tokens=True)
            for place, text in zip(places, decoded, strict=True):
                texts[place] = text
    finally:
        model.train(was_training)
    return texts
