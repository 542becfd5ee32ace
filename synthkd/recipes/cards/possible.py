"""What no value could ever fit: contradictions in a JSON Schema, each with its place.

    >>> list(impossible({"type": "integer", "minimum": 5, "maximum": 3}))
    ['the whole: minimum 5 is above maximum 3']

A teacher that is asked for the impossible is asked for ever, so this is said before it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from synthkd.rows import Json

BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
    ("minimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "maximum"),
)
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list, tuple),
    "object": (Mapping,),
}


def impossible(schema: Mapping[str, Any]) -> Iterator[str]:
    """Every contradiction, as `place: what it is`; nothing = some value may fit.

    Args:
        schema: one that `synthkd.schemas.Schema.of` takes; a contradiction in a part that nothing
            demands is told too, since it was hardly meant.
    """
    yield from _in(schema, "")
    for place in ("$defs", "definitions"):
        for name, part in dict(schema.get(place, {})).items():
            yield from _in(part, f"{place}.{name}")
            if _needs_itself(f"#/{place}/{name}", part, schema, set()):
                yield f"{place}.{name}: needs a value of its own kind inside of it, without end"


def _in(schema: Any, place: str) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    where = place or "the whole"
    yield from (f"{where}: {fault}" for fault in (*_bounds(schema), *_values(schema)))
    properties = schema.get("properties") or {}
    if schema.get("additionalProperties") is False:
        for name in schema.get("required") or ():
            if name not in properties:
                yield f"{where}: {name!r} is required, and is no property, and no other is allowed"
    for name, part in dict(properties).items():
        yield from _in(part, f"{place}.{name}".lstrip("."))
    yield from _in(schema.get("items"), f"{place}[]")
    yield from _in(schema.get("additionalProperties"), f"{place}.*".lstrip("."))
    for number, part in enumerate(schema.get("anyOf") or ()):
        yield from _in(part, f"{place}.anyOf[{number}]".lstrip("."))


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for least, most in BOUNDS:
        low, high = schema.get(least), schema.get(most)
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            continue
        is_open = least.startswith("excl") or most.startswith("excl")
        if low > high or (is_open and low == high):
            yield f"{least} {low} is {'above' if low > high else 'not below'} {most} {high}"
        elif schema.get("type") == "integer" and not _has_integer(schema):
            yield f"there is no integer between {least} {low} and {most} {high}"
    for size in ("minLength", "maxLength", "minItems", "maxItems"):
        if isinstance(value := schema.get(size), int | float) and value < 0:
            yield f"{size} {value} is below 0"
    step = schema.get("multipleOf")
    if isinstance(step, int | float) and step <= 0:
        yield f"multipleOf {step} must be above 0"


def _has_integer(schema: Mapping[str, Any]) -> bool:
    """Whether an integer lies between all the bounds."""
    low = max(
        math.ceil(schema.get("minimum", -math.inf)) if "minimum" in schema else -math.inf,
        math.floor(schema["exclusiveMinimum"]) + 1 if "exclusiveMinimum" in schema else -math.inf,
    )
    high = min(
        math.floor(schema["maximum"]) if "maximum" in schema else math.inf,
        math.ceil(schema["exclusiveMaximum"]) - 1 if "exclusiveMaximum" in schema else math.inf,
    )
    return low <= high


def _values(schema: Mapping[str, Any]) -> Iterator[str]:
    """Lists of values without any, or with none of the type."""
    for word in ("enum", "anyOf"):
        if word in schema and not schema[word]:
            yield f"{word} is empty: list at least one"
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    kinds = schema.get("type")
    named = [kinds] if isinstance(kinds, str) else list(kinds or ())
    if values and named and not any(_is(value, kind) for value in values for kind in named):
        yield f"none of {values!r:.80} is of the type {' or '.join(named)}"


def _is(value: Json, kind: str) -> bool:
    if isinstance(value, bool) and kind in {"integer", "number"}:
        return False
    return isinstance(value, TYPES.get(kind, ()))


def _needs_itself(name: str, part: Any, schema: Mapping[str, Any], seen: set[str]) -> bool:
    """Whether a value of that definition must hold another one, which must hold another one."""
    if not isinstance(part, Mapping):
        return False
    if (target := part.get("$ref")) is not None:
        if target == name:
            return True
        if target in seen:
            return False
        _, where, other = str(target).split("/", 2)
        return _needs_itself(name, (schema.get(where) or {}).get(other), schema, {*seen, target})
    inside = [(part.get("properties") or {}).get(each) for each in part.get("required") or ()]
    if isinstance(part.get("minItems"), int) and part["minItems"] > 0:
        inside.append(part.get("items"))
    ways = part.get("anyOf")
    if ways and all(_needs_itself(name, way, schema, seen) for way in ways):
        return True
    return any(_needs_itself(name, each, schema, seen) for each in inside)
