"""`triples.resolve`: names that are one entity's become one, and a list for people to look at.

    entities: [{name: World Health Organization, ...}, {name: WHO, ...}]
    ->  triples about WHO are about World Health Organization
        same: [{name: WHO, into: World Health Organization, why: acronym, merged: true}]

Names alone decide, by three rules (`synthkd.graphs.resolve`). What the surer ones find is merged;
the rest is only listed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from synthkd.curate.fields import value_of
from synthkd.curate.triples.held import Held, held, kept, lost
from synthkd.errors import RowError
from synthkd.graphs.entities import Entity
from synthkd.graphs.resolve import RULES, Rule, Same, same_names
from synthkd.graphs.triple import PartsKey, Triple, spelling
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import answer_text


class ResolveSettings(StepSettings):
    """Settings of `triples.resolve`."""

    triples: str = "graph"
    """The field with the triples."""
    entities: str = "entities"
    """The field with the entities, as `synthkg` gives them."""
    merge: tuple[Rule, ...] = ("affix", "acronym")
    """Whose findings are merged. `part` is not: on Re-DocRED every second one was wrong."""
    into: str = "same"
    """The field for the list of all findings."""
    keep_empty: bool = False
    """Whether a row stays of which no triple is left."""


@step(
    "triples.resolve",
    needs=lambda config: [config.triples, config.entities],
    gives=lambda config: [config.into],
)
async def resolve(row: Row, kit: Kit, config: ResolveSettings, /) -> AsyncIterator[Row]:
    """Merges names of one entity, in triples and entities; lists what it merged and what it found.

    A merged entity has `aliases`. A triple that is there twice afterwards is counted once
    (figure `triples merged`). Discards `head_is_tail`: a name and its short form; rejects
    `no_triples`.
    """
    triples = held(row, config.triples)
    said = _entities(row, config.entities)
    found = same_names([entity for entity, _ in said], RULES)
    sure = [one for one in found if one.why in config.merge]
    names = _ends(sure)
    merged: dict[PartsKey, Json] = {}
    for one in triples:
        head, relation, tail = one.triple.parts
        renamed = Triple(names.get(spelling(head), head), relation, names.get(spelling(tail), tail))
        if renamed.key[0] == renamed.key[2] and one.triple.key[0] != one.triple.key[2]:
            lost(kit, "head_is_tail", one.triple)
        elif renamed.key in merged:
            kit.count("triples merged")
        else:
            merged[renamed.key] = Held(triple=renamed, more=one.more).as_json()
    if sure:
        kit.count("names merged", len(sure))
    same: list[Json] = [
        {"name": one.name, "into": one.into, "why": one.why, "merged": one.why in config.merge}
        for one in found
    ]
    graph = list(merged.values())
    out = kept(row, config.triples, graph, before=len(triples), keep_empty=config.keep_empty)
    yield out.with_fields(**{config.entities: _merged(said, names), config.into: same})


def _entities(row: Row, field: str) -> list[tuple[Entity, Mapping[str, Json]]]:
    """The entities of a row, each with its object."""
    value = value_of(row, field)
    found: list[tuple[Entity, Mapping[str, Json]]] = []
    for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if not isinstance(one, Mapping) or not isinstance(name := one.get("name"), str):
            raise RowError(f"{field} must be a list of objects with a name, got {one!r:.80}")
        found.append((Entity(name, answer_text(one.get("type"))), one))
    return found


def _ends(sure: Sequence[Same]) -> dict[str, str]:
    """For the spelling of each name that is merged the name at the end of its way."""
    steps = {spelling(one.name): one.into for one in sure}
    ends: dict[str, str] = {}
    for key in steps:
        name = steps[key]
        while (further := steps.get(spelling(name))) is not None:
            name = further
        ends[key] = name
    return ends


def _merged(
    said: Sequence[tuple[Entity, Mapping[str, Json]]], names: Mapping[str, str]
) -> list[Json]:
    aliases: dict[str, list[Json]] = {}
    for entity, _ in said:
        if (into := names.get(spelling(entity.name))) is not None:
            aliases.setdefault(spelling(into), []).append(entity.name)
    return [
        {**told, "aliases": aliases[key]} if (key := spelling(entity.name)) in aliases else {**told}
        for entity, told in said
        if spelling(entity.name) not in names
    ]
