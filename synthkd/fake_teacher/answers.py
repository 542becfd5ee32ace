"""Which function answers at which path; what none of them can read is refused, never a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthkd.fake_teacher.chat import Body, Voice, chat_reply
from synthkd.fake_teacher.completions import completion_reply
from synthkd.fake_teacher.embeddings import embedding_reply
from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.rewards import reward_reply

ANSWERS = {
    "/v1/chat/completions": chat_reply,
    "/v1/completions": completion_reply,
    "/v1/embeddings": embedding_reply,
    "/classify": reward_reply,
}
"""Path -> what answers there."""
WHOLE = frozenset({"/v1/embeddings", "/classify"})
"""Those that never stream."""
IN_BATCHES = tuple(path for path in ANSWERS if path.startswith("/v1/"))
"""Those that a batch may ask."""

UNREADABLE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a body raises where a value is of another kind than the API has there."""


def reply_to(
    path: str,
    body: Body,
    digest: bytes,
    voice: Voice,
    fault: str | None = None,
    cached_tokens: int = 0,
) -> dict[str, Any]:
    """The whole reply to a body, a function of the arguments alone.

    Raises:
        Refusal: 400, the body is no request of this API.
        RuntimeError: the voice's own `answer` raised.
    """
    _check_options(body)
    try:
        return ANSWERS[path](body, digest, voice, fault, cached_tokens)
    except UNREADABLE as error:
        raise Refusal(400, f"the body cannot be read: {type(error).__name__}: {error}") from error


def _check_options(body: Mapping[str, Any]) -> None:
    options = body.get("stream_options")
    if not (options is None or isinstance(options, dict)):
        raise Refusal(400, f"'stream_options' must be an object, got {options!r:.100}")
    top = body.get("top_logprobs")
    if top is not None and (type(top) is not int or not 0 <= top <= 20 or not body.get("logprobs")):
        raise Refusal(400, "'top_logprobs' must be within 0 and 20, and needs 'logprobs'")
