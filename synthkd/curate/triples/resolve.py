"""`triples.resolve`: names that are one entity's become one, and a list for people to look at.

    entities: [{name: World Health Organization, ...}, {name: WHO, ...}]
    ->  triples about WHO are about World Health Organization
        same: [{name: WHO, into: World Health Organization, why: acronym, merged: true}]

Names alone decide, by three rules (`synthkd.graphs.resolve`). What the surer ones find is merged;
the rest is only listed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from synthkd.curate.triples.held import held, kept, lost
from synthkd.curate.triples.names import ends, entities_of, renamed, renamed_entities
from synthkd.graphs.resolve import RULES, Rule, same_names
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step


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
    said = entities_of(row, config.entities)
    found = same_names([entity for entity, _ in said], RULES)
    sure = [one for one in found if one.why in config.merge]
    names = ends((one.name, one.into) for one in sure)
    new = renamed(triples, names)
    for triple in new.lost:
        lost(kit, "head_is_tail", triple)
    if new.merged:
        kit.count("triples merged", new.merged)
    if sure:
        kit.count("names merged", len(sure))
    same: list[Json] = [
        {"name": one.name, "into": one.into, "why": one.why, "merged": one.why in config.merge}
        for one in found
    ]
    out = kept(row, config.triples, new.graph, before=len(triples), keep_empty=config.keep_empty)
    yield out.with_fields(**{config.entities: renamed_entities(said, names), config.into: same})
