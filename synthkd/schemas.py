"""What an answer in JSON must look like: a JSON Schema, and the check against it.

    schema = Schema.of("invoice", {"type": "object", "properties": {"total": {"type": "number"}}})
    schema.read('{"total": "7"}').faults      # ('total: Input should be a valid number, got "7"',)

A schema comes out of a prompt's front matter, or of a pydantic model. The check is pydantic's own:
a schema is translated into what pydantic compiles a model to. What the translation does not know is
refused when the schema is loaded, never skipped: a check that is quietly weaker than the schema
would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import CoreSchema, SchemaError, SchemaValidator, core_schema

from synthkd.rows import Fields, Json, clean

MOST_FAULTS = 5
"""Faults that are told: a model mends a few at a time, and people read a few."""

ABOUT = {"title", "description", "default", "examples", "format", "deprecated", "readOnly",
         "writeOnly", "$schema", "$id", "$comment", "discriminator"}  # fmt: skip
"""Keywords that say something about a value and demand nothing of it."""
WHOLE = {"enum", "const", "anyOf", "$ref"}
"""Keywords that say by themselves what a value is."""
OF_TYPE: Mapping[str, set[str]] = {
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set(),
    "null": set(),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
_FENCED = re.compile(r"```(?:json)?[ \t\r]*+\n(.*)\n[ \t]*+```", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read from an answer."""

    value: Json = None
    faults: tuple[str, ...] = ()
    """Where the answer departs from the schema; empty = `value` fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A schema that answers are checked against; made by `of` or `of_model`."""

    name: str
    """What the provider is told that it is called."""
    wire: Fields
    """The JSON Schema as it goes out."""
    check: Callable[[str], object] = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, schema: Mapping[str, Any]) -> Schema:
        """From a JSON Schema.

        Raises:
            ValueError: it is none, or asks for what cannot be checked here; the message says where.
        """
        wire = clean(schema)
        assert isinstance(wire, Mapping)  # noqa: S101  it was one
        try:
            check = SchemaValidator(_Translation(wire).whole())
        except SchemaError as error:  # a pattern that is none, a bound of the wrong type
            told = " ".join(str(error).split())  # it comes in several lines
            raise ValueError(f"the schema cannot be checked: {told}") from error
        return cls(
            name=_plain(name), wire=wire, check=lambda text: check.validate_json(text, strict=True)
        )

    @classmethod
    def of_model(cls, model: type[BaseModel]) -> Schema:
        """From a pydantic model, which checks with all the validators that it has."""
        return cls(
            name=_plain(model.__name__),
            wire=model.model_json_schema(),
            check=model.model_validate_json,
        )

    @property
    def response_format(self) -> Fields:
        """What the API is told. `strict` only where the schema is as closed as providers want."""
        told: Fields = {"name": self.name, "schema": self.wire, "strict": _is_closed(self.wire)}
        return {"type": "json_schema", "json_schema": told}

    def read(self, text: str) -> Read:
        """The value in an answer: JSON, alone or in one fence."""
        if fenced := _FENCED.fullmatch(text.strip()):
            text = fenced[1]
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return Read(faults=(f"it is not JSON: {error}",))
        try:
            self.check(text)
        except ValidationError as error:
            return Read(value=value, faults=_told(error))
        return Read(value=value)


def _told(error: ValidationError) -> tuple[str, ...]:
    faults = error.errors(include_url=False, include_context=False)
    told = [
        f"{_place(fault['loc'])}: {fault['msg']}, got "
        f"{orjson.dumps(fault['input'], default=str).decode():.80}"
        for fault in faults[:MOST_FAULTS]
    ]
    more = len(faults) - MOST_FAULTS
    return (*told, f"and {more} more") if more > 0 else tuple(told)


def _place(path: tuple[int | str, ...]) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return place.removeprefix(".") or "the whole"


