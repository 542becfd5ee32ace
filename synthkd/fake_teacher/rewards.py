"""Scores of a reward model at /classify, as vLLM gives them: one number a conversation or text.

The voice's `answer`, if it has one, says the number; else the words decide it, from -4 to 4.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import orjson

from synthkd.fake_teacher.chat import Voice, messages_of
from synthkd.fake_teacher.embeddings import texts_of
from synthkd.fake_teacher.faults import Refusal

MOST = 4.0
"""Rewards that nobody decides are from minus this to this."""


def reward_reply(
    body: Mapping[str, Any],
    digest: bytes,
    voice: Voice,
    fault: str | None = None,
    cached_tokens: int = 0,
) -> dict[str, Any]:
    """The whole reply, one number for each text, or one for the messages.

    As a server does, it puts rewards through the logistic function unless `use_activation` is
    false.

    Raises:
        Refusal: 400, the body is no request for scores.
    """
    if "input" in body:
        texts = texts_of(body["input"])
        bodies: list[Mapping[str, Any]] = [{**body, "input": text} for text in texts]
    else:
        texts = [orjson.dumps(messages_of(body)).decode()]
        bodies = [body]
    plain = body.get("use_activation")
    if plain is not None and type(plain) is not bool:
        raise Refusal(400, f"'use_activation' must be true or false, got {plain!r:.100}")
    rewards = [_reward(text, each, voice) for text, each in zip(texts, bodies, strict=True)]
    tokens = sum(len(text.encode()) for text in texts)
    return {
        "id": f"classify-{digest.hex()[:12]}",
        "object": "list",
        "created": 0,
        "model": voice.served_model or f"{body['model']}-served",
        "data": [
            {
                "index": index,
                "label": "LABEL_0",
                "probs": [reward if plain is False else 0.5 + 0.5 * math.tanh(reward / 2)],
                "num_classes": 1,
            }
            for index, reward in enumerate(rewards)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }


def _reward(text: str, body: Mapping[str, Any], voice: Voice) -> float:
    if voice.answer is not None:
        return float(voice.answer(dict(body)))
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
    return MOST * (2 * share - 1)
