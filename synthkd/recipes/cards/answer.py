"""`cards.answer`: a task card applied to inputs that are there: labelling by a card.

card: cards/adverse_events, text: "After aspirin he had nausea.", drugs: [aspirin]
-> output: {"events": [{"drug": "aspirin", "event": "nausea"}]}, held against schema and rules
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import orjson
from pydantic import Field

from synthkd.config import Count
from synthkd.errors import MissingField, Rejected, RowError
from synthkd.recipes.cards.card import CardSetting
from synthkd.recipes.cards.made import Made, checked
from synthkd.recipes.replies import Loss, discard_all, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, inputs_of, step


class AnswerSettings(StepSettings):
    """Settings of `cards.answer`."""

    teacher: str
    """The teacher to ask."""
    card: CardSetting
    """A card's name, such as cards/adverse_events, or the card itself."""
    inputs: Mapping[str, str] = Field(default={})
    """Input of the card -> field of the row; by default a field of the same name."""
    prompt: str = "cards/answer"
    """The prompt; gets about, instruction, language, output_schema, rules, examples and inputs."""
    longer: Count | None = None
    """Tokens: an answer that was cut is asked for again, once, with this `max_tokens`."""
    instruction: str = "instruction"
    """The field for what a student is asked."""
    output: str = "output"
    """The field for what it answers, as text."""
    value: str = "value"
    """The field for the same as a JSON value."""

    @property
    def also_shown(self) -> list[str]:
        """The fields that the teacher sees."""
        return [self.inputs.get(name, name) for name in self.card.inputs]


def _needs(config: AnswerSettings) -> Iterable[str]:
    return config.also_shown


def _gives(config: AnswerSettings) -> Iterable[str]:
    return config.instruction, "input", config.output, config.value, "task", "evidence"


@step(
    "cards.answer",
    needs=_needs,
    gives=_gives,
    supplies=(
        *("about", "instruction", "language", "inputs_schema", "output_schema", "rules"),
        *("examples", "inputs"),
    ),
)
async def answer(row: Row, kit: Kit, config: AnswerSettings, /) -> AsyncIterator[Row]:
    """Ask for the output of a card; what breaks its schema or its rules is no row.

    Gives `instruction`, `input`, `output` (text), `value` (JSON), `task` (the card's name) and
    `evidence` (where values stand that must stand in an input). Discards items of a rule with
    `each: drop`; rejects `bad_json`, `not_in_schema`, `outside_the_list` and the reasons of rules.
    """
    card = config.card
    inputs = _inputs(row, config)
    told = {**card.shown, "inputs": orjson.dumps(inputs).decode()}
    reply = await kit.ask(
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, **told),
        teacher=config.teacher,
        schema=card.output_schema,
        longer=config.longer,
    )
    loss = loss_of(reply)
    made: Made | Loss
    if loss is not None and loss.reason != "bad_json":
        made = loss
    else:
        value: Any = reply.shaped.value if reply.shaped is not None else None
        made = loss or Loss("bad_json", reply.text[:200])
        if isinstance(value, dict) and "output" in value:
            made = checked(card, {"inputs": inputs, "output": value["output"]})
    if isinstance(made, Loss):
        raise Rejected(*made)
    discard_all(kit, list(made.dropped))
    names = {"instruction": config.instruction, "output": config.output, "value": config.value}
    yield row.with_fields(**made.fields(**names))


def _inputs(row: Row, config: AnswerSettings) -> dict[str, Json]:
    """The card's inputs out of the row.

    Raises:
        MissingField: the row has not all of them.
        RowError: they do not fit the card.
    """
    inputs: dict[str, Json] = {}
    for name in config.card.inputs:
        field = config.inputs.get(name, name)
        if field not in row.fields:
            raise MissingField(f"the row has no field {field!r}, the card's input {name!r}")
        inputs[name] = row.fields[field]
    read = config.card.inputs_schema.read(orjson.dumps({"inputs": inputs}).decode())
    if read.faults:
        raise RowError(f"the row does not fit the card {config.card.name!r}: {read.faults[0]}")
    return inputs
