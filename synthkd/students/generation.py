"""What a causal model writes, greedily and in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from synthkd.students.writing import Ask, Writer

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
        tokenizer: its own.
        prompts: token ids. One that leaves no room for an answer loses its beginning, but keeps at
            least half of what the model can read.
        max_new_tokens: the longest answer; less where the model cannot read on so far.
        batch_size: prompts at once; None = by device.
    """
    size = batch_size or (BATCH if model.device.type == "cpu" else 4 * BATCH)
    writer = Writer(model, tokenizer)
    context = writer.context
    room = max(context - max_new_tokens, context // 2) if context else 0  # -0: all of it
    kept = [prompt[-room:] for prompt in prompts]
    longest = [min(max_new_tokens, (context or math.inf) - len(prompt)) for prompt in kept]
    asks = [Ask(tokens=p, max_tokens=int(n)) for p, n in zip(kept, longest, strict=True)]
    texts = [""] * len(prompts)
    # Long prompts first, with their like: less padding, and memory runs out at once or not at all.
    by_length = sorted(range(len(asks)), key=lambda place: -len(asks[place].tokens))
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(by_length), size):
            places = by_length[start : start + size]
            for place, one in zip(places, writer.write([asks[p] for p in places]), strict=True):
                texts[place] = one.text
    finally:
        model.train(was_training)
    return texts
