"""What tests of gates share."""

from __future__ import annotations

from typing import Any

from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.kit import Kit
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step


async def passes(name: str, settings: dict[str, Any], **fields: Json) -> bool:
    """Whether the gate yields the row it was given; raises what the gate raises."""
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    gate = find_step(name)
    assert isinstance(gate, Step)
    config = gate.config.model_validate(settings)
    kit = Kit(Desk(step=name), row.id)
    return [out async for out in gate.run(row, kit, config)] == [row]


async def reason_of(name: str, settings: dict[str, Any], text: str) -> str | None:
    """Why the gate rejects the text, as `reason: detail`; None = it passes."""
    try:
        assert await passes(name, {"field": "text", **settings}, text=text)
    except Rejected as rejected:
        return str(rejected)
    return None
