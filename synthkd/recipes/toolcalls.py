"""Tool calls as messages: which tools are declared, and whether a conversation keeps to them.

    tools:    [{type: function, function: {name, description, parameters: JSON Schema}}, ...]
    messages: {role: assistant, content, tool_calls: [{id, type: function, function: {name,
              arguments: "JSON"}}]},  {role: tool, tool_call_id, name, content},  ...

The shape is OpenAI's, which chat templates and TRL read. Everything here is pure: nothing is called
and nothing is run, also not on the conversations of others that `gate.tools` looks at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from synthkd.hints import near
from synthkd.io.conversations import ROLES
from synthkd.recipes.replies import Loss
from synthkd.rows import Fields, Json, clean
from synthkd.schemas import Schema
from synthkd.text import tail

UNKNOWN_TOOL, BAD_ARGUMENTS = "unknown_tool", "bad_arguments"
NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The parameters of a tool that declares none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A declared tool."""

    name: str
    told: Fields
    """The declaration as it stands in the row, in OpenAI's shape."""
    schema: Schema
    """Of its arguments."""
    names: frozenset[str] | None
    """The arguments that there are; None = its schema allows others expressly."""

    def faults(self, arguments: str) -> tuple[str, ...]:
        """What is wrong with arguments in JSON; empty = they fit."""
        try:
            orjson.loads(arguments)  # a fence around them is read in answers, and no JSON in a call
            json.loads(arguments, object_pairs_hook=_each_name_once)
        except (ValueError, RecursionError) as error:
            return (f"they are not JSON: {error}",)
        read = self.schema.read(arguments)
        if read.faults:
            return read.faults
        if not isinstance(read.value, Mapping):
            return (f"the arguments must be an object, got {arguments:.80}",)
        if self.names is not None and (more := sorted(read.value.keys() - self.names)):
            there = ", ".join(sorted(self.names)) or "none"
            return (f"there is no argument {', '.join(map(repr, more))}; there are: {there}",)
        return ()


def _each_name_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if no name stands in it twice: readers would differ in which one counts."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"a name stands twice among {', '.join(name for name, _ in pairs):.120}")
    return value


Tools = Mapping[str, Tool]


def declared(value: Json) -> dict[str, Tool]:
    """The tools of a row, by name.

    Raises:
        ValueError: it is no list of declarations, a name comes twice, or a schema cannot be
            checked; the message says where.
    """
    if isinstance(value, str):
        value = _json(value, "tools")
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"tools must be a list of declarations, at least one, got {value!r:.80}")
    tools: dict[str, Tool] = {}
    for place, one in enumerate(value):
        tool = _tool(one, f"tools[{place}]")
        if tool.name in tools:
            raise ValueError(f"tools[{place}]: {tool.name!r} is declared twice")
        tools[tool.name] = tool
    return tools


def call_fault(name: str, arguments: str, tools: Tools) -> Loss | None:
    """Why a call cannot be made; None = its tool is declared and takes these arguments."""
    if name not in tools:
        hint = near(name, tools) or f"; there are {', '.join(tools)}"
        return Loss(UNKNOWN_TOOL, f"{name!r:.80} is not declared{hint}")
    if faults := tools[name].faults(arguments):
        return Loss(BAD_ARGUMENTS, f"{name}: {'; '.join(faults)} (got {arguments:.120})")
    return None


def trajectory_faults(messages: Json, tools: Tools) -> list[Loss]:
    """What is wrong with a conversation with tool calls, in its order; empty = nothing.

    A user asks. Every call is of a declared tool and fits its schema, has an id of its own and
    exactly one result, which comes next; no result is without a call; the last word is the
    assistant's, and is no call.

    Reasons: `bad_message`, `unknown_tool`, `bad_arguments`, `twice_called` (an id comes again),
    `result_without_call`, `call_without_result`, `no_final_answer`.
    """
    if isinstance(messages, str):
        try:
            messages = _json(messages, "messages")
        except ValueError as error:
            return [Loss("bad_message", str(error))]
    if not isinstance(messages, list | tuple) or not messages:
        return [Loss("bad_message", f"there are no messages: {messages!r:.80}")]
    return list(_faults(messages, tools))


