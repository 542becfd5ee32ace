"""Which names of a document are the same entity's, told by the names alone.

    >>> from synthkd.graphs.entities import Entity
    >>> for same in same_names([Entity("Ada Lovelace"), Entity("Lovelace"), Entity("the Notes")]):
    ...     print(same.name, "->", same.into, same.why)
    Lovelace -> Ada Lovelace part

* `affix`: equal but for an article, a possessive, or a word such as "Inc." at the end.
* `acronym`: capital letters that are the initials of the other.
* `part`: the last words of the other, or the first.

Of `affix` and `part` both must have the same type, where both have one.

A name that could be of two others is nobody's. What context alone can tell ("the company") is told
by the rewriting of `synthkg`, not here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from synthkd.graphs.entities import Entity
from synthkd.graphs.triple import spelling

Rule = Literal["affix", "acronym", "part"]
RULES: tuple[Rule, ...] = ("affix", "acronym", "part")
"""The surest first."""
MOST_NAMES = 2_000
"""Of one document: each is held against all others."""
_ARTICLES = {"the", "a", "an", "der", "die", "das", "le", "la", "les", "el", "los", "il"}
_SUFFIXES = {"inc", "ltd", "llc", "plc", "corp", "corporation", "co", "company", "gmbh", "ag", "sa"}
_SMALL = {"of", "the", "and", "for", "in", "on", "de", "to", "&"}
_WORD = re.compile(r"[^\W_]+(?:[.'\u2019-][^\W_]+)*")
_POSSESSIVE = re.compile(r"\s?['\u2019]s?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """Two names of one entity."""

    name: str
    into: str
    """The fuller one."""
    why: Rule


def same_names(entities: Sequence[Entity], rules: Collection[Rule] = RULES) -> list[Same]:
    """For each name that is another's the fuller one, by the first rule that finds exactly one.

    No name is in two findings on the left, and none leads to itself: following `into` ends.
    """
    distinct: dict[str, Entity] = {}
    for entity in entities[:MOST_NAMES]:
        distinct.setdefault(spelling(entity.name), entity)
    ranked = sorted(distinct.values(), key=lambda one: -len(spelling(one.name)))
    found: list[Same] = []
    for place, entity in enumerate(ranked):
        fuller = ranked[:place]
        for rule in RULES:
            if rule not in rules:
                continue
            others = [other for other in fuller if _is(rule, entity, other)]
            if rule == "affix":  # all that are equal are one: the fullest stands for them
                others = others[:1]
            if len(others) == 1:
                found.append(Same(name=entity.name, into=others[0].name, why=rule))
                break
    return found


def same_among(entities: Sequence[Entity], rules: Collection[Rule]) -> list[Same]:
    """The same for names of many documents, by `affix` and `acronym` alone; in linear time.

    Of equal names (`affix`) the longest stands for the others, and initials of two names are
    nobody's. `part` is left out: among many documents nearly every surname is of several.
    """
    distinct: dict[str, Entity] = {}
    for entity in entities:
        distinct.setdefault(spelling(entity.name), entity)
    ranked = sorted(distinct.values(), key=lambda one: (-len(spelling(one.name)), one.name))
    bare: dict[str, list[Entity]] = {}
    initials: dict[str, list[Entity]] = {}
    for entity in ranked:
        bare.setdefault(_bare(entity.name), []).append(entity)
        initials.setdefault(_initials(entity.name), []).append(entity)
    found: list[Same] = []
    for entity in ranked:
        fuller = [one for one in bare[_bare(entity.name)] if _is("affix", entity, one)]
        letters = entity.name.replace(".", "").replace(" ", "")
        spelt_out = [one for one in initials.get(letters, ()) if _is("acronym", entity, one)]
        if "affix" in rules and fuller[0] is not entity:
            found.append(Same(name=entity.name, into=fuller[0].name, why="affix"))
        elif "acronym" in rules and len(spelt_out) == 1:
            found.append(Same(name=entity.name, into=spelt_out[0].name, why="acronym"))
    return found


def _is(rule: Rule, entity: Entity, other: Entity) -> bool:
    if rule == "acronym":
        return _is_acronym(entity.name, other.name)
    if entity.type and other.type and spelling(entity.type) != spelling(other.type):
        return False
    if rule == "affix":
        return _bare(entity.name) == _bare(other.name)
    return _is_part(entity.name, other.name)


def _bare(name: str) -> str:
    words = _WORD.findall(_POSSESSIVE.sub("", name).casefold())
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    if len(words) > 1 and words[-1] in _SUFFIXES:
        words = words[:-1]
    return spelling("".join(words)) or name


def _is_acronym(name: str, other: str) -> bool:
    letters = name.replace(".", "").replace(" ", "")
    return (
        len(letters) >= len("EU")
        and letters.isalpha()
        and letters.isupper()
        and letters == _initials(other)
    )


def _initials(name: str) -> str:
    """Of its words, small ones left out; a name of one word has none."""
    words = [word for word in _WORD.findall(name) if word.casefold() not in _SMALL]
    return "".join(word[0] for word in words) if len(words) > 1 else ""


def _is_part(name: str, other: str) -> bool:
    words, more = _WORD.findall(name), _WORD.findall(other)
    capital = bool(words) and all(word[0].isupper() for word in words)
    return capital and len(words) < len(more) and words in (more[: len(words)], more[-len(words) :])
