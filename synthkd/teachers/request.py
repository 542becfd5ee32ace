"""One Request, one Completion, and the protocols of who can answer.

A `Request` is one sample of one question. Its key says what was asked of whom:

    key = SHA-256 of canonical JSON {v, api, served_by, body, sample}

`body` is what goes over the wire, without `max_tokens` (an answer that ended by itself within the
asked length is the same answer) and without the parts that are transport (`n`, `stream`).
Prompt name and inputs ride along unsent; they enter the key only for teachers that answer from
them (recorded, simulated). Images ride along too: in `body`, and so in the key, stands the hash of
their bytes (`synthkd.teachers.parts`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from synthkd.rows import Fields, Json, canonical

KEY_VERSION = 1

Api = Literal["chat", "completions", "embeddings", "classify"]


class Request(NamedTuple):
    """One sample of one question.

    A named tuple, like all that is made anew for each answer: a frozen dataclass takes three times
    as long to make.
    """

    body: Fields
    """What is asked: model, messages and sampling parameters, without `max_tokens`."""
    inputs: Fields
    """Exactly the inputs that the prompt's front matter declares, so never gold."""
    api: Api = "chat"
    max_tokens: int | None = None
    """The longest answer, in tokens; None leaves it to the provider."""
    sample: int = 0
    """Which of several independent answers to the same body; `seed` goes out as seed + sample."""
    prompt: str = ""
    """The prompt's name."""
    rank: int = 0
    """Place of the asking step in the pipeline: later steps get the free slot first."""
    images: Mapping[str, str] | None = None
    """`sha256:HEX`, as it stands in `body`, -> the data: URL that goes out in its place; None = no
    images."""


class Usage(NamedTuple):
    """Tokens as the provider counted them; None = it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    """Of the prompt tokens, those that the provider had cached."""
    reasoning_tokens: int | None = None
    """Of the completion tokens, those of reasoning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model wants made. Nothing here makes it."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: JSON, if it did well."""

    @property
    def parsed(self) -> Json:
        """The arguments as JSON values; None = they are no JSON."""
        try:
            parsed: Json = orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return None
        return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """What an answer says in JSON, where a schema was asked for."""

    value: Json = None
    faults: tuple[str, ...] = ()
    """Where it departs from the schema, also after the repair; empty = `value` fits."""
    mends: str = ""
    """The key of the faulty answer that this one was to mend; empty = there was no repair."""


class Logprob(NamedTuple):
    """How likely a token was to the model."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens at this place and their log-probabilities, where they were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a provider says about one allowance, in requests or in tokens."""

    remaining: float
    limit: float | None = None
    reset_s: float | None = None
    """Seconds until it is whole again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What a provider says is left of its allowances; None = it says nothing."""

    requests: Stated | None = None
    tokens: Stated | None = None


class Completion(NamedTuple):
    """One answer."""

    text: str
    finish: str
    """`stop`, `length` (cut at max_tokens), `content_filter`, `tool_calls`, ... as sent;
    `repetition` = it went round in circles and was broken off."""
    usage: Usage
    reply: bytes
    """The body as it came over the wire: what the ledger keeps."""
    reasoning: str | None = None
    """`reasoning_content` / `reasoning`, where the server gives it."""
    refusal: str | None = None
    """Why the model declined, where the server says so in a field of its own."""
    tool_calls: tuple[ToolCall, ...] = ()
    other_parts: tuple[str, ...] = ()
    """Types of the parts that are no text, such as `image_url`; they are in `reply` alone."""
    served_model: str | None = None
    """The model that answered, by the server's own name for it."""
    fingerprint: str | None = None
    """`system_fingerprint`: the state of the server that answered."""
    key: str = ""
    """The ledger's key; filled in by the Cached layer."""
    hit: bool = False
    """Whether it came from the ledger instead of being bought now."""
    rate_limits: RateLimits | None = None
    """What the reply's headers said; None where they said nothing."""
    shaped: Shaped | None = None
    """Filled in where a schema was asked for (`synthkd.teachers.structured`)."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The ledger entries that this answer is made of: its own, after the one it mends."""
        if self.shaped is None or not self.shaped.mends:
            return (self.key,)
        return (self.shaped.mends, self.key)

    @property
    def logprobs(self) -> tuple[Logprob, ...]:
        """Each token's log-probability, read anew at each use.

        Empty where none were asked for, and where what the server says is of no known shape.
        """
        if b'"logprobs"' not in self.reply:
            return ()
        # Not orjson: some servers send half a surrogate pair as a token.
        told = json.loads(self.reply)["choices"][0].get("logprobs")
        try:
            return _logprobs(told) if isinstance(told, dict) else ()
        except (AttributeError, KeyError, TypeError, ValueError):
            return ()

    @property
    def prompt_logprobs(self) -> tuple[Logprob | None, ...]:
        """Each prompt token's log-probability, where vLLM was asked for `prompt_logprobs`.

        None = nothing stands before it, as for the first. Read anew at each use.
        """
        if b'"prompt_logprobs"' not in self.reply:
            return ()
        body = json.loads(self.reply)
        # A chat reply says it beside the choices, one to raw text inside of the choice.
        told = body.get("prompt_logprobs") or body["choices"][0].get("prompt_logprobs")
        return tuple(_place(one) for one in told or ())


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


def _logprobs(told: dict[str, Any]) -> tuple[Logprob, ...]:
    """Of a chat reply, or of the older shape of raw completions."""
    if isinstance(content := told.get("content"), list):
        return tuple(
            Logprob(
                one["token"],
                float(one["logprob"]),
                tuple(
                    (top["token"], float(top["logprob"])) for top in one.get("top_logprobs") or ()
                ),
            )
            for one in content
        )
    tokens, values = told.get("tokens") or (), told.get("token_logprobs") or ()
    tops = told.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        Logprob(token, value, tuple((top or {}).items()))
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _place(told: dict[str, dict[str, Any]] | None) -> Logprob | None:
    """One place of a prompt, as vLLM tells it: by the token's number, the prompt's own first."""
    if told is None:
        return None
    tokens = [(one["decoded_token"] or "", float(one["logprob"])) for one in told.values()]
    return Logprob(*tokens[0], tuple(tokens))


def key_of(request: Request, identity: Identity) -> str:
    """64 hex digits that stand for what was asked of whom."""
    return hashlib.sha256(asked_of(request, identity)).hexdigest()


def asked_of(request: Request, identity: Identity) -> bytes:
    """What was asked of whom, as canonical JSON: the key is its SHA-256."""
    asked: dict[str, Json] = {
        "v": KEY_VERSION,
        "api": request.api,
        "served_by": identity.served_by,
        "body": request.body,
        "sample": request.sample,
    }
    if identity.reads_inputs:
        asked |= {"prompt": request.prompt, "inputs": request.inputs}
    return canonical(asked)
