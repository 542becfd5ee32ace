"""The wire shapes of OpenAI-compatible APIs: a Request as a body, a body as a Completion.

    chat          messages in, one message out
    completions   raw text in, its continuation out; the model sees no template but the caller's
    embeddings    text in, a vector out (`synthkd.teachers.embeddings` reads it)
    classify      messages or text in, numbers out, such as the one of a reward model

Fresh replies, ledger hits and the recorded and simulated teachers all go through `parse_reply`, so
what is read from an answer cannot depend on where it came from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from synthkd.errors import AttemptFailed
from synthkd.rows import Json, clean
from synthkd.teachers.parts import put_back
from synthkd.teachers.request import Api, Completion, Request, ToolCall, Usage

PATH: Mapping[Api, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "classify": "/classify",
}
"""What comes after the base URL."""
AT_ROOT: frozenset[Api] = frozenset({"classify"})
"""vLLM has these beside the `/v1` that a base URL ends in, not below it."""

MISSING: Mapping[Api, str] = {
    "completions": "choices[0].text",
    "embeddings": "data[0].embedding",
    "classify": "data[0].probs",
}
"""What a reply without an answer lacks."""
NO_USAGE = Usage()


def path_of(base: str, api: Api) -> str:
    """Where an API is, under a base URL or its path, without a slash at the end."""
    return (base.removesuffix("/v1") if api in AT_ROOT else base) + PATH[api]


def wire_body(
    request: Request, *, length: str = "max_tokens", more: Mapping[str, Json] | None = None
) -> bytes:
    """What goes over the wire, in one spelling: JSON with sorted keys.

    Args:
        request: what is asked.
        length: how the provider names the longest answer.
        more: what belongs to the transport: `stream` and its options.
    """
    body: dict[str, Json] = dict(request.body)
    if request.max_tokens is not None:
        body[length] = request.max_tokens
    if request.sample and isinstance(seed := body.get("seed"), int):
        body["seed"] = seed + request.sample  # else every sample would be the same answer
    if request.images:
        body["messages"] = put_back(body.get("messages"), request.images)
    if more:
        body |= more
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def chat_reply(
    text: str,
    *,
    model: str,
    finish: str = "stop",
    usage: Usage,
) -> bytes:
    """A chat reply as a server would send it, for teachers that are no server."""
    message = {"role": "assistant", "content": text}
    return _own_reply("chat.completion", {"message": message}, model, finish, usage)


def raw_reply(text: str, *, model: str, finish: str = "stop", usage: Usage) -> bytes:
    """The same to raw text that was continued."""
    return _own_reply("text_completion", {"text": text}, model, finish, usage)


def _own_reply(kind: str, said: Mapping[str, Any], model: str, finish: str, usage: Usage) -> bytes:
    return orjson.dumps(
        {
            "object": kind,
            "model": model,
            "choices": [{"index": 0, **said, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
            },
        }
    )


def parse_reply(api: Api, reply: bytes, *, key: str = "", hit: bool = False) -> Completion:
    """Read a reply of status 200 to a request of that API.

    Raises:
        AttemptFailed: it is cut, no JSON, or no answer; perhaps billed all the same.
    """
    if api == "chat":
        return parse_chat(reply, key=key, hit=hit)
    body = read_json(reply)
    try:
        if api == "completions":
            return _continuation(body, reply, key, hit)
        if api == "classify":
            return _numbers(body, reply, key, hit)
        return _embedding(body, reply, key, hit)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise _no_answer(reply, MISSING[api]) from error


def parse_chat(reply: bytes, *, key: str = "", hit: bool = False) -> Completion:
    """Read a chat reply of status 200; one from the ledger comes with its key.

    Raises:
        AttemptFailed: it is cut, no JSON, or no answer; perhaps billed all the same.
    """
    # Every row of a replay comes through here: what most replies lack is looked at, not called for.
    try:
        body = orjson.loads(reply)
    except orjson.JSONDecodeError:
        body = read_json(reply)
    try:
        choice = body["choices"][0]
        message = choice["message"]
        get = message.get
        text, calls, refusal = get("content"), get("tool_calls"), get("refusal")
        reasoning = get("reasoning_content") or get("reasoning")
        finish, fingerprint = choice.get("finish_reason"), body.get("system_fingerprint")
        parts: tuple[str, ...] = ()
        if type(text) is not str:
            text, parts = _joined(text)
        return Completion(
            text=text,
            finish=finish if type(finish) is str else "",
            usage=_usage(body.get("usage")),
            reply=reply,
            reasoning=_text(reasoning) if reasoning else None,
            refusal=_text(refusal) if refusal else None,
            tool_calls=_tool_calls(calls) if calls else (),
            other_parts=parts,
            served_model=_text(body.get("model")),
            fingerprint=_text(fingerprint) if fingerprint else None,
            key=key,
            hit=hit,
        )
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise _no_answer(reply, "choices[0].message") from error


def read_json(reply: bytes) -> Any:
    """The body as JSON values; lone surrogates become U+FFFD, because some servers send them.

    Raises:
        AttemptFailed: it is no JSON.
    """
    try:
        return orjson.loads(reply)
    except orjson.JSONDecodeError:
        pass
    try:
        return clean(json.loads(reply), {})
    except (ValueError, RecursionError) as error:
        raise AttemptFailed(
            f"the reply is not JSON: {reply[:200]!r}", maybe_billed=True, status=200
        ) from error


def _continuation(body: Any, reply: bytes, key: str, hit: bool) -> Completion:
    choice = body["choices"][0]
    text = choice["text"]
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}")
    return Completion(
        text=text,
        finish=_text(choice.get("finish_reason")) or "",
        usage=_usage(body.get("usage")),
        reply=reply,
        served_model=_text(body.get("model")),
        fingerprint=_text(body.get("system_fingerprint")),
        key=key,
        hit=hit,
    )


def _embedding(body: Any, reply: bytes, key: str, hit: bool) -> Completion:
    if not isinstance(body["data"][0]["embedding"], str | list):
        raise TypeError("it is no vector")
    return _nothing_written("", body, reply, key, hit)


def _numbers(body: Any, reply: bytes, key: str, hit: bool) -> Completion:
    """The numbers are the text, as a list in JSON."""
    numbers = body["data"][0]["probs"]
    if not numbers or not all(_finite(number) for number in numbers):
        raise TypeError("they are no numbers")
    return _nothing_written(orjson.dumps(numbers).decode(), body, reply, key, hit)


def _finite(number: object) -> bool:
    if type(number) not in {int, float}:
        return False
    try:
        return math.isfinite(number)  # type: ignore[arg-type]  # told by its type
    except OverflowError:
        return False


def _nothing_written(text: str, body: Any, reply: bytes, key: str, hit: bool) -> Completion:
    usage = _usage(body.get("usage"))
    return Completion(
        text=text,
        finish="stop",
        # Nothing is written, and most servers do not say so.
        usage=Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=0),
        reply=reply,
        served_model=_text(body.get("model")),
        key=key,
        hit=hit,
    )


def _no_answer(reply: bytes, missing: str) -> AttemptFailed:
    return AttemptFailed(
        f"the reply has no {missing}: {reply[:200]!r}", maybe_billed=True, status=200
    )


def _joined(content: object) -> tuple[str, tuple[str, ...]]:
    """The text of a message without a plain one, and the types of the parts that are no text."""
    if content is None:
        return "", ()
    if not isinstance(content, list):
        raise TypeError(f"content is {type(content).__name__}")
    text = "".join(part["text"] for part in content if part.get("type") == "text")
    return text, tuple(str(part["type"]) for part in content if part.get("type") != "text")


def _tool_calls(calls: Any) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(
            id=str(call.get("id") or ""),
            name=str(call["function"]["name"]),
            arguments=_arguments(call["function"].get("arguments")),
        )
        for call in calls
    )


def _arguments(value: Any) -> str:
    """As text: some servers send the object itself."""
    return value if isinstance(value, str) else orjson.dumps(value or {}).decode()


def _text(value: object) -> str | None:
    """Servers send "" and null for the same thing."""
    return value if isinstance(value, str) and value else None


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return NO_USAGE
    prompt = _count(usage.get("prompt_tokens"))
    completion = _count(usage.get("completion_tokens"))
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
    if cached is None:
        cached = _count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek's name for it
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning and None not in (prompt, completion):
        # Grok counts reasoning beside the completion: both are billed as completion.
        beside = _count(usage.get("total_tokens")) == (prompt or 0) + (completion or 0) + reasoning
        completion = (completion or 0) + (reasoning if beside else 0)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_prompt_tokens=cached,
        reasoning_tokens=reasoning,
    )


def _detail(usage: dict[str, Any], details: str, name: str) -> int | None:
    block = usage.get(details)
    return _count(block.get(name)) if isinstance(block, dict) else None


def _count(value: object) -> int | None:
    # Beyond any context window it is no count, and the ledger's integers have 64 bits.
    return value if type(value) is int and 0 <= value < 2**31 else None
