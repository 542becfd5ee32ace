"""An instance of a JSON schema, and a value that is none: what a teacher says under a schema.

The schemas that pydantic writes are understood: objects, arrays, scalars with their bounds, enums,
constants, unions, references. What is not understood (`pattern`, say) is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthkd.fake_teacher.faults import Refusal, drawn

DEEPEST = 32
"""Levels: a schema that demands more holds itself without an end."""

SHALLOW = 4
"""Levels to which what need not be there is there all the same."""

FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "P1D",
    "email": "someone@somewhere.invalid",
    "uri": "https://somewhere.invalid/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
}


def instance(schema: Any, salt: bytes) -> Any:
    """A value that the schema accepts; the salt decides which.

    Raises:
        Refusal: the schema demands something that is not understood.
    """
    return _Maker(schema, salt).made(schema, "value", 0)


def misfit(schema: Any, salt: bytes) -> Any:
    """A value that the schema does not accept: a required field is missing, or the type is wrong.

    Raises:
        Refusal: as above.
    """
    maker = _Maker(schema, salt)
    value = maker.made(schema, "value", 0)
    top = maker.resolved(schema)
    if isinstance(value, dict) and (required := top.get("required")):
        return {name: item for name, item in value.items() if name != required[-1]}
    accepted = maker.types(schema)
    others = {"string": "not what was asked", "integer": 17, "array": [], "null": None}
    return next((other for name, other in others.items() if name not in accepted), None)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes values for one schema and those inside it."""

    root: Any
    salt: bytes

    def made(self, schema: Any, name: str, depth: int) -> Any:
        """A value for a part of the schema; `name` says where it stands."""
        schema = self.resolved(schema)
        if depth > DEEPEST:
            raise _refused(f"{name}, which holds itself without an end")
        if "const" in schema or "enum" in schema:
            return self._pick(schema["enum"] if "enum" in schema else [schema["const"]], name)
        variants = schema.get("anyOf") or schema.get("oneOf")
        if variants:
            return self.made(self._variant(variants, name, depth), name, depth + 1)
        kind = _type_of(schema)
        match kind:
            case "object":
                return self._object(schema, name, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer" | "number":
                return self._number(schema, name, whole=kind == "integer")
            case "boolean":
                return self._chance(name) < 0.5
            case "null":
                return None
        raise _refused(f"type {kind!r} of {name}")

    def resolved(self, schema: Any) -> Mapping[str, Any]:
        """The schema with its reference followed and its `allOf` merged."""
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise _refused(f"the schema {schema!r}")
        if "$ref" in schema:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return {**self.resolved(self._target(schema["$ref"])), **rest}
        merged: dict[str, Any] = {}
        for part in schema.get("allOf", ()):
            merged |= self.resolved(part)
        return {**merged, **schema}

    def types(self, schema: Any) -> set[str]:
        """The types that the schema accepts at its top."""
        schema = self.resolved(schema)
        parts = schema.get("anyOf") or schema.get("oneOf") or ()
        accepted = {kind for part in parts for kind in self.types(part)}
        kind = schema.get("type", ())
        accepted |= {kind} if isinstance(kind, str) else set(kind)
        return accepted | ({"integer"} if "number" in accepted else set())

    def _target(self, reference: Any) -> Any:
        target = self.root
        try:
            for part in str(reference).removeprefix("#").strip("/").split("/"):
                target = target[part] if part else target
        except (KeyError, TypeError):
            raise _refused(f"the reference {reference!r}") from None
        return target

    def _variant(self, variants: Sequence[Any], name: str, depth: int) -> Any:
        """One of a union; far down the one that ends it."""
        ending = [each for each in variants if self.types(each) & {"null", "string", "integer"}]
        return self._pick(ending if depth > SHALLOW and ending else variants, name)

    def _object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        properties = schema.get("properties", {})
        return {
            key: self.made(part, key if depth == 0 else f"{name}.{key}", depth + 1)
            for key, part in properties.items()
            if key in required or depth <= SHALLOW
        }

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first = list(schema.get("prefixItems", ()))
        least = schema.get("minItems", 0)
        wanted = 2 if depth <= SHALLOW and "items" in schema else 0
        length = max(least, len(first), min(wanted, schema.get("maxItems", wanted)))
        parts = first + [schema.get("items", {"type": "string"})] * (length - len(first))
        return [self.made(part, f"{name}[{i}]", depth + 1) for i, part in enumerate(parts)]

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if "pattern" in schema:
            raise _refused(f"the pattern of {name}")
        if "format" in schema:
            if schema["format"] not in FORMATS:
                raise _refused(f"the format {schema['format']!r} of {name}")
            return FORMATS[schema["format"]]
        text = f"{name} {int(self._chance(name) * 100)}"
        return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]

    def _number(self, schema: Mapping[str, Any], name: str, *, whole: bool) -> int | float:
        step = schema.get("multipleOf", 1 if whole else None)
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None or high > 0 else high - 10
        if high is None:
            high = low + max(10, 2 * (step or 1))
        chance = self._chance(name)
        if step is None:
            return float(low + (0.1 + 0.8 * chance) * (high - low))
        first, last = math.ceil(low / step), math.floor(high / step)
        first += "minimum" not in schema and first * step == schema.get("exclusiveMinimum")
        last -= "maximum" not in schema and last * step == schema.get("exclusiveMaximum")
        if first > last:
            raise _refused(f"the bounds of {name}, between which there is nothing")
        value = (first + int(chance * (last - first + 1))) * step
        return int(value) if whole else float(value)

    def _pick(self, among: Sequence[Any], name: str) -> Any:
        if not among:
            raise _refused(f"{name}, which nothing fits")
        return among[int(self._chance(name) * len(among))]

    def _chance(self, name: str) -> float:
        return drawn(self.salt, name)


def _type_of(schema: Mapping[str, Any]) -> Any:
    """The type to make: the first that is not null."""
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return next((each for each in kind if each != "null"), "null") if type(kind) is list else kind


def _refused(what: str) -> Refusal:
    return Refusal(400, f"the fake teacher's schemas do not know {what}", "invalid_json_schema")
