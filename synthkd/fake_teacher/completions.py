"""The answer to a request of the older completions API: text in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthkd.fake_teacher.chat import (
    Voice,
    echo,
    limit_of,
    seeds_of,
    stops_of,
    usage_of,
)
from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.wording import Said, logprobs_of, speak


def completion_reply(
    body: Mapping[str, Any],
    digest: bytes,
    voice: Voice,
    fault: str | None = None,
    cached_tokens: int = 0,
) -> dict[str, Any]:
    """The whole reply; the choices of the first prompt come first.

    Raises:
        Refusal: 400, the body is no completions request.
    """
    prompts = _prompts(body.get("prompt"))
    said = [
        (_said({**body, "seed": seed}, prompt, voice, fault))
        for prompt in prompts
        for seed in seeds_of(body)
    ]
    choices = []
    for index, each in enumerate(said):
        choice = {"index": index, "text": each.text, "finish_reason": each.finish}
        if body.get("logprobs") is not None:
            choice["logprobs"] = _logprobs(each.tokens, body["logprobs"])
        choices.append(choice)
    usage = usage_of(sum(len(prompt.encode()) for prompt in prompts), said, cached_tokens)
    return {
        "id": f"cmpl-{digest.hex()[:12]}",
        "object": "text_completion",
        "created": 0,
        "model": voice.served_model or f"{body['model']}-served",
        "choices": choices,
        "usage": usage,
    }


def _said(body: Mapping[str, Any], prompt: str, voice: Voice, fault: str | None) -> Said:
    text = echo(body, voice, prompt)
    return speak(text, limit=limit_of(body), stop=stops_of(body), fault=fault)


def _prompts(prompt: object) -> list[str]:
    """The prompts as text; one that came as token numbers is shown by them."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(isinstance(each, str) for each in prompt):
            return list(prompt)
        if all(type(each) is int for each in prompt):
            return [" ".join(map(str, prompt))]
        if all(isinstance(each, list) for each in prompt):
            return [" ".join(map(str, each)) for each in prompt]
    raise Refusal(400, f"'prompt' must be text, token numbers or a list of them: {prompt!r:.100}")


def _logprobs(tokens: Sequence[str], alternatives: int) -> dict[str, Any]:
    """The older API's shape: four lists side by side."""
    each = logprobs_of(tokens, alternatives)
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": list(tokens),
        "token_logprobs": [one["logprob"] for one in each],
        "top_logprobs": [{t["token"]: t["logprob"] for t in one["top_logprobs"]} for one in each],
        "text_offset": offsets[:-1],
    }
