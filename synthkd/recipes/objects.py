"""The JSON objects that a judge's reply says itself, and not what it quotes.

A judged answer may hold an object that looks like a verdict, and a judge may quote it. So an object
counts only where nothing can have been left out: it is the whole reply or the last thing in it, on
lines of its own, perhaps fenced, and no object before it was begun and never came to an end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from synthkd.text import equivalent

MOST_BRACES = 200
"""Places in a reply where a JSON object is looked for: more are noise, and each costs time."""
_FENCE = re.compile(r"\A```[\w-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_BEGINS = re.compile(r"""\{\s{0,20}(?:["'\u201c]|[\w -]{1,60}:)""")
"""What begins an object, though it may be cut, or be no JSON."""


def begins_object(text: str) -> bool:
    """Whether an object begins somewhere: then no sentence around it is the verdict."""
    return _BEGINS.search(text) is not None


def is_whole_object(text: str) -> bool:
    """Whether the reply is one JSON object, perhaps fenced, and nothing else: it cannot be cut."""
    text = text.strip()
    fenced = _FENCE.match(text)
    text = fenced[1].strip() if fenced else text
    value, end = _object_at(text, 0) if text.startswith("{") else (None, 0)
    return value is not None and end == len(text)


def own_objects(text: str) -> Sequence[Mapping[str, Any]]:
    """Every JSON object in a reply that ends with one, the outermost of each place, in order.

    Empty where the reply does not end with an object of its own, where one was begun that cannot be
    read (what comes later may be inside it, as a quotation), and where there are too many braces.
    """
    text = text.rstrip().removesuffix("```").rstrip()
    found: list[Mapping[str, Any]] = []
    last = slice(0, 0)
    start, tries = text.find("{"), 0
    while start >= 0:
        if tries == MOST_BRACES:
            return ()
        value, end = _object_at(text, start)
        if value is not None:
            found.append(value)
            last = slice(start, end)
        elif _BEGINS.match(text, start):
            return ()
        start, tries = text.find("{", end), tries + 1
    line_before = text[: last.start].rpartition("\n")[2]
    return found if last.stop == len(text) and not line_before.strip() else ()


def _object_at(text: str, start: int) -> tuple[Mapping[str, Any] | None, int]:
    """The object that begins at this brace, and where it ends; None = none, and the next place."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):  # cut, no JSON, or nested beyond any sense
        return None, start + 1
    return value, end


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says two things under one name, however it is spelt, says neither."""
    value = dict(pairs)
    if len({equivalent(name) for name in value}) < len(pairs):
        raise ValueError("a name stands twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_no_twins)
