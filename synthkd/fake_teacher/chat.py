"""The answer to a chat request: a function of the body, of the fault it meets, and of the voice.

It echoes the last message unless the body asks for something else (tools, a schema) or the voice
says what to answer. A word is a token; a prompt costs as much as it possibly could, so that a
client's bound is put to the test.

Choice i of `n` is what a request of its own with `seed` + i would be answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.schemas import instance, misfit
from synthkd.fake_teacher.wording import Said, logprobs_of, speak

Body = Mapping[str, Any]

EFFORT = {"none": 0, "minimal": 4, "low": 8, "medium": 16, "high": 32, "xhigh": 64}
"""`reasoning_effort` -> tokens of reasoning."""

REFUSAL = "I cannot help with that."

MISFIT = "Sure! Here is what you asked for, but not in the way you asked for it."

PART_TOKENS = 16
"""Tokens of a message beside its text, and of a part that is no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How a teacher answers, whatever it is asked; `FakeTeacher` says what each one means."""

    answer: Callable[[Body], str] | None = None
    served_model: str | None = None
    reasoning_tokens: int = 0
    reasoning_field: str = "reasoning_content"


def chat_reply(
    body: Body, digest: bytes, voice: Voice, fault: str | None = None, cached_tokens: int = 0
) -> dict[str, Any]:
    """The whole reply.

    Raises:
        Refusal: 400, the body is no chat request.
    """
    messages = messages_of(body)
    said = [
        _choice({**body, "seed": seed}, digest, voice, fault, index)
        for index, seed in enumerate(seeds_of(body))
    ]
    return {
        "id": f"chatcmpl-{digest.hex()[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": voice.served_model or f"{body['model']}-served",
        "choices": [choice for choice, _ in said],
        "usage": usage_of(prompt_tokens(messages), [each for _, each in said], cached_tokens),
    }


def messages_of(body: Body) -> list[dict[str, Any]]:
    """The messages.

    Raises:
        Refusal: 400, they are none.
    """
    messages = body.get("messages")
    if isinstance(messages, list) and messages and all(map(_is_message, messages)):
        return messages
    raise Refusal(400, f"'messages' must be a list of messages, got {messages!r:.100}")


def _is_message(message: object) -> bool:
    content = message.get("content") if isinstance(message, dict) else 0
    if isinstance(content, list):
        return all(
            isinstance(part, dict)
            and (part.get("type") != "text" or isinstance(part.get("text"), str))
            for part in content
        )
    return content is None or isinstance(content, str)


def seeds_of(body: Body) -> list[int | str]:
    """What each choice is told apart by: its seed, or a mark where the body has none.

    Raises:
        Refusal: 400, `n` is no count.
    """
    n = body.get("n") or 1
    if type(n) is not int or not 1 <= n <= 128:
        raise Refusal(400, f"'n' must be within 1 and 128, got {n!r}")
    seed = body.get("seed")
    if seed is None:
        return ["-", *(f"-+{index}" for index in range(1, n))]
    return [seed + index for index in range(n)]


def prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """UTF-8 bytes and 16 a message; of a part that is no text, 16."""
    return sum(PART_TOKENS + _content_tokens(message.get("content")) for message in messages)


def _content_tokens(content: object) -> int:
    if isinstance(content, str):
        return len(content.encode())
    if not isinstance(content, list):
        return 0
    return sum(
        len(part["text"].encode()) if part.get("type") == "text" else PART_TOKENS
        for part in content
    )


class Prefixes:
    """What a server's prefix cache knows: every beginning of the messages that it was asked."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def cached(self, body: Body) -> int:
        """Tokens of the messages that it knows; it knows all of them from now on.

        Raises:
            Refusal: 400, they are none.
        """
        running, tokens, known = hashlib.sha256(), 0, True
        for message in messages_of(body):
            running.update(orjson.dumps(message, option=orjson.OPT_SORT_KEYS))
            known = known and running.digest() in self._known
            tokens += prompt_tokens([message]) if known else 0
            self._known.add(running.digest())
        return tokens


def usage_of(prompt: int, said: Sequence[Said], cached_tokens: int = 0) -> dict[str, Any]:
    """What is billed, in the shape of the API."""
    completion = sum(each.billed for each in said)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(cached_tokens, prompt)},
        "completion_tokens_details": {
            "reasoning_tokens": sum(len(each.reasoning) for each in said)
        },
    }


