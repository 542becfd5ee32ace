"""`instruct.instances`: inputs and outputs for instructions that have none.

Self-Instruct's second half (arXiv 2212.10560, section 2.3). A task that is a classification gets
the answer first, and then an input of which it is true: asked for inputs first, models write such
as have nearly always the same label. Every other task gets the input first, or none where it needs
none.

A row that has an output already, such as a seed, is handed on as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Annotated

from pydantic import Field

from synthkd.errors import MissingField, Rejected
from synthkd.kit import Kit
from synthkd.recipes.replies import give_up, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, step
from synthkd.teachers.request import Completion
from synthkd.text import equivalent, normalised, tail

SUPPLIES = ("instruction", "n")
SAYS: Mapping[str, bool] = {"yes": True, "no": False}
Instance = tuple[str, str]
"""Input, empty where there is none, and output."""


class InstancesSettings(StepSettings):
    """Settings of `instruct.instances`."""

    teacher: str
    """The teacher that writes."""
    samples: Annotated[int, Field(ge=1, le=50)] = 1
    """Instances of an instruction, at most; each becomes a row."""
    instruction: str = "instruction"
    """The field with the instruction."""
    input: str = "input"
    """The field for what it is applied to; empty text = nothing."""
    output: str = "output"
    """The field for the answer; a row that has text there is handed on as it is."""
    kind: str = "is_classification"
    """The field that says whether it is a classification; nobody is asked where it says so."""
    kind_prompt: str = "instruct/classification"
    """The prompt that asks whether it is one: yes or no."""
    input_first_prompt: str = "instruct/input_first"
    """The prompt for all other tasks; asks for JSON with `instances`."""
    output_first_prompt: str = "instruct/output_first"
    """The prompt for classifications; asks for JSON with `instances`."""

    @property
    def also_shown(self) -> list[str]:
        """The field that the teacher sees."""
        return [self.instruction]

    @property
    def calls_a_row(self) -> int:
        """Questions to the teacher about a row, at most; for the forecast."""
        return 2


def _needs(config: InstancesSettings) -> Iterable[str]:
    return (config.instruction,)


def _gives(config: InstancesSettings) -> Iterable[str]:
    return config.input, config.output, config.kind


@step("instruct.instances", needs=_needs, gives=_gives, supplies=SUPPLIES, fans_out=True)
async def instances(row: Row, kit: Kit, config: InstancesSettings, /) -> AsyncIterator[Row]:
    """Inputs and outputs for an instruction; rows that have an output are handed on.

    Discards instances as `empty_output`, `output_is_input`, `duplicate` or `conflicting` (one input
    with two outputs: neither is kept). Rejects `no_kind` (neither yes nor no), `no_instance`, or
    what is wrong with the reply.
    """
    fields = row.fields
    if isinstance(said := fields.get(config.output), str) and said.strip():
        given = fields.get(config.input)
        yield row.with_fields(**{config.input: given if isinstance(given, str) else ""})
        return
    task = fields.get(config.instruction)
    if not isinstance(task, str) or not task.strip():
        raise MissingField(f"{config.instruction!r} must be text, got {task!r:.80}")
    kind = fields.get(config.kind)
    keys: tuple[str, ...] = ()
    if not isinstance(kind, bool):
        reply = await _ask(kit, config, config.kind_prompt, {"instruction": task})
        kind, keys = _kind_of(reply), reply.keys
    prompt = config.output_first_prompt if kind else config.input_first_prompt
    reply = await _ask(kit, config, prompt, {"instruction": task, "n": config.samples})
    made = list(_usable(_read(reply), kit))[: config.samples]
    if not made:
        raise Rejected("no_instance", tail(reply.text))
    for given, said in made:
        told: dict[str, Json] = {config.input: given, config.output: said, config.kind: kind}
        yield row.with_fields(**told).with_made_by(*keys, *reply.keys)


async def _ask(
    kit: Kit, config: InstancesSettings, prompt: str, inputs: Mapping[str, Json]
) -> Completion:
    """A reply that something can be read from; without one the row ends."""
    reply = await kit.ask(prompt, inputs, teacher=config.teacher)
    if (loss := loss_of(reply)) is not None:
        give_up([reply], [loss])
    return reply


def _kind_of(reply: Completion) -> bool:
    """Whether the reply begins with yes."""
    kind = SAYS.get(equivalent(reply.text.split()[0]))
    if kind is None:
        raise Rejected("no_kind", f"neither yes nor no: {tail(reply.text)}")
    return kind


def _read(reply: Completion) -> Iterable[Instance]:
    value = reply.shaped.value if reply.shaped else None
    listed = value.get("instances") if isinstance(value, Mapping) else None
    for one in listed if isinstance(listed, list | tuple) else ():
        if isinstance(one, Mapping):
            yield str(one.get("input") or "").strip(), str(one.get("output") or "").strip()


def _usable(found: Iterable[Instance], kit: Kit) -> Iterable[Instance]:
    """Those that teach something, each once."""
    kept: dict[str, list[Instance]] = {}
    for given, said in found:
        others = kept.setdefault(normalised(given), [])
        if not said:
            kit.discard("empty_output", tail(given))
        elif normalised(said) == normalised(given):
            kit.discard("output_is_input", tail(said))
        elif normalised(said) in {normalised(other) for _, other in others}:
            kit.discard("duplicate", tail(given))
        else:
            others.append((given, said))
    for same in kept.values():
        if len(same) == 1:
            yield same[0]
        for given, said in same if len(same) > 1 else ():
            kit.discard("conflicting", f"{tail(said, 80)} for: {tail(given)}")
