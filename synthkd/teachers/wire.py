"""The chat wire shape of OpenAI-compatible APIs: a Request as a body, a body as a Completion.

Fresh replies, ledger hits and the recorded and simulated teachers all go through `parse_chat`, so
what is read from an answer cannot depend on where it came from.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from synthkd.errors import AttemptFailed
from synthkd.rows import Json, clean
from synthkd.teachers.request import Completion, Request, Usage


def chat_body(request: Request) -> bytes:
    """What goes over the wire, in one spelling: JSON with sorted keys."""
    body: dict[str, Json] = dict(request.body)
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    seed = body.get("seed")
    if isinstance(seed, int) and request.sample:
        body["seed"] = seed + request.sample  # else every sample would be the same answer
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def chat_reply(
    text: str,
    *,
    model: str,
    finish: str = "stop",
    usage: Usage,
) -> bytes:
    """A reply as a server would send it, for teachers that are no server."""
    return orjson.dumps(
        {
            "object": "chat.completion",
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                }
            ],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
            },
        }
    )


def parse_chat(reply: bytes, *, key: str = "", hit: bool = False) -> Completion:
    """Read a reply of status 200; one from the ledger comes with its key.

    Raises:
        AttemptFailed: it is cut, no JSON, or no answer; perhaps billed all the same.
    """
    body = read_json(reply)
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content")
        return Completion(
            text=text if isinstance(text, str) else _joined(text),
            finish=_text(choice.get("finish_reason")) or "",
            usage=_usage(body.get("usage")),
            reply=reply,
            reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
            refusal=_text(message.get("refusal")),
            served_model=_text(body.get("model")),
            key=key,
            hit=hit,
        )
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise AttemptFailed(
            f"the reply has no choices[0].message: {reply[:200]!r}", maybe_billed=True, status=200
        ) from error


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


def _joined(content: object) -> str:
    """The text of a message without a plain one: nothing, or a list of parts."""
    if content is None:
        return ""
    if not isinstance(content, list):
        raise TypeError(f"content is {type(content).__name__}")
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _text(value: object) -> str | None:
    """Servers send "" and null for the same thing."""
    return value if isinstance(value, str) and value else None


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
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