def _faults(messages: Sequence[Json], tools: Tools) -> Iterator[Loss]:
    seen: set[str] = set()
    due: dict[str, str] = {}
    for place, message in enumerate(messages):
        here = f"messages[{place}]"
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(message, Mapping) or role not in ROLES:
            yield Loss("bad_message", f"{here} has no role that is known: {message!r:.80}")
            return
        if role == "tool":
            yield from _result_faults(message, here, due)
            continue
        if due:
            yield _without_result(here, due)
            due.clear()
        calls = message.get("tool_calls")
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and calls):
            yield Loss("bad_message", f"{here} has no text: {content!r:.80}")
        if calls:
            if role != "assistant":
                yield Loss("bad_message", f"{here}: {role} calls a tool")
            yield from _calls_faults(calls, here, tools, seen, due)
    if due:
        yield _without_result("the end", due)
    yield from _frame_faults(messages)


def _frame_faults(messages: Sequence[Json]) -> Iterator[Loss]:
    """What the whole lacks: somebody who asks, and an answer at the end."""
    told = [message for message in messages if isinstance(message, Mapping)]
    if all(message.get("role") != "user" for message in told):
        yield Loss("bad_message", "no message is a user's: nothing is asked")
    last = told[-1]
    text = last.get("content")
    if (
        last.get("role") != "assistant"
        or last.get("tool_calls")
        or not (isinstance(text, str) and text.strip())
    ):
        yield Loss("no_final_answer", f"it ends with {tail(repr(last))}")


def _calls_faults(
    calls: Json, here: str, tools: Tools, seen: set[str], due: dict[str, str]
) -> Iterator[Loss]:
    if not isinstance(calls, list | tuple):
        yield Loss("bad_message", f"{here}.tool_calls must be a list, got {calls!r:.80}")
        return
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        id_ = call.get("id") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not isinstance(id_, str) or not id_:
            yield Loss("bad_message", f"{here}.tool_calls[{place}] lacks id or name: {call!r:.80}")
            continue
        assert isinstance(function, Mapping)  # noqa: S101  it had the name
        if (fault := call_fault(name, in_json(function.get("arguments")), tools)) is not None:
            yield Loss(fault.reason, f"{here}: {fault.detail}")
        if id_ in seen:
            yield Loss("twice_called", f"{here}: the id {id_!r} comes again")
        seen.add(id_)
        due[id_] = name


def _result_faults(message: Mapping[str, Json], here: str, due: dict[str, str]) -> Iterator[Loss]:
    id_ = message.get("tool_call_id")
    if not isinstance(message.get("content"), str):
        yield Loss("bad_message", f"{here} has no text: {message.get('content')!r:.80}")
    if not isinstance(id_, str) or id_ not in due:
        waiting = ", ".join(due) or "none"
        yield Loss("result_without_call", f"{here} answers {id_!r:.80}; open calls: {waiting}")
        return
    called = due.pop(id_)
    if (name := message.get("name")) is not None and name != called:
        yield Loss("result_without_call", f"{here} is of {name!r:.80}, called was {called!r}")


def _without_result(here: str, due: Mapping[str, str]) -> Loss:
    calls = ", ".join(f"{name} ({id_})" for id_, name in due.items())
    return Loss("call_without_result", f"before {here} no result has come of {calls}")


def in_json(arguments: Json) -> str:
    """Arguments as text: some datasets hold the object itself, or null where there are none."""
    if isinstance(arguments, str):
        return arguments
    return orjson.dumps({} if arguments is None else arguments).decode()


def _tool(value: Json, place: str) -> Tool:
    function = value.get("function") if isinstance(value, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(function, Mapping):
        raise ValueError(f"{place} must be {{type: function, function: {{...}}}}: {value!r:.80}")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{place}.function.name must be a text, got {name!r:.80}")
    parameters = function.get("parameters")
    if parameters is None or parameters == {}:
        parameters = NOTHING
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise ValueError(f"{place} {name}: parameters must be of an object: {parameters!r:.80}")
    try:
        schema = Schema.of(name, {"type": "object", **parameters})
    except ValueError as error:
        raise ValueError(f"{place} {name}: parameters: {error}") from error
    said: Mapping[str, Any] = parameters
    # What is required is an argument too, though nothing more be said of it.
    names = frozenset([*said.get("properties", ()), *said.get("required", ())])
    open_ = parameters.get("additionalProperties", False) is not False
    return Tool(name=name, told=value, schema=schema, names=None if open_ else names)


def _json(text: str, what: str) -> Json:
    try:
        return clean(orjson.loads(text))
    except ValueError as error:  # what a row cannot hold is not JSON to anybody after it
        raise ValueError(f"{what} is a text that is not JSON: {error}") from error
