"""One answer, token by token: a word with the space before it is a token."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

_TOKEN = re.compile(r"\s*\S+")

LOOP = " over and over"
"""What a repetition loop repeats."""

LOOP_TOKENS = 4096
"""Tokens of a loop that no max_tokens ends: about what a provider allows by default."""

THOUGHT = "let me think about this once more"
"""What reasoning is made of, with a number behind each: else clients would take it for a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one choice says, as tokens."""

    tokens: Sequence[str]
    reasoning: Sequence[str] = ()
    finish: str = "stop"

    @property
    def text(self) -> str:
        """The tokens as text."""
        return "".join(self.tokens)

    @property
    def billed(self) -> int:
        """Tokens that the provider charges for."""
        return len(self.tokens) + len(self.reasoning)


def tokens_of(text: str) -> list[str]:
    """The tokens that make up the text."""
    tokens: list[str] = _TOKEN.findall(text)
    if text[-1:].isspace():
        tokens.append(text[len(text.rstrip()) :])
    return tokens


def speak(
    text: str, *, limit: int | None, stop: Sequence[str], thoughts: int = 0, fault: str | None
) -> Said:
    """Say the text within the limits of the request.

    Args:
        text: the whole answer.
        limit: tokens, reasoning included; None = no limit.
        stop: the answer ends before the first of these.
        thoughts: tokens of reasoning before the answer.
        fault: `length`, `loop` and `content_filter` are carried out here.
    """
    for end in stop:
        text = text.partition(end)[0]
    tokens = tokens_of(text)
    if fault == "loop":
        missing = max(0, (limit or LOOP_TOKENS) - thoughts - len(tokens))
        phrase = tokens_of(LOOP)
        tokens += (phrase * (missing // len(phrase) + 1))[:missing]
        limit = len(tokens) + thoughts
    said = Said(tokens=tokens, reasoning=_reasoning(thoughts))
    if fault == "length":
        limit = min(limit or said.billed, thoughts + len(tokens) // 2)
    if limit is not None and (said.billed > limit or fault in {"length", "loop"}):
        said = Said(
            tokens=tokens[: max(0, limit - thoughts)],
            reasoning=said.reasoning[:limit],
            finish="length",
        )
    if fault == "content_filter":
        said = replace(said, tokens=tokens[: len(tokens) // 2], finish="content_filter")
    return said


def _reasoning(thoughts: int) -> list[str]:
    phrase = tokens_of(f" {THOUGHT}")
    rounds = -(-thoughts // (len(phrase) + 1))
    return [token for n in range(rounds) for token in (*phrase, f" {n + 1},")][:thoughts]


def logprobs_of(tokens: Sequence[str], alternatives: int) -> list[dict[str, Any]]:
    """Log-probabilities that the token and its place decide, in the chat API's shape.

    The token itself is the likeliest; those named beside it add up to less than 1 with it.
    """
    return [_logprob(token, place, alternatives) for place, token in enumerate(tokens)]


def _logprob(token: str, place: int, alternatives: int) -> dict[str, Any]:
    from math import log

    share = 0.5 + 0.4 * zlib.crc32(f"{place} {token}".encode()) / 2**32
    named = [(token, share)]
    named += [(f"{token}~{k}", (1 - share) / 2**k) for k in range(1, alternatives)]
    top = [{"token": t, "logprob": log(p), "bytes": list(t.encode())} for t, p in named]
    return {**top[0], "top_logprobs": top[:alternatives]}
