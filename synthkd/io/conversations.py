"""Whole conversations as columns of a dataset: `messages`, and `tools` where they are called.

    messages: list of {role, content, tool_calls: list of {id, type, function: {name, arguments}},
              tool_call_id, name}
    tools:    JSON text, as TRL reads it

What a message does not have is null. Arguments are JSON text, as in OpenAI's API: columns carry
types, and each tool has arguments of its own. In Parquet that text is marked as JSON
(`arrow.json`), which `datasets` gives back as the objects that most chat templates want.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from synthkd.io.columns import json_text
from synthkd.rows import Json, Row

if TYPE_CHECKING:
    import pyarrow as pa

ROLES = ("system", "user", "assistant", "tool")
PLAIN, OF_TOOLS = ("role", "content"), ("tool_calls", "tool_call_id", "name")


def conversation_types(*, with_tools: bool) -> dict[str, pa.DataType]:
    """Column -> type."""
    import pyarrow as pa

    text = pa.string()
    plain = [pa.field(name, text) for name in PLAIN]
    if not with_tools:
        return {"messages": pa.list_(pa.struct(plain))}
    function = pa.struct([pa.field("name", text), pa.field("arguments", pa.json_())])
    call = pa.struct([pa.field("id", text), pa.field("type", text), pa.field("function", function)])
    more = [pa.field("tool_calls", pa.list_(call)), *(pa.field(n, text) for n in OF_TOOLS[1:])]
    return {"messages": pa.list_(pa.struct([*plain, *more])), "tools": text}


def conversation_fault(row: Row, messages: str, tools: str | None) -> str | None:
    """Why a row cannot go out as a conversation; None = it can.

    Without `tools` no call may be in it: a column for it is missing, and it would be lost.
    """
    value = row.fields.get(messages)
    if not isinstance(value, list | tuple) or not value:
        return f"{messages!r}, which export.messages names, is no conversation: {value!r:.80}"
    for place, one in enumerate(value):
        here = f"{messages}[{place}]"
        if not isinstance(one, Mapping) or one.get("role") not in ROLES:
            return f"{here} is no message with a role of {', '.join(ROLES)}: {one!r:.80}"
        if tools is None and (one["role"] == "tool" or one.get("tool_calls")):
            return f"{here} is of tools: name the field of their declarations in export.tools"
        content, calls = one.get("content"), one.get("tool_calls")
        if not isinstance(content, str) and not (content is None and calls):
            return f"{here}.content must be a text, got {content!r:.80}"
        if calls and not (isinstance(calls, list | tuple) and all(map(_is_call, calls))):
            return (
                f"{here}.tool_calls must be of {{id, function: {{name, arguments: JSON}}}}:"
                f" {calls!r:.160}"
            )
    if tools is not None and not (row.fields.get(tools) and _is_json(row.fields[tools])):
        return f"{tools!r}, which export.tools names, holds no tools: {row.fields.get(tools)!r:.80}"
    return None


def conversation_values(row: Row, messages: str, tools: str | None) -> dict[str, Any]:
    """What a row has in those columns; `conversation_fault` has found nothing."""
    value: Any = row.fields[messages]
    if tools is None:
        return {"messages": [{name: one[name] for name in PLAIN} for one in value]}
    declared = row.fields[tools]
    return {
        "messages": [_message(one) for one in value],
        "tools": declared if isinstance(declared, str) else json_text(declared),
    }


def _is_call(value: Json) -> bool:
    function = value.get("function") if isinstance(value, Mapping) else None
    return (
        isinstance(function, Mapping)
        and isinstance(function.get("name"), str)
        and _is_json(function.get("arguments"))
    )


def _is_json(value: Json) -> bool:
    """Of a text, whether it is JSON: the columns say so, and nobody checks it after this."""
    if not isinstance(value, str):
        return True
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


def _message(one: Mapping[str, Any]) -> dict[str, Any]:
    calls = one.get("tool_calls")
    return {
        "role": one["role"],
        "content": one.get("content") or "",
        "tool_calls": [_call(call) for call in calls] if calls else None,
        "tool_call_id": _text(one.get("tool_call_id")),
        "name": _text(one.get("name")),
    }


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json_text({} if arguments is None else arguments)
    told = {"name": function["name"], "arguments": arguments}
    return {"id": _text(call.get("id")), "type": "function", "function": told}


def _text(value: Json) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)
