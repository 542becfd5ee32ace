"""Entities out of what a teacher wrote: names with their types. Pure, nothing is raised.

>>> read_entities('[{"name": "Ada", "type": "person"}, {"name": "Lon').entities
[Entity(name='Ada', type='person')]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from synthkd.graphs.notation import json_values
from synthkd.graphs.triple import LONGEST_PART, spelling
from synthkd.rows import Json
from synthkd.text import answer_text

_NAMES = ("name", "entity", "mention", "text")
_TYPES = ("type", "label", "kind")
_STRING = re.compile(r"\"([^\"\\]{1,600})\"")


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody or something that has a name."""

    name: str
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a reply lists."""

    entities: list[Entity] = field(default_factory=list)
    """In the order of the reply, each spelling of a name once."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """What could not be used: (`empty_part` | `too_long` | `cut`, the part)."""
    is_list: bool = False
    """Whether there is any JSON; a reply without says nothing."""


def read_entities(text: str) -> Listed:
    """The entities in a reply: JSON, a list of names or of objects with `name` and `type`.

    Alone, in a fence or in an object; what was cut keeps the names that are whole.
    """
    text = text.lstrip("\ufeff")
    found: dict[str, Entity] = {}
    faults: list[tuple[str, str]] = []
    values = list(json_values(text))
    for value in values:
        _from_value(value, found, faults)
    if None in values:
        if not found:  # names alone, and the list does not close
            _from_value(_STRING.findall(text[text.find("[") + 1 :]), found, faults)
        faults.append(("cut", text[-80:]))
    return Listed(entities=list(found.values()), faults=faults, is_list=bool(values))


def _from_value(value: Json, found: dict[str, Entity], faults: list[tuple[str, str]]) -> None:
    if isinstance(value, str):
        _take(Entity(value), found, faults)
    elif isinstance(value, Mapping):
        parts = {key.lower(): part for key, part in value.items()}
        name = next((parts[key] for key in _NAMES if key in parts), None)
        if name is None:
            lists = (part for part in parts.values() if _is_list(part))
            for part in lists:
                _from_value(part, found, faults)
        elif (said := answer_text(name)) is not None:
            kind = next((parts[key] for key in _TYPES if key in parts), None)
            _take(Entity(said, answer_text(kind)), found, faults)
    elif isinstance(value, Sequence):
        for part in value:
            if not _is_list(part):
                _from_value(part, found, faults)


def _is_list(value: Json) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _take(entity: Entity, found: dict[str, Entity], faults: list[tuple[str, str]]) -> None:
    name = " ".join(entity.name.split())
    key = spelling(name)
    if not key:
        faults.append(("empty_part", "an entity without a name"))
    elif len(name) > LONGEST_PART:
        faults.append(("too_long", name[:200]))
    else:
        found.setdefault(key, Entity(name, entity.type or None))
