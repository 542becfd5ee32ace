"""A task card: what one task is, so that rows can be written, checked and learnt for it.

    name: ticket_urgency
    about: Support agents see the urgent messages first.
    instruction: Say how urgent the customer's message is, and why in a few words.
    inputs:
      message: {type: string, description: what the customer wrote}
    output:                              # a JSON Schema, as synthkd.schemas reads it
      type: object
      properties: {urgency: {enum: [low, high]}, why: {type: string}}
      required: [urgency, why]
      additionalProperties: false
    accept:                              # synthkd.recipes.cards.rules
      - {rule: words, of: output.why, least: 1, most: 12}

Examples:
      - inputs: {message: My parcel has not come and I leave today.}
        output: {urgency: high, why: leaves today}
    student: {prompt: cards/student, metrics: [record_exact, record_f1]}

A file `cards/ticket_urgency.yaml` is named `cards/ticket_urgency` and looked for beside the
pipeline, then where prompts are. A card that nothing could fit, or whose own examples do not, is
refused when the plan is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from synthkd.config import Settings
from synthkd.config.pipeline import MetricName
from synthkd.errors import ConfigError
from synthkd.pipeline_file import read_yaml
from synthkd.prompts import find_named, shipped_folder
from synthkd.recipes.cards.paths import parse, unknown
from synthkd.recipes.cards.possible import impossible
from synthkd.recipes.cards.rules import Rule, contradictions, told
from synthkd.rows import Json, clean
from synthkd.schemas import Schema

SUFFIX = ".yaml"
HOLDS = "name, about, instruction, inputs, output; see docs/recipes/cards.md"
TEXT = "string"
DEFINITIONS = ("$defs", "definitions")
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
InputName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]


class Example(Settings):
    """A row as it should be."""

    inputs: Mapping[str, Any]
    output: Any

    @model_validator(mode="before")
    @classmethod
    def _is_json(cls, raw: Any) -> Any:
        """YAML has more than JSON: keys that are numbers, integers of any length."""
        return clean(raw)


class StudentUse(Settings):
    """How a student of the task is asked and measured; see docs/recipes/cards.md."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: str = "cards/student"
    """The template that makes the student's question of instruction and input."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = ("exact_match",)
    """Names for `evaluate.metrics`."""


class Card(Settings):
    """See the module."""

    # `synthkd steps` shows what these say.
    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
    """What rows are told to belong to: their `task`."""
    about: Sentence
    """What the task is for."""
    instruction: Sentence
    """What the student is asked to do; the same in every row."""
    inputs: Annotated[Mapping[InputName, dict[str, Any]], Field(min_length=1)]
    """Name -> JSON Schema, with a `description`."""
    output: dict[str, Any]
    """A JSON Schema; `{type: string}` = free text."""
    accept: tuple[Rule, ...] = ()
    """What must hold beyond the schema."""
    examples: tuple[Example, ...] = ()
    """Shown with every question."""
    language: str = "English"
    """That inputs and outputs are written in; a task in two languages is two cards."""
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Its share of the rows, against the other cards of a step."""
    student: StudentUse = StudentUse()
    """How a student asks for the task, and what it is measured by."""

    @model_validator(mode="after")
    def _can_be_done(self) -> Card:
        faults = list(self._faults())
        if faults:
            raise ValueError(f"card {self.name!r}: {'; '.join(faults)}")
        return self

    def _faults(self) -> Iterator[str]:
        """Every fault with its place; examples are looked at where all else is sound."""
        found = list(self._faults_of_schemas())
        whole = self._wire("inputs", "output")
        for number, rule in enumerate(self.accept):
            faults = ((path, unknown(parse(path), whole)) for path in rule.paths)
            found += [f"accept[{number}]: {path}: {fault}" for path, fault in faults if fault]
        found += contradictions(self.accept)
        yield from found
        for number, example in enumerate(self.examples if not found else ()):
            yield from (f"examples[{number}]: {fault}" for fault in self.unfit(example))

    def _faults_of_schemas(self) -> Iterator[str]:
        for kind in ("inputs", "output"):
            wire = self._wire(kind)
            found = list(impossible(wire))
            yield from found
            try:
                Schema.of(kind, wire)
            except ValueError as error:
                if not found:  # of an empty enum this is the same fault again
                    yield f"{kind}: {error}"

    def unfit(self, example: Example) -> Iterator[str]:
        """Why a row is none of this card."""
        whole: Json = {"inputs": dict(example.inputs), "output": example.output}
        read = self.whole_schema.read(orjson.dumps(whole).decode())
        yield from read.faults
        for rule in self.accept if not read.faults else ():
            yield from (f"{loss.reason}: {loss.detail}" for _, loss in rule.broken(whole))

    @cached_property
    def whole_schema(self) -> Schema:
        """Of inputs and output together."""
        return Schema.of(f"{self.name}_row", self._wire("inputs", "output"))

    @cached_property
    def inputs_schema(self) -> Schema:
        """Of inputs alone."""
        return Schema.of(f"{self.name}_inputs", self._wire("inputs"))

    @cached_property
    def output_schema(self) -> Schema:
        """Of the output alone, which is inside of an object as providers want it."""
        return Schema.of(f"{self.name}_output", self._wire("output"))

    @property
    def _inputs_wire(self) -> dict[str, Any]:
        return _closed(self.inputs)

    def _wire(self, *kinds: str) -> dict[str, Any]:
        """An object with these parts; what the output's definitions name is taken up."""
        named: dict[str, Any] = {
            place: self.output[place] for place in DEFINITIONS if place in self.output
        }
        output = {word: value for word, value in self.output.items() if word not in named}
        parts = {"inputs": self._inputs_wire, "output": output}
        return {**_closed({kind: parts[kind] for kind in kinds}), **named}

    @cached_property
    def shown(self) -> dict[str, Json]:
        """What prompts are told of the card."""
        examples: list[Json] = [
            orjson.dumps({"inputs": dict(one.inputs), "output": one.output}).decode()
            for one in self.examples
        ]
        rules: list[Json] = [*told(self.accept)]
        return {
            "about": self.about,
            "instruction": self.instruction,
            "language": self.language,
            "inputs_schema": orjson.dumps(self._inputs_wire).decode(),
            "output_schema": orjson.dumps(self.output).decode(),
            "rules": rules,
            "examples": examples,
        }

    def asked_with(self, inputs: Mapping[str, Json]) -> str:
        """The inputs as the student reads them: a single one as it is, else `name: value` lines."""
        if list(self.inputs) == list(inputs) and len(inputs) == 1:
            (only,) = inputs.values()
            return _in_words(only)
        return "\n".join(f"{name}: {_in_words(inputs[name])}" for name in self.inputs)

    def answered_with(self, output: Json) -> str:
        """The output as the student writes it: text as it is, else JSON in the schema's order."""
        if isinstance(output, str) and self.output.get("type") == TEXT:
            return output
        return orjson.dumps(_in_order(output, self.output)).decode()


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _in_words(value: Json) -> str:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _in_order(value: Json, schema: Any) -> Json:
    """Objects with their fields as the schema lists them, whatever order the teacher had."""
    known = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, Mapping):
        properties = known.get("properties") or {}
        names = sorted(value, key=[*properties, *value].index)
        return {name: _in_order(value[name], properties.get(name)) for name in names}
    if isinstance(value, list | tuple):
        return [_in_order(one, known.get("items")) for one in value]
    return value


def load_card(name: str, folders: Sequence[Path]) -> Card:
    """The card of that name, from the first folder that has it.

    Raises:
        ValueError: there is none, or the file has faults; the message tells all of them.
    """
    path = find_named(
        name,
        folders,
        kind="card",
        suffix=SUFFIX,
        example="cards/ticket_urgency",
        within="the pipeline's or the prompts' folder",
    )
    try:
        raw = read_yaml(path, holds=HOLDS)
        return Card.model_validate(raw)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    except ValidationError as error:
        raise ValueError(f"{path}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    """Every fault with its place, on one line."""
    faults = [
        (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(f"{place}: {message}" if place else message for place, message in faults)


def _named_or_whole(value: Any, info: ValidationInfo) -> Any:
    """A card by its name; one that is written out is left to the model."""
    if not isinstance(value, str):
        return value
    folders = (info.context or {}).get("folders") or [Path("prompts"), shipped_folder("prompts")]
    return load_card(value, folders)


CardSetting = Annotated[Card, BeforeValidator(_named_or_whole)]
"""A card in a step's settings: its name, or the whole of it."""