def _plain(name: str) -> str:
    """Providers take letters, digits, _ and -, 64 of them."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _is_closed(schema: Json) -> bool:
    """Whether every object in it lists all its fields as required and allows no other."""
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if schema.get("type") == "object" or isinstance(properties, Mapping):
            required = schema.get("required") or ()
            names = set(properties) if isinstance(properties, Mapping) else set()
            if schema.get("additionalProperties") is not False or names != set(_texts(required)):
                return False
        return all(map(_is_closed, schema.values()))
    return all(map(_is_closed, schema)) if isinstance(schema, list | tuple) else True


def _texts(value: Json) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


class _Translation:
    """A JSON Schema in the words of pydantic's core."""

    def __init__(self, schema: Mapping[str, Json]) -> None:
        self._schema = {k: v for k, v in schema.items() if k not in {"$defs", "definitions"}}
        self._definitions: dict[str, Json] = {}
        for place in ("$defs", "definitions"):
            named = schema.get(place, {})
            if not isinstance(named, Mapping):
                raise ValueError(f"{place} must be an object of schemas, got {named!r:.60}")
            self._definitions |= {f"#/{place}/{name}": each for name, each in named.items()}

    def whole(self) -> CoreSchema:
        """The schema with all that it refers to."""
        schema = self._of(self._schema, "")
        self._come_to_an_end()
        named: list[CoreSchema] = [
            # A union of one: a reference to a reference cannot have a name of its own.
            core_schema.union_schema([self._of(each, name.lstrip("#/"))], ref=name)
            for name, each in self._definitions.items()
        ]
        return core_schema.definitions_schema(schema, named) if named else schema

    def _come_to_an_end(self) -> None:
        """Refuse references that come round for the very same value: a check by them never ends.

        Raises:
            ValueError: the message says on which way.
        """
        graph = {name: _same_value(each) for name, each in self._definitions.items()}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            way = " to ".join(error.args[1])
            raise ValueError(f"$ref goes round in circles, no value fits or fails: {way}") from None

    def _of(self, schema: Json, place: str) -> CoreSchema:
        if schema is True:
            return core_schema.any_schema()
        if not isinstance(schema, Mapping):
            raise ValueError(f"{place or 'json_schema'} must be a schema, got {schema!r:.60}")
        says = schema.keys() - ABOUT
        kinds = schema.get("type")
        if isinstance(kinds, list):
            self._know(
                says, {"type", "enum"}.union(*(OF_TYPE.get(str(k), ()) for k in kinds)), place
            )
            if "enum" not in says:
                return core_schema.union_schema(
                    [self._of(_narrowed(schema, str(kind)), place) for kind in kinds]
                )
        if whole := says & WHOLE:
            self._know(says, {*whole, "type"} if whole & {"enum", "const"} else whole, place)
            return self._whole_value(schema, min(whole), place)
        if kinds is None:
            self._know(says, set(), place)
            return core_schema.any_schema()
        if not isinstance(kinds, str) or kinds not in OF_TYPE:
            raise ValueError(
                f"{place or 'json_schema'}: type must be one of {', '.join(OF_TYPE)}, got {kinds!r}"
            )
        self._know(says, OF_TYPE[kinds] | {"type"}, place)
        return self._typed(schema, kinds, place)

    def _know(self, says: set[str], known: set[str], place: str) -> None:
        if unknown := sorted(says - known):
            raise ValueError(
                f"{place or 'json_schema'}: the keyword {unknown[0]!r} cannot be checked here; "
                f"there may stand {', '.join(sorted(known)) or 'a type, enum, const, anyOf, $ref'}"
            )

    def _whole_value(self, schema: Mapping[str, Json], word: str, place: str) -> CoreSchema:
        told = schema[word]
        if word == "$ref":
            if not isinstance(told, str) or told not in self._definitions:
                raise ValueError(f"{place or 'json_schema'}: $ref {told!r} names none of $defs")
            return core_schema.definition_reference_schema(told)
        if word == "const":
            told = [told]
        if not isinstance(told, list) or not told:
            raise ValueError(f"{place or 'json_schema'}: {word} must be a list, got {told!r:.60}")
        if word == "anyOf":
            return core_schema.union_schema(
                [self._of(one, f"{place}.anyOf[{n}]".lstrip(".")) for n, one in enumerate(told)]
            )
        return _one_of(told, f"{place or 'json_schema'}: {word}")

    def _typed(self, schema: Mapping[str, Any], kind: str, place: str) -> CoreSchema:
        get = schema.get
        if kind == "object":
            return self._object(schema, place)
        if kind == "array":
            return core_schema.list_schema(
                self._of(get("items", True), f"{place}[]"),
                min_length=get("minItems"),
                max_length=get("maxItems"),
            )
        if kind == "string":
            return core_schema.str_schema(
                min_length=get("minLength"), max_length=get("maxLength"), pattern=get("pattern")
            )
        if kind in {"integer", "number"}:
            number = core_schema.int_schema if kind == "integer" else core_schema.float_schema
            return number(
                ge=get("minimum"),
                le=get("maximum"),
                gt=get("exclusiveMinimum"),
                lt=get("exclusiveMaximum"),
                multiple_of=get("multipleOf"),
            )
        return core_schema.bool_schema() if kind == "boolean" else core_schema.none_schema()

    def _object(self, schema: Mapping[str, Any], place: str) -> CoreSchema:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not (
            isinstance(required, list) and len(_texts(required)) == len(required)
        ):
            raise ValueError(
                f"{place or 'json_schema'}: properties must be an object and required a list of"
                " names"
            )
        others = schema.get("additionalProperties", True)
        fields = {
            name: core_schema.typed_dict_field(
                self._of(properties.get(name, True), f"{place}.{name}".lstrip(".")),
                required=name in required,
            )
            for name in dict.fromkeys([*properties, *required])
        }
        if others is False:
            return core_schema.typed_dict_schema(fields, extra_behavior="forbid")
        return core_schema.typed_dict_schema(
            fields,
            extra_behavior="allow",
            extras_schema=self._of(others, f"{place}.*".lstrip(".")),
        )


def _one_of(values: Sequence[Json], place: str) -> CoreSchema:
    """Those values alone. Each number by itself: to Python true is 1, to JSON it is not."""
    words = [value for value in values if isinstance(value, str | None)]
    choices: list[CoreSchema | tuple[CoreSchema, str]] = (
        [core_schema.literal_schema(words)] if words else []
    )
    for value in values:
        if isinstance(value, bool):
            one = core_schema.literal_schema([value])
            choices.append(core_schema.chain_schema([core_schema.bool_schema(strict=True), one]))
        elif isinstance(value, int):
            choices.append(core_schema.int_schema(strict=True, ge=value, le=value))
        elif isinstance(value, float):
            choices.append(core_schema.float_schema(strict=True, ge=value, le=value))
        elif not isinstance(value, str | None):
            raise ValueError(f"{place} must hold plain values, got {value!r:.60}")
    return core_schema.union_schema(choices)


def _same_value(schema: Json) -> list[str]:
    """What a schema refers to for the very value that it is about, and not for a part of it."""
    if not isinstance(schema, Mapping):
        return []
    either = schema.get("anyOf")
    told = [schema.get("$ref")] if "$ref" in schema else []
    among = (
        [name for one in either for name in _same_value(one)] if isinstance(either, list) else []
    )
    return [*_texts(told), *among]


def _narrowed(schema: Mapping[str, Json], kind: str) -> dict[str, Json]:
    """The schema for one of its types alone."""
    known = OF_TYPE.get(kind, set())
    kept = {word: value for word, value in schema.items() if word in known}
    return {**kept, "type": kind}
