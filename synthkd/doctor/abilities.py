"""What the replies to tiny questions show that a teacher can do.

A parameter that is refused, ignored or taken is told apart: an OpenAI-compatible server may leave
out what it does not know, without a word.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import orjson

from synthkd.config import TeacherConfig
from synthkd.doctor.probes import MAX_TOKENS, Endpoint, Reply
from synthkd.doctor.report import Examined

RATE_HEADERS = "x-ratelimit-"
NOT_SHOWN = "not shown: the answers are empty, as they are where reasoning takes up the tokens"


def usage_and_length(found: Examined, config: TeacherConfig, reply: Reply) -> None:
    """Whether it counts tokens, stops where it was told, and keeps reasoning apart."""
    answer = reply.completion()
    if answer is None:
        return
    used = answer.usage.completion_tokens
    if used is None or answer.usage.prompt_tokens is None:
        found.add("usage", "warning", "not told, so every answer is counted at its worst cost")
    else:
        found.add("usage", "fine", f"told: {answer.usage.prompt_tokens} + {used} tokens")
    if used is not None and used > MAX_TOKENS:
        found.add("max_tokens", "warning", f"not obeyed: {used} tokens instead of {MAX_TOKENS}")
    elif answer.finish == "length":
        found.add("max_tokens", "fine", f"obeyed, and told (`length` at {used} tokens)")
    else:
        found.add("max_tokens", "note", f"not reached: it ended with {answer.finish or 'no word'}")
    apart = answer.reasoning is not None or answer.usage.reasoning_tokens
    found.add("reasoning", "note", "in a field of its own" if apart else "none was seen")
    if answer.served_model not in {None, config.model}:
        found.add("served as", "note", str(answer.served_model))


def seed(found: Examined, endpoint: Endpoint, replies: Sequence[Reply]) -> None:
    """Whether the same seed gives the same answer."""
    answers = [reply.completion() for reply in replies]
    words = {
        f"{answer.reasoning or ''} {answer.text}".strip()
        for answer in answers
        if answer is not None
    }
    if None in answers:
        found.add("seed", "note", f"not taken: {endpoint.said(replies[answers.index(None)])}")
    elif words == {""}:
        found.add("seed", "note", NOT_SHOWN)
    elif len(words) == 1:
        found.add("seed", "fine", "the same seed gave the same answer")
    else:
        found.add("seed", "note", "taken or ignored: the same seed gave another answer")


def several(found: Examined, endpoint: Endpoint, reply: Reply) -> None:
    """Whether one request can have several answers."""
    choices = _choices(reply)
    if choices is None:
        found.add("n", "note", f"not taken: {endpoint.said(reply)}")
    elif len(choices) == 2:
        found.add("n", "fine", "several answers to one request")
    else:
        found.add("n", "note", f"ignored: 2 answers were asked for, {len(choices)} came")


def logprobs(found: Examined, endpoint: Endpoint, reply: Reply) -> None:
    """Whether tokens come with their probabilities."""
    choices = _choices(reply)
    if choices is None:
        found.add("logprobs", "note", f"not taken: {endpoint.said(reply)}")
        return
    given = choices[0].get("logprobs") if choices and isinstance(choices[0], dict) else None
    if isinstance(given, dict) and given.get("content"):
        found.add("logprobs", "fine", "given")
    elif (answer := reply.completion()) is not None and not answer.text:
        found.add("logprobs", "note", NOT_SHOWN)
    else:
        found.add("logprobs", "note", "ignored: the answer has none")


def json_schema(found: Examined, endpoint: Endpoint, reply: Reply) -> None:
    """Whether an answer keeps to a schema."""
    answer = reply.completion()
    if answer is None:
        found.add("json_schema", "note", f"not taken: {endpoint.said(reply)}")
    elif _is_done(answer.text):
        found.add("json_schema", "fine", "obeyed")
    elif answer.finish == "length":
        found.add("json_schema", "note", "taken, but the answer was cut before it could show")
    else:
        found.add("json_schema", "note", "ignored: the answer does not keep to the schema")


def latency_and_limits(found: Examined, replies: Sequence[Reply]) -> None:
    """How quick tiny answers were, and what the provider tells of its limits."""
    latencies_s = [reply.latency_s for reply in replies if reply.ok]
    found.add(
        "latency",
        "fine",
        f"median {1000 * statistics.median(latencies_s):,.0f} ms of {len(latencies_s)} tiny "
        "answers",
    )
    headers = {name.lower(): value for reply in replies for name, value in reply.headers.items()}
    limits = [
        f"{name.removeprefix(RATE_HEADERS)} {value}"
        for name, value in sorted(headers.items())
        if name.startswith(RATE_HEADERS)
    ]
    found.add("rate limits", "note", ", ".join(limits) or f"no {RATE_HEADERS}* headers")


def _is_done(text: str) -> bool:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and set(value) == {"done"} and isinstance(value["done"], bool)


def _choices(reply: Reply) -> list[Any] | None:
    body = reply.json() if reply.ok else None
    choices = body.get("choices") if isinstance(body, dict) else None
    return choices if isinstance(choices, list) else None
