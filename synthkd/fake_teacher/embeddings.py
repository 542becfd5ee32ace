"""Embeddings: unit vectors that the text alone decides; texts that share words lie near each other.

A vector is the sum of one direction for each word and a smaller one for the whole text.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

from synthkd.fake_teacher.chat import Voice
from synthkd.fake_teacher.faults import Refusal

DIMENSIONS = 16
"""Of a vector, unless the body asks for more or fewer."""

MOST_DIMENSIONS = 4096
MOST_INPUTS = 2048


def embedding_reply(
    body: Mapping[str, Any],
    digest: bytes,
    voice: Voice,
    fault: str | None = None,
    cached_tokens: int = 0,
) -> dict[str, Any]:
    """The whole reply, one vector for each input, in their order.

    Raises:
        Refusal: 400, the body is no embeddings request.
    """
    texts = texts_of(body.get("input"))
    dimensions = body.get("dimensions") or DIMENSIONS
    if type(dimensions) is not int or not 1 <= dimensions <= MOST_DIMENSIONS:
        raise Refusal(400, f"'dimensions' must be within 1 and 4096, got {dimensions!r}")
    packed = body.get("encoding_format") == "base64"
    vectors = [unit_vector(text, dimensions) for text in texts]
    tokens = sum(len(text.encode()) for text in texts)
    return {
        "object": "list",
        "model": voice.served_model or f"{body['model']}-served",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector) if packed else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def unit_vector(text: str, dimensions: int) -> list[float]:
    """The text's vector, of length 1."""
    total = [0.25 * x for x in _direction(f"whole {text}", dimensions)]
    for word in text.lower().split():
        for axis, x in enumerate(_direction(word, dimensions)):
            total[axis] += x
    length = math.hypot(*total)
    return [x / length for x in total]


def _direction(word: str, dimensions: int) -> list[float]:
    # No byte is 127.5: a direction is never nothing.
    return [byte - 127.5 for byte in hashlib.shake_256(word.encode()).digest(dimensions)]


def _packed(vector: list[float]) -> str:
    """Little-endian float32 in base64, which the openai SDK asks for by itself."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def texts_of(given: object) -> list[str]:
    """The texts of `input`; one that came as token numbers is shown by them.

    Raises:
        Refusal: 400, it is neither.
    """
    if isinstance(given, str) or (given and isinstance(given, list) and type(given[0]) is int):
        given = [given]
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_INPUTS:
        raise Refusal(400, f"'input' must be text or a list of 1 to 2048 texts, got {given!r:.100}")
    texts = [" ".join(map(str, each)) if isinstance(each, list) else each for each in given]
    for text in texts:
        if not isinstance(text, str) or not text:
            raise Refusal(400, f"'input' must not hold an empty text, got {text!r:.100}")
    return texts
