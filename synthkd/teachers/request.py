"""One Request, one Completion, and the protocols of who can answer.

A `Request` is one sample of one question. Its key says what was asked of whom:

    key = SHA-256 of canonical JSON {v, api, served_by, body, sample}

`body` is what goes over the wire, without `max_tokens` (an answer that ended by itself within the
asked length is the same answer) and without the parts that are transport (`n`, `stream`).
Prompt name and inputs ride along unsent; they enter the key only for teachers that answer from
them (recorded, simulated).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from synthkd.rows import Fields, Json, canonical

KEY_VERSION = 1

Api = Literal["chat", "completions", "embeddings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sample of one question."""

    api: Api = "chat"
    body: Fields
    """What is asked: model, messages and sampling parameters, without `max_tokens`."""
    max_tokens: int | None = None
    """The longest answer, in tokens; None leaves it to the provider."""
    sample: int = 0
    """Which of several independent answers to the same body; `seed` goes out as seed + sample."""
    prompt: str = ""
    """The prompt's name."""
    inputs: Fields
    """Exactly the inputs that the prompt's front matter declares, so never gold."""
    rank: int = 0
    """Place of the asking step in the pipeline: later steps get the free slot first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counted them; None = it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    """Of the prompt tokens, those that the provider had cached."""
    reasoning_tokens: int | None = None
    """Of the completion tokens, those of reasoning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer."""

    text: str
    finish: str
    """`stop`, `length` (cut at max_tokens), `content_filter`, `tool_calls`, ... as sent."""
    usage: Usage
    reply: bytes
    """The body as it came over the wire: what the ledger keeps."""
    reasoning: str | None = None
    """`reasoning_content` / `reasoning`, where the server gives it."""
    refusal: str | None = None
    """Why the model declined, where the server says so in a field of its own."""
    served_model: str | None = None
    key: str = ""
    """The ledger's key; filled in by the Cached layer."""
    hit: bool = False
    """Whether it came from the ledger instead of being bought now."""


class Teacher(Protocol):
    """Whoever answers: a layer, or the whole stack of them."""

    async def complete(self, request: Request) -> Completion:
        """Answer, or raise.

        Raises:
            TeacherError: no answer for this row.
            RunStopped: the run cannot go on: the budget is reached or the teacher is broken.
        """
        ...


class Embedder(Protocol):
    """Turns texts into vectors."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector of unit length for each text, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who answers, for the key. Not where, not with which API key."""

    served_by: str
    reads_inputs: bool = False
    """Whether it answers from prompt name and inputs (recorded, simulated)."""


def key_of(request: Request, identity: Identity) -> str:
    """64 hex digits that stand for what was asked of whom."""
    asked: dict[str, Json] = {
        "v": KEY_VERSION,
        "api": request.api,
        "served_by": identity.served_by,
        "body": request.body,
        "sample": request.sample,
    }
    if identity.reads_inputs:
        asked |= {"prompt": request.prompt, "inputs": request.inputs}
    return hashlib.sha256(canonical(asked)).hexdigest()
