"""The items of a reply that is a list of short texts. Pure: text in, a `Listed` out.

Read are JSON (a list, an object with one, a list of objects with one text each, an object whose
keys are numbers), alone, in a fence or cut in the middle, and lines that begin with a number or a
bullet. Anything else is no list: what
a teacher says in passing must not become knowledge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from synthkd.graphs.notation import json_values
from synthkd.rows import Json

MOST_ITEMS = 1_000
"""Of one reply: what goes on for ever ends there."""
_BULLET = re.compile(r"\s*(?:\d{1,4}[.):]|[-*\u2022])\s+(?=\S)")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.){0,500}"')
_LIST = re.compile(r"\[\s*(?:\"|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a reply lists."""

    items: list[str] = field(default_factory=list)
    """Each on one line, without its number, in order; twice where it stands twice."""
    cut: bool = False
    """Whether the list did not come to its end; what is whole is read."""
    is_list: bool = True
    """False = nothing of the kind stands there."""


def read_list(text: str, *, ended: bool = True) -> Listed:
    """The items of a reply.

    Args:
        text: the reply as it came.
        ended: whether the teacher came to its end; else the last of several lines is half an item.
    """
    text = text.lstrip("\ufeff")
    values = list(json_values(text))
    whole = [item for value in values if value is not None for item in _texts(value)]
    if whole:
        cut = None in values and not text.rstrip().endswith(("]", "}", "```"))
        return Listed(items=_clean(whole), cut=cut)
    if None in values and _LIST.search(text):
        return Listed(items=_clean(_quoted(text)), cut=True)
    lines = [_BULLET.match(line) for line in text.split("\n")]
    found = [line.string[line.end() :] for line in lines if line is not None]
    is_empty = any(value in ([], {}) for value in values)
    if found and not is_empty:  # brackets in passing are no list: "Here they are [1]:"
        is_half = not ended and lines[-1] is not None
        return Listed(items=_clean(found[:-1] if is_half else found), cut=not ended)
    said = is_empty or any(isinstance(value, Sequence) for value in values if value is not None)
    return Listed(is_list=said)


def _texts(value: Json, *, is_item: bool = False) -> Iterator[str]:
    """The texts in a JSON value: of an object with a list, those of the list alone.

    An object without a list has one where its keys are numbers; as an item of a list it is its one
    text. Of `{"error": "..."}` and of an item with several texts nobody can tell what is listed.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        parts = list(value.values())
        lists = [part for part in parts if isinstance(part, Sequence) and not isinstance(part, str)]
        texts = [part for part in parts if isinstance(part, str)]
        is_numbered = all(any(map(str.isdigit, key)) for key in value)
        if not lists and (is_numbered or (is_item and len(texts) == 1)):
            yield from texts
        inner: Sequence[Json] = lists or [part for part in parts if isinstance(part, Mapping)]
        for one in inner:
            yield from _texts(one)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item, is_item=True)


def _quoted(text: str) -> Iterator[str]:
    """What stands whole between quotes, in a list that was cut."""
    for match in _QUOTED.finditer(text):
        try:
            value = json.loads(match[0])
        except ValueError:  # a backslash of its own
            value = match[0][1:-1]
        yield str(value)


def _clean(items: Sequence[str] | Iterator[str]) -> list[str]:
    lines = (" ".join(item.split()) for item in items)
    return [line for line in lines if line][:MOST_ITEMS]
