r"""Mentions of things in a text, out of what somebody wrote. Pure: text in, a `Spotted` out.

    >>> read_mentions('[["Ada Lovelace", "person"], ["Lon').mentions
    [Mention(text='Ada Lovelace', type='person', definition=None)]

Three ways of writing are read, the first that has any mention:

* JSON: `[mention, type]` or `[mention, type, definition]`, objects with such keys, or
  `{type: [mention, ...]}`; alone, in a fence, one a line, or cut in the middle.
* pairs in round brackets or single quotes, as Python writes them: `[('Ada', 'person')]`.
* bars: `Ada | person`, or a tab between them; one a line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from synthkd.graphs.notation import json_values
from synthkd.graphs.triple import LONGEST_PART
from synthkd.rows import Json
from synthkd.text import OUTER_PUNCTUATION

MOST_MENTIONS = 5_000
"""Of one text: what goes on for ever ends there."""
LONGEST_TYPE = 100
"""Characters: what is longer is a definition."""
TEXTS = ("mention", "text", "entity", "name", "span", "word", "mentions", "entities")
TYPES = ("type", "label", "entity_type", "category", "class", "tag")
DEFINITIONS = ("definition", "description")
WRAPPERS = ("mentions", "entities", "named_entities", "result", "results", "data")
"""Keys of an object, in any case, that hold what the teacher found."""
_UP_TO = f"{{0,{LONGEST_PART}}}"
_QUOTED = rf"""("(?:[^"\\]|\\.){_UP_TO}"|'(?:[^'\\]|\\.|'(?=\w)){_UP_TO}')"""
"""Bounded, so that a text of quotes that do not close takes no hour."""
_PAIR = re.compile(rf"[(\[]\s*{_QUOTED}\s*,\s*{_QUOTED}(?:\s*,\s*{_QUOTED})?\s*,?\s*[)\]]")
_BAR = re.compile(r"\s*\|\s*|\t+")
_BULLET = re.compile(r"^\s*(?:\d{1,4}[.):]|[-*\u2022])\s+")
_NOTHING = re.compile(r"\W*(?:json)?\s*(?:\[\s*\]|\{\s*(?:\"\w+\"\s*:\s*\[\s*\]\s*,?\s*)*\})\W*")
"""An empty list, or an object of such: an answer, which says that nothing is there."""
_CAMEL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
_SAME_IN_PLURAL = ("ss", "us", "is", "series", "species", "news")


