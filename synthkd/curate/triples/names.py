"""Names that are one entity's: the entities of a row, and its triples with other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from synthkd.curate.fields import value_of
from synthkd.curate.triples.held import Held
from synthkd.errors import RowError
from synthkd.graphs.entities import Entity
from synthkd.graphs.triple import PartsKey, Triple, spelling
from synthkd.rows import Json, Row
from synthkd.text import answer_text

Names = Mapping[str, str]
"""The spelling of a name -> the name that is to stand for it."""


class Said(NamedTuple):
    """An entity of a row, with its object."""

    entity: Entity
    told: Mapping[str, Json]


def entities_of(row: Row, field: str) -> list[Said]:
    """The entities of a row, each with its object.

    Raises:
        RowError: the field holds something else.
    """
    value = value_of(row, field)
    found: list[Said] = []
    for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if not isinstance(one, Mapping) or not isinstance(name := one.get("name"), str):
            raise RowError(f"{field} must be a list of objects with a name, got {one!r:.80}")
        found.append(Said(Entity(name, answer_text(one.get("type"))), one))
    return found


def ends(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For the spelling of each name that is merged the name at the end of its way.

    Args:
        pairs: a name and the one that it is merged into; following them must end.
    """
    steps = {spelling(name): into for name, into in pairs}
    ends: dict[str, str] = {}
    for key in steps:
        name = steps[key]
        while (further := steps.get(spelling(name))) is not None:
            name = further
        ends[key] = name
    return ends


class Renamed(NamedTuple):
    """Triples whose heads and tails have other names."""

    graph: list[Json]
    merged: int
    """Triples that were there already under their new names."""
    lost: list[Triple]
    """Those between two names of one entity."""


def renamed(triples: Sequence[Held], names: Names) -> Renamed:
    """The triples under their new names, each once."""
    graph: dict[PartsKey, Json] = {}
    merged = 0
    gone: list[Triple] = []
    for one in triples:
        head, relation, tail = one.triple.parts
        new = Triple(names.get(spelling(head), head), relation, names.get(spelling(tail), tail))
        if new.key[0] == new.key[2] and one.triple.key[0] != one.triple.key[2]:
            gone.append(one.triple)
        elif new.key in graph:
            merged += 1
        else:
            graph[new.key] = Held(triple=new, more=one.more).as_json()
    return Renamed(list(graph.values()), merged, gone)


def renamed_entities(said: Sequence[Said], names: Names) -> list[Json]:
    """The entities without those that were merged; the others have these as `aliases`.

    An entity of the row stays though its new name is another row's: it is called by that.
    """
    there = {spelling(entity.name) for entity, _ in said}
    aliases: dict[str, list[Json]] = {}
    kept: dict[str, dict[str, Json]] = {}
    for entity, told in said:
        into = names.get(spelling(entity.name))
        if into is None:
            kept.setdefault(spelling(entity.name), {**told})
            continue
        aliases.setdefault(spelling(into), []).append(entity.name)
        if spelling(into) not in there:
            kept.setdefault(spelling(into), {**told, "name": into})
    return [
        {**told, "aliases": [*_known(told), *aliases[key]]} if key in aliases else told
        for key, told in kept.items()
    ]


def _known(told: Mapping[str, Json]) -> list[Json]:
    known = told.get("aliases")
    return list(known) if isinstance(known, list | tuple) else []
