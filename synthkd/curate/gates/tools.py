"""`gate.tools`: conversations with tool calls must keep to the tools that they declare.

For data of others, or after steps that have changed a conversation: `tools` itself yields nothing
that this gate would reject. Nothing is called and nothing is run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from synthkd.errors import MissingField, Rejected
from synthkd.recipes.toolcalls import declared, trajectory_faults
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step


class GateToolsConfig(StepSettings):
    """Where the conversation and the tools are."""

    messages: str = "messages"
    """The field with the conversation, a list or its JSON."""
    tools: str = "tools"
    """The field with the declarations, a list or its JSON."""


@step("gate.tools", needs=lambda config: (config.messages, config.tools))
async def gate_tools(row: Row, kit: Kit, config: GateToolsConfig, /) -> AsyncIterator[Row]:
    """Keep conversations whose every call fits a declared tool, and has one result.

    Rejects `bad_tools` (declarations that cannot be checked), `bad_message`, `unknown_tool`,
    `bad_arguments`, `twice_called`, `result_without_call`, `call_without_result`,
    `no_final_answer`; of several faults the first. Figures: all faults by their reason.
    """
    for name in (config.messages, config.tools):
        if name not in row.fields:
            raise MissingField(f"the row has no field {name!r}")
    try:
        tools = declared(row.fields[config.tools])
    except ValueError as error:
        raise Rejected("bad_tools", str(error)) from error
    faults = trajectory_faults(row.fields[config.messages], tools)
    for fault in faults:
        kit.count(fault.reason)
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise Rejected(faults[0].reason, faults[0].detail + more)
    yield row
