"""The answer to a chat request: a function of the body alone.

It echoes the last message. A word is a token; a prompt costs as much as it possibly could, so that
a client's bound is put to the test.
"""

from __future__ import annotations

from typing import Any


def answer(body: dict[str, Any], digest: bytes) -> dict[str, Any]:
    """The whole reply."""
    words = _words(body)
    usage = usage_of(body)
    cut = usage["completion_tokens"] < len(words)
    return {
        "id": f"chatcmpl-{digest.hex()[:12]}",
        "object": "chat.completion",
        "model": f"{body['model']}-served",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": " ".join(words[: usage["completion_tokens"]]),
                },
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def usage_of(body: dict[str, Any]) -> dict[str, int]:
    """What the provider bills: UTF-8 bytes and 16 a message, and the words of the answer."""
    prompt = sum(len(message["content"].encode()) + 16 for message in body["messages"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": min(len(_words(body)), body.get("max_tokens", 10**9)),
    }


def _words(body: dict[str, Any]) -> list[str]:
    return ["echo", f"{body.get('seed', '-')}:", *body["messages"][-1]["content"].split()]
