"""The items of a set or a list, as they are written: with commas, bullets, brackets or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from synthkd.answers.faults import NotRead
from synthkd.answers.settings import NUMERIC, AnswerSettings

BULLET = re.compile(r"\s*(?:[-*\u2022]|\d{1,3}[.)])\s+")
_AND = re.compile(r"\s+(?:and|&)\s+")
_FIRST_AND = re.compile(r"\A\s*(?:and|&)\s+")
_PAIRS = {"{": "}", "[": "]", "(": ")"}


def parts_of(words: str, config: AnswerSettings) -> list[Any]:
    """The items, still as they are written.

    Raises:
        NotRead: nothing is written.
    """
    text = words.strip().removesuffix(".").strip()
    if text.startswith("[") and (items := _json_list(text)) is not None:
        return items
    if not text:
        raise NotRead("nothing is said")
    if config.separator is None and "\n" in text:
        return [BULLET.sub("", line, count=1).strip() for line in text.split("\n") if line.strip()]
    if config.items not in NUMERIC:  # of a number it would be the sign
        text = BULLET.sub("", text, count=1) if BULLET.match(text) else text
    inner = _without_brackets(text)
    parts = [part for part in map(str.strip, _split(inner, config)) if part]
    if inner.strip() and not parts:
        raise NotRead(f"no item: {text!r:.200}")
    return parts


def _split(text: str, config: AnswerSettings) -> Iterator[str]:
    if config.separator is not None:
        yield from text.split(config.separator) if config.separator.strip() else text.split()
        return
    sign = ";" if ";" in text else ","
    for place, part in enumerate(_outside_brackets(text, sign, config)):
        if sign == ";":
            yield part
        else:
            yield from _AND.split(_FIRST_AND.sub("", part, count=1) if place else part)


def _outside_brackets(text: str, sign: str, config: AnswerSettings) -> Iterator[str]:
    """The parts between the signs that stand in no bracket and in no number."""
    depth = start = 0
    for at, character in enumerate(text):
        if character in _PAIRS:
            depth += 1
        elif character in _PAIRS.values():
            depth = max(0, depth - 1)
        elif character == sign and not depth and not _in_number(text, at, config):
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _in_number(text: str, at: int, config: AnswerSettings) -> bool:
    """Whether the comma groups thousands, or stands before decimals."""
    if config.items not in NUMERIC or text[at] != ",":
        return False
    behind = text[at + 1 : at + 5]
    if config.decimal == ",":
        return behind[:1].isdigit()
    return (
        text[at - 1 : at].isdigit()
        and len(behind) > 2
        and behind[:3].isdigit()
        and not behind[3:4].isdigit()
    )


def _without_brackets(text: str) -> str:
    """Without the brackets around all of it, such as those of a set in LaTeX."""
    text = text.replace("\\{", "{").replace("\\}", "}").strip("$ ")
    if _PAIRS.get(text[:1], "none") != text[-1:]:
        return text
    depth = 0
    for at, character in enumerate(text):
        depth += (character == text[0]) - (character == text[-1])
        if not depth:
            return text[1:-1] if at == len(text) - 1 else text
    return text


def _json_list(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested beyond any sense
        return None
    return value if isinstance(value, list) else None
