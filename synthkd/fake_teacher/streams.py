"""A whole reply as the events of a stream, as OpenAI and vLLM send them.

A token is an event; the choices of `n` take turns; the last event is [DONE].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from typing import Any

import orjson

from synthkd.fake_teacher.wording import tokens_of

HEAD = ("id", "created", "model", "system_fingerprint")
"""Parts of a reply that are in each of its events."""

DONE = b"data: [DONE]\n\n"


def events(reply: Mapping[str, Any], *, include_usage: bool) -> Iterator[bytes]:
    """The events of a reply of the chat or the completions API."""
    chat = reply["object"] == "chat.completion"
    head = {name: reply[name] for name in HEAD if name in reply}
    head["object"] = "chat.completion.chunk" if chat else reply["object"]
    if include_usage:
        head["usage"] = None
    turns = zip_longest(*map(_deltas if chat else _texts, reply["choices"]))
    for delta in chain.from_iterable(turns):
        if delta is not None:
            yield _event({**head, "choices": [delta]})
    if include_usage:
        yield _event({**head, "choices": [], "usage": reply["usage"]})
    yield DONE


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _deltas(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One choice of the chat API: its role, its reasoning, its words or its call, its end."""
    index, message = choice["index"], choice["message"]

    def delta(**said: Any) -> dict[str, Any]:
        return {"index": index, "delta": said, "finish_reason": None}

    yield delta(role="assistant", content="")
    for name in ("reasoning_content", "reasoning", "refusal"):
        for token in tokens_of(message.get(name) or ""):
            yield delta(**{name: token})
    logprobs = choice.get("logprobs", {}).get("content", ())
    for token, logprob in zip_longest(tokens_of(message["content"] or ""), logprobs):
        said = delta(content=token or "")
        yield {**said, "logprobs": {"content": [logprob]}} if logprob else said
    for place, call in enumerate(message.get("tool_calls", ())):
        first = {**call, "function": {**call["function"], "arguments": ""}}
        yield delta(tool_calls=[{"index": place, **first}])
        for token in tokens_of(call["function"]["arguments"]):
            yield delta(tool_calls=[{"index": place, "function": {"arguments": token}}])
    yield {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}


def _texts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One choice of the completions API: its words, its end."""
    for token in tokens_of(choice["text"]):
        yield {"index": choice["index"], "text": token, "finish_reason": None}
    yield {"index": choice["index"], "text": "", "finish_reason": choice["finish_reason"]}
