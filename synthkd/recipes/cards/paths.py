"""Where a value stands in what belongs to a card: `inputs.text`, `output.events[].drug`.

>>> value = {"output": {"events": [{"drug": "A"}, {"drug": "B"}]}}
>>> [found.value for found in values_at(parse("output.events[].drug"), value)]
['A', 'B']
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from synthkd.hints import near
from synthkd.rows import Json

Step = str | int
EACH = "[]"
_PATH = re.compile(r"(?:inputs|output)(?:\.[^.\[\]]+|\[\])*")


class Found(NamedTuple):
    """A value, and the way to it."""

    steps: tuple[Step, ...]
    value: Json

    @property
    def place(self) -> str:
        """The way in words, such as `output.events[0].drug`."""
        return written(self.steps)


def written(steps: Sequence[Step]) -> str:
    """A way in words."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".").replace(f".{EACH}", EACH)


def parse(path: str) -> tuple[str, ...]:
    """The steps of a path: names, and `[]` for each item of a list.

    Raises:
        ValueError: it is none.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"{path!r:.80} is no path: begin with inputs or output, as in inputs.text or "
            "output.events[].drug"
        )
    return tuple(part for part in re.split(r"\.|(\[\])", path) if part)


def values_at(path: Sequence[str], value: Json) -> list[Found]:
    """The values there, from the left; what is not there (an optional field) is none."""
    found = [Found((), value)]
    for step in path:
        found = list(_next(found, step))
    return found


def _next(found: Sequence[Found], step: str) -> Iterator[Found]:
    for steps, value in found:
        if step == EACH:
            if isinstance(value, list | tuple):
                for number, item in enumerate(value):
                    yield Found((*steps, number), item)
        elif isinstance(value, Mapping) and step in value:
            yield Found((*steps, step), value[step])


def without(value: Any, steps: Sequence[Step]) -> Any:
    """The value without the innermost item of a list on this way.

    Raises:
        ValueError: the way goes through no list.
    """
    last = max((at for at, step in enumerate(steps) if isinstance(step, int)), default=-1)
    if last < 0:
        raise ValueError(f"{written(steps)} is in no list")
    return _without(value, steps[: last + 1])


def _without(value: Any, steps: Sequence[Step]) -> Any:
    first, *rest = steps
    if isinstance(value, Mapping):
        return {**value, first: _without(value[str(first)], rest)}
    items = list(value)
    assert isinstance(first, int)  # noqa: S101  a way through a list
    if rest:
        items[first] = _without(items[first], rest)
    else:
        del items[first]
    return items


def unknown(path: Sequence[str], schema: Mapping[str, Any]) -> str | None:
    """What of a path no value of this schema could have; None = it may all be there."""
    at: Any = schema
    for number, step in enumerate(path):
        at = _resolved(at, schema)
        if not isinstance(at, Mapping) or "anyOf" in at:
            return None  # may be anything
        there = written(path[:number]) or "it"
        if step == EACH:
            if at.get("type", "array") != "array":
                return f"{there} is no list"
            at = at.get("items", True)
            continue
        told = at.get("properties")
        properties = told if isinstance(told, Mapping) else {}
        if step in properties:
            at = properties[step]
        elif at.get("type", "object") != "object" or at.get("additionalProperties") is False:
            names = ", ".join(properties) or "no fields"
            return f"{there} has no {step!r}; it has {names}{near(step, properties)}"
        else:
            return None
    return None


def _resolved(part: Any, schema: Mapping[str, Any]) -> Any:
    for _ in range(100):  # a reference to a reference; one that goes round may be anything
        target = part.get("$ref") if isinstance(part, Mapping) else None
        if target is None or str(target).count("/") < 2:
            return part
        _, where, name = str(target).split("/", 2)
        there = schema.get(where)
        part = there.get(name) if isinstance(there, Mapping) else True
    return True
