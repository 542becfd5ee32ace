"""The training file: one conversation a line, as a provider takes it, checked before it is sent.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

The rules are OpenAI's, with where each is from:

    [C]  the cookbook's "Data preparation and analysis for chat model fine-tuning": roles, keys of a
         message, contents, an assistant's message in every example
    [E]  error messages of failed jobs: `invalid_n_examples` (at least 10), `invalid_training_file`
    [M]  from memory of the guide, not verified: weights of 0 and 1 on the assistant's messages
         alone, the last message from the assistant, 512 MB a file, tokens of an example by model

Numbers are in `student.limits`. All faults are found, not the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from synthkd.config import HostedConfig, HostedLimits
from synthkd.errors import NothingToLearn
from synthkd.rows import Fields, Json, Row
from synthkd.teachers.budget import BYTES_A_TOKEN, MESSAGE_TOKENS

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
KEYS = frozenset({"role", "content", "name", "weight", "function_call", "tool_calls"}) | {
    "tool_call_id"
}
CALLS = ("tool_calls", "function_call")
"""An assistant's message with one of these needs no content."""
BESIDE = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
"""Keys of an example."""
MOST_SHOWN = 20
"""Faults in a message; the file of faults has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFile:
    """A training file that a provider would take."""

    path: Path
    sha256: str
    examples: int
    most_tokens: int
    """The most that it can be: no tokenizer makes more tokens than UTF-8 bytes."""
    tokens: int
    """An estimate by its bytes."""
    maybe_long: int
    """Examples that may be longer than the provider takes, and would be cut off."""
    system: str | None
    """The system message that all examples have; None = none, or not the same."""


@dataclass(slots=True)
class _Counts:
    examples: int = 0
    most_tokens: int = 0
    tokens: int = 0
    maybe_long: int = 0
    systems: set[str | None] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def write_chat_file(rows: Iterable[Row], config: HostedConfig, path: Path) -> ChatFile:
    """Write the rows as a training file, and check it as the provider will read it.

    Args:
        rows: the final rows.
        config: names the fields, and the provider's limits.
        path: of the file; what is wrong with it stands in `faults.txt` beside it.

    Raises:
        NothingToLearn: the provider would not take it; every fault, with its line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for row in rows:
            example = {"messages": messages_of(row, config)}
            file.write(orjson.dumps(example, option=orjson.OPT_APPEND_NEWLINE))
    return check_chat_file(path, config.limits)


def check_chat_file(path: Path, limits: HostedLimits) -> ChatFile:
    """Check a training file, whoever wrote it.

    Raises:
        NothingToLearn: the provider would not take it; every fault, with its line.
    """
    counts = _Counts()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            digest.update(line)
            faults = _count(counts, line, limits)
            counts.faults += [f"line {number}: {fault}" for fault in faults]
    if counts.examples < limits.min_examples:
        counts.faults.append(
            f"{counts.examples} examples, and the provider takes no fewer than"
            f" {limits.min_examples} (student.limits.min_examples)"
        )
    size_mb = path.stat().st_size / 1e6
    if size_mb > limits.max_file_mb:
        counts.faults.append(
            f"{size_mb:.1f} MB, and the provider takes no more than {limits.max_file_mb:g}"
            " (student.limits.max_file_mb): keep fewer rows"
        )
    if counts.faults:
        raise _faulty(path, counts.faults)
    return ChatFile(
        path=path,
        sha256=digest.hexdigest(),
        examples=counts.examples,
        most_tokens=counts.most_tokens,
        tokens=counts.tokens,
        maybe_long=counts.maybe_long,
        system=counts.systems.pop() if len(counts.systems) == 1 else None,
    )


def messages_of(row: Row, config: HostedConfig) -> Json:
    """The conversation of a row; its faults are left for the check."""
    fields = row.fields
    if config.messages is not None:
        messages = fields.get(config.messages)
        if not isinstance(messages, list | tuple):
            return messages
        return [_given(each) if isinstance(each, Mapping) else each for each in messages]
    named = [("system", config.system), ("user", config.prompt), ("assistant", config.completion)]
    return [
        {"role": role, "content": fields.get(name)}
        for role, name in named
        if name is not None and (role != "system" or fields.get(name) is not None)
    ]