def echo(body: Body, voice: Voice, prompt: str) -> str:
    """What a plain request is answered."""
    if voice.answer is not None:
        try:
            return voice.answer(body)
        except Exception as error:
            # Else a mistake in it would look like one in the body.
            raise RuntimeError(f"the `answer` of this fake teacher raised {error!r}") from error
    return " ".join(["echo", f"{body.get('seed', '-')}:", *prompt.split()])


def limit_of(body: Body) -> int | None:
    """The most tokens that the body allows.

    Raises:
        Refusal: 400, it is no count.
    """
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise Refusal(400, f"'max_tokens' must be at least 1, got {limit!r}")
    return limit


def stops_of(body: Body) -> list[str]:
    """Where an answer ends."""
    stop = body.get("stop") or []
    return [stop] if isinstance(stop, str) else [each for each in stop if each]


def _choice(
    body: Body, digest: bytes, voice: Voice, fault: str | None, index: int
) -> tuple[dict[str, Any], Said]:
    """One choice, and what is billed for it."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    limit, thoughts = limit_of(body), _thoughts(body, voice)
    tool = None if fault == "refusal" else _tool(body)
    salt = f"{body['seed']} {_last_text(body)}".encode(errors="replace")
    if fault == "refusal":
        said = speak(REFUSAL, limit=limit, stop=(), fault=None)
        message["refusal"] = said.text
    elif tool is not None:
        text = _dumped(instance(tool.get("parameters") or {"type": "object"}, salt))
        said = speak(text, limit=limit, stop=(), thoughts=thoughts, fault=fault)
        call = {"name": tool["name"], "arguments": said.text}
        identity = f"call_{digest.hex()[:12]}_{index}"
        message["tool_calls"] = [{"id": identity, "type": "function", "function": call}]
    else:
        text = _text(body, salt, voice, fault)
        said = speak(text, limit=limit, stop=stops_of(body), thoughts=thoughts, fault=fault)
        message["content"] = said.text
    if said.reasoning:
        message[voice.reasoning_field] = "".join(said.reasoning).lstrip()
    finish = "tool_calls" if tool is not None and said.finish == "stop" else said.finish
    choice = {"index": index, "message": message, "finish_reason": finish}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": logprobs_of(said.tokens, body.get("top_logprobs") or 0)}
    return choice, said


def _text(body: Body, salt: bytes, voice: Voice, fault: str | None) -> str:
    """What is answered in words: the voice's own answer, a value for the schema, or the echo."""
    wanted = body.get("response_format") or {}
    kind = wanted.get("type")
    schema = wanted.get("json_schema", {}).get("schema", {}) if kind == "json_schema" else None
    if fault == "misfit":
        return MISFIT if schema is None else _dumped(misfit(schema, salt))
    if voice.answer is None and schema is not None:
        return _dumped(instance(schema, salt))
    text = echo(body, voice, _last_text(body))
    return _dumped({"echo": text}) if voice.answer is None and kind == "json_object" else text


def _last_text(body: Body) -> str:
    content = body["messages"][-1].get("content")
    if isinstance(content, list):
        return " ".join(part["text"] for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _thoughts(body: Body, voice: Voice) -> int:
    """Tokens of reasoning: asked for as OpenAI's API or as vLLM does, or the voice's own habit."""
    template = body.get("chat_template_kwargs") or {}
    if template.get("enable_thinking") is False:
        return 0
    if template.get("enable_thinking") or template.get("thinking"):
        return EFFORT["medium"]
    effort = body.get("reasoning_effort")
    return voice.reasoning_tokens if effort is None else EFFORT.get(effort, 0)


def _tool(body: Body) -> Mapping[str, Any] | None:
    """The function to call: the one that is named, or the first; none after a tool has answered.

    Raises:
        Refusal: 400, the named one is not among the tools.
    """
    tools: list[Mapping[str, Any]]
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("function")]
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
        for tool in tools:
            if tool["name"] == name:
                return tool
        raise Refusal(400, f"'tool_choice' names {name!r}, which is not among 'tools'")
    answered = body["messages"][-1].get("role") == "tool"
    if not tools or choice == "none" or (choice == "auto" and answered):
        return None
    return tools[0]


def _dumped(value: Any) -> str:
    """JSON with spaces, so that it is more than one token."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
