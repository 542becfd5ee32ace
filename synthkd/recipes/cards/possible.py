"""What no value could ever fit: contradictions in a JSON Schema, each with its place.

    >>> list(impossible({"type": "integer", "minimum": 5, "maximum": 3}))
    ['the whole: minimum 5 is above maximum 3']

A teacher that is asked for the impossible is asked for ever, so this is said before it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
        for name, part in _named(schema.get(place)).items():
            yield from _in(part, f"{place}.{name}")
            if _needs_itself(f"#/{place}/{name}", part, schema, set()):
                yield f"{place}.{name}: needs a value of its own kind inside of it, without end"


def _in(schema: Any, place: str) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    where = place or "the whole"
    yield from (f"{where}: {fault}" for fault in (*_bounds(schema), *_values(schema)))
    properties = _named(schema.get("properties"))
    if schema.get("additionalProperties") is False:
        for name in _listed(schema.get("required")):
            if name not in properties:
                yield f"{where}: {name!r} is required, and is no property, and no other is allowed"
    for name, part in properties.items():
        yield from _in(part, f"{place}.{name}".lstrip("."))
    yield from _in(schema.get("items"), f"{place}[]")
    yield from _in(schema.get("additionalProperties"), f"{place}.*".lstrip("."))
    for number, part in enumerate(_listed(schema.get("anyOf"))):
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
        if schema.get(word) == []:
            yield f"{word} is empty: list at least one"
    values = _listed(schema.get("enum")) or ([schema["const"]] if "const" in schema else [])
    kinds = schema.get("type")
    named = [kinds] if isinstance(kinds, str) else _listed(kinds)
    if values and named and not any(_is(value, str(kind)) for value in values for kind in named):
        yield f"none of {values!r:.80} is of the type {' or '.join(map(str, named))}"


def _listed(value: Any) -> Sequence[Any]:
    """A list; what is none is a fault that `Schema.of` tells."""
    return value if isinstance(value, list | tuple) else ()


def _named(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


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
        if target in seen or str(target).count("/") < 2:
            return False
        _, where, other = str(target).split("/", 2)
        return _needs_itself(name, _named(schema.get(where)).get(other), schema, {*seen, target})
    properties = _named(part.get("properties"))
    inside = [properties.get(each) for each in _listed(part.get("required"))]
    if isinstance(part.get("minItems"), int) and part["minItems"] > 0:
        inside.append(part.get("items"))
    ways = _listed(part.get("anyOf"))
    if ways and all(_needs_itself(name, way, schema, seen) for way in ways):
        return True
    return any(_needs_itself(name, each, schema, seen) for each in inside)