def _given(message: Fields) -> Json:
    """Without what is null: a table has every column for every message."""
    return {name: value for name, value in message.items() if value is not None}


def _count(counts: _Counts, line: bytes, limits: HostedLimits) -> list[str]:
    """Add one line to the counts; what is wrong with it."""
    counts.examples += 1
    try:
        example = json.loads(line, object_pairs_hook=_once)
    except _TwiceError as twice:
        return [f"the key {twice} stands twice"]
    except ValueError as error:
        return [f"it is not JSON in UTF-8: {error}"]
    if not isinstance(example, dict):
        return ["it is no JSON object"]
    faults = [f"unknown key {key!r}" for key in sorted(example.keys() - BESIDE)]
    messages = example.get("messages")
    if not isinstance(messages, list) or not messages:
        return [*faults, "no `messages`"]
    for place, message in enumerate(messages, start=1):
        faults += [f"message {place}: {fault}" for fault in faults_of(message)]
    if faults:
        return faults
    size = len(line) + MESSAGE_TOKENS * len(messages)
    counts.most_tokens += min(size, limits.max_example_tokens)
    tokens = size // BYTES_A_TOKEN + 1
    counts.tokens += min(tokens, limits.max_example_tokens)
    counts.maybe_long += size > limits.max_example_tokens >= tokens
    first = messages[0]
    counts.systems.add(first["content"] if first["role"] == "system" else None)
    return list(_faults_of_all(messages, tokens, limits))


def faults_of(message: object) -> Iterator[str]:
    """What is wrong with one message."""
    if not isinstance(message, dict):
        yield "it is no JSON object"
        return
    for key in sorted(message.keys() - KEYS):
        yield f"unknown key {key!r}"
    role, content, weight = message.get("role"), message.get("content"), message.get("weight")
    if role not in ROLES:
        yield f"role {role!r:.40} is none of {', '.join(sorted(ROLES))}"
    if not _has_content(content) and not any(message.get(call) for call in CALLS):
        yield f"no content, got {content!r:.40}"
    if "weight" in message:
        if role != "assistant":
            yield "only the assistant's messages have a weight"
        if type(weight) is not int or weight not in {0, 1}:
            yield f"a weight is 0 or 1, got {weight!r:.40}"


def _has_content(content: object) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    return isinstance(content, list) and bool(content)


def _faults_of_all(
    messages: Sequence[Mapping[str, Any]], tokens: int, limits: HostedLimits
) -> Iterator[str]:
    """What is wrong with a conversation of sound messages."""
    if messages[-1]["role"] != "assistant":
        yield f"the last message is from {messages[-1]['role']}, not from the assistant"
    said = [message for message in messages if message["role"] == "assistant"]
    if said and all(message.get("weight") == 0 for message in said):
        yield "every message of the assistant has weight 0: there is nothing to learn"
    if tokens > limits.max_example_tokens:
        yield (
            f"about {tokens:,} tokens, and the provider takes {limits.max_example_tokens:,}"
            " (student.limits.max_example_tokens)"
        )


class _TwiceError(Exception):
    """A key stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(repr(next(name for name in names if names.count(name) > 1)))
    return found


def _faulty(path: Path, faults: Sequence[str]) -> NothingToLearn:
    report = path.with_name("faults.txt")
    report.write_text("\n".join(faults) + "\n", encoding="utf-8")
    shown = "\n".join(f"  {fault}" for fault in faults[:MOST_SHOWN])
    rest = len(faults) - MOST_SHOWN
    more = f"\n  and {rest:,} more, all in {report}" if rest > 0 else ""
    return NothingToLearn(
        f"student: the provider would not take the training file {path}, so nothing was sent:\n"
        f"{shown}{more}\nReject such rows by a step, or choose other fields"
    )