@dataclass(frozen=True, slots=True)
class Mention:
    """Something that a text speaks of: `Mention("Ada Lovelace", "person")`."""

    text: str
    type: str
    definition: str | None = None

    @property
    def fault(self) -> str | None:
        """Why it is none: `empty_part` or `too_long`; None = it is one."""
        if not (self.text.strip() and self.type.strip(OUTER_PUNCTUATION)):
            return "empty_part"
        long = max(len(self.text), len(self.definition or "")) > LONGEST_PART
        return "too_long" if long or len(self.type) > LONGEST_TYPE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spotted:
    """What a text says."""

    mentions: list[Mention] = field(default_factory=list)
    """In the order of the text, twice where they stand twice."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """What could not be used: (`empty_part` | `too_long` | `no_mention` | `cut`, the part)."""
    way: str = "none"
    """`json`, `pairs`, `bars`, or `none`: nothing of the kind stands there."""


def read_mentions(text: str) -> Spotted:
    """The mentions in a reply.

    Args:
        text: the reply as it came.
    """
    text = text.lstrip("\ufeff")
    faults: list[tuple[str, str]] = []
    for way, read in (("json", _json), ("pairs", _pairs), ("bars", _bars)):
        found = Spotted(way=way)
        read(text, found)
        if found.mentions:
            return found
        faults = faults or found.faults
    return Spotted(way="json" if _NOTHING.fullmatch(text) else "none", faults=faults)


def type_name(name: str, *, singular: bool = False) -> str:
    """One spelling of a type: `ProgrammingLanguage` and `programming_language` are the same.

    Args:
        name: the type as somebody wrote it.
        singular: whether its last word loses an English plural: "people" is "person".
    """
    spaced = _CAMEL.sub(" ", unicodedata.normalize("NFKC", name))
    plain = " ".join(re.sub(r"[\s_/-]+", " ", spaced).casefold().strip(OUTER_PUNCTUATION).split())
    if not singular:
        return plain
    *before, last = plain.split() or [""]
    return " ".join([*before, _singular(last)])


def _singular(word: str) -> str:
    if word == "people":
        return "person"
    if word.endswith(_SAME_IN_PLURAL) or len(word) < len("cars"):
        return word
    if word.endswith("ies") and len(word) > len("pies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word.removesuffix("s")


def _take(parts: Sequence[str], found: Spotted) -> None:
    said, kind, *definition = (" ".join(part.split()) for part in parts)
    mention = Mention(said, kind, definition[0] or None if definition else None)
    if (fault := mention.fault) is not None:
        found.faults.append((fault, " | ".join(parts)[:200]))
    elif len(found.mentions) < MOST_MENTIONS:
        found.mentions.append(mention)


def _json(text: str, found: Spotted) -> None:
    broken = False
    for value in json_values(text):
        if value is None:
            broken = True
        else:
            _from_value(value, found)
    if broken and found.mentions:
        found.faults.append(("cut", text[-80:]))


def _texts(value: Json) -> list[str] | None:
    """A list of texts alone, or one text; None = it is neither."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence) or isinstance(value, Mapping):
        return None
    texts = [one for one in value if isinstance(one, str)]
    return texts if len(texts) == len(value) else None


def _from_value(value: Json, found: Spotted) -> None:
    if isinstance(value, Mapping):
        _from_object({key.lower(): part for key, part in value.items()}, value, found)
    elif not isinstance(value, Sequence) or isinstance(value, str):
        found.faults.append(("no_mention", f"{value!r:.200}"))
    elif (parts := _texts(value)) is not None and len(parts) in (2, 3):
        _take(parts, found)
    else:
        for one in value:
            _from_value(one, found)


def _from_object(named: Mapping[str, Json], value: Mapping[str, Json], found: Spotted) -> None:
    kind = next((named[key] for key in TYPES if isinstance(named.get(key), str)), None)
    said = next((named[key] for key in TEXTS if _texts(named.get(key)) is not None), None)
    more = next((named[key] for key in DEFINITIONS if isinstance(named.get(key), str)), None)
    if isinstance(kind, str):
        definition = [more] if isinstance(more, str) else []
        texts = _texts(said)
        if texts is None:
            found.faults.append(("no_mention", f"{dict(value)!r:.200}"))
        for name in texts or ():
            _take([name, kind, *definition], found)
        return
    if inner := [named[key] for key in WRAPPERS if isinstance(named.get(key), Sequence | Mapping)]:
        for one in inner:
            _from_value(one, found)
        return
    for label, listed in value.items():  # {type: [mention, ...]}
        texts = None if isinstance(listed, str) else _texts(listed)
        if texts is None:
            found.faults.append(("no_mention", f"{label}: {listed!r:.200}"))
        for name in texts or ():
            _take([name, label], found)


def _pairs(text: str, found: Spotted) -> None:
    for match in _PAIR.finditer(text):
        parts = [part[1:-1] for part in match.groups() if part is not None]
        _take([re.sub(r"\\(.)", r"\1", part) for part in parts], found)


def _bars(text: str, found: Spotted) -> None:
    for line in text.split("\n"):
        bare = _BULLET.sub("", line).strip().strip("|").strip()
        parts = _BAR.split(bare)
        if len(parts) in (2, 3) and set(bare) - set("|-: \t"):
            _take(parts, found)
