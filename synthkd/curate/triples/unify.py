"""`triples.unify`: names of one entity in all documents become one, and a list for people.

    - use: triples.unify
      with: {aliases: aliases.yaml, near: 0.85}

Equal spellings are one name anyway. What else may be one is only listed, by rules (`affix`,
`acronym`) and by vectors of the names (`near`), since across documents a name alone tells little:
whoever has looked at the list writes what is right into `aliases` (name -> its other names), and
runs again, which costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from synthkd.curate.embed import EmbedSettings, open_embedder
from synthkd.curate.neighbours import EXACT_UP_TO, all_pairs, nearest_pairs
from synthkd.curate.tfidf import TfidfSettings
from synthkd.curate.triples.held import held
from synthkd.curate.triples.names import Said, ends, entities_of, renamed, renamed_entities
from synthkd.errors import RowError, UserError
from synthkd.graphs.entities import Entity
from synthkd.graphs.resolve import Rule, same_among
from synthkd.graphs.triple import spelling
from synthkd.io.paths import find_file
from synthkd.io.spool import Table
from synthkd.pipeline_file import read_yaml
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step

Aliases = Mapping[str, tuple[str, ...]]
ACROSS: tuple[Rule, ...] = ("affix", "acronym")


class UnifySettings(StepSettings):
    """Settings of `triples.unify`."""

    triples: str = "graph"
    """The field with the triples."""
    entities: str = "entities"
    """The field with the entities, as `synthkg` gives them."""
    aliases: dict[str, tuple[str, ...]] | str = Field(default={})
    """Name -> other names of the same entity, which are merged: here, or a file (YAML or JSON)."""
    merge: tuple[Rule, ...] = ()
    """Rules whose findings are merged too (`affix`, `acronym`). None by default: how often they are
    right was measured within documents alone."""
    near: float | None = Field(default=None, ge=0, le=1)
    """The least cosine of two names that are listed as near; null = vectors are not looked at."""
    embed: EmbedSettings = TfidfSettings()
    """Who makes the vectors of names; TF-IDF sees spellings alone."""
    into: str = "same"
    """The field for the findings about names of the row."""

    def faults(self, folder: Path) -> Iterable[str]:
        """Look at the aliases."""
        try:
            checked_aliases(self.aliases, folder)
        except UserError as error:
            yield f"aliases: {error}"
        if "part" in self.merge:
            yield "merge: 'part' is of single documents (`triples.resolve`): leave it out"


class Finding(NamedTuple):
    """Two names that may be one entity's."""

    name: str
    into: str
    why: str
    """`alias`, `affix`, `acronym` or `near`."""
    cosine: float | None = None


@table_step(
    "triples.unify",
    needs=lambda config: [config.triples, config.entities],
    gives=lambda config: [config.into],
)
def unify(table: Table, kit: TableKit, config: UnifySettings, /) -> Iterator[Row]:
    """Merges names by `aliases` (and `merge`), in triples and entities; lists all that it found.

    A row that holds no triples or no entities fails; one whose triples are all between names of one
    entity is rejected (`no_triples`). Figures: findings by kind, names merged, triples merged.
    """
    names = _names(table, kit, config)
    found = _findings(list(names.values()), kit, config)
    merging = {"alias", *config.merge}
    new = ends((one.name, one.into) for one in found if one.why in merging)
    counts = Counter(one.why for one in found)
    kit.note({"names": len(names), "found": {**counts}, "names_merged": len(new)})
    by_name: dict[str, list[Finding]] = {}
    for one in found:
        for name in (one.name, one.into):
            by_name.setdefault(spelling(name), []).append(one)
    merged = 0
    for row in table:
        try:
            triples, said = held(row, config.triples), entities_of(row, config.entities)
        except RowError:
            continue  # said when the names were read
        graph = renamed(triples, new)
        merged += graph.merged
        if triples and not graph.graph:
            kit.reject(row, "no_triples", f"all {len(triples)} are between names of one entity")
            continue
        told = _told(said, by_name, merging)
        entities = renamed_entities(said, new)
        fields = {config.triples: graph.graph, config.entities: entities, config.into: told}
        yield row.with_fields(**fields)
    kit.note({"triples_merged": merged})


def checked_aliases(written: Aliases | str, folder: Path) -> dict[str, str]:
    """The spelling of each alias -> its name.

    Raises:
        UserError: no such file, no lists of names, or a name that is two others' alias.
    """
    where = ""
    if isinstance(written, str):
        path = find_file(written, folder)
        where = f"{path}: "
        written = read_yaml(path, holds="name: [its other names]")
    found: dict[str, str] = {}
    for name, others in written.items():
        if isinstance(others, str) or not isinstance(others, Sequence):
            raise UserError(f"{where}{name!r} must have a list of names, got {others!r:.80}")
        for one in (name, *others):
            if not isinstance(one, str | int) or not str(one).strip():
                raise UserError(f"{where}{name!r}: {one!r:.80} is no name: write a text")
        for other in map(str, others):
            into = found.setdefault(spelling(other), str(name))
            if into != str(name):
                raise UserError(f"{where}{other!r} is an alias of {into!r} and of {name!r}")
    for name in map(str, written):
        other = found.get(spelling(name), name)
        if spelling(other) != spelling(name):
            raise UserError(f"{where}{name!r} has aliases and is one of {other!r}: name one alone")
    return found


def _names(table: Table, kit: TableKit, config: UnifySettings) -> dict[str, Entity]:
    """All names by their spelling; a row that cannot be read fails here."""
    names: dict[str, Entity] = {}
    for row in table:
        try:
            held(row, config.triples)
            said = entities_of(row, config.entities)
        except RowError as error:
            kit.fail(row, error)
            continue
        for entity, _ in said:
            names.setdefault(spelling(entity.name), entity)
    return names


def _findings(names: Sequence[Entity], kit: TableKit, config: UnifySettings) -> list[Finding]:
    """Each name at most once on the left for its surest reason; near pairs beside these."""
    known = checked_aliases(config.aliases, kit.desk.folder)
    found: list[Finding] = []
    for entity in names:
        into = known.get(spelling(entity.name))
        if into is not None and spelling(into) != spelling(entity.name):
            found.append(Finding(entity.name, into, "alias"))
    taken = {spelling(one.name) for one in found} | {spelling(into) for into in known.values()}
    rules = (one for one in same_among(names, ACROSS) if spelling(one.name) not in taken)
    found += [Finding(one.name, one.into, one.why) for one in rules]
    if config.near is not None:
        pairs = {frozenset((spelling(one.name), spelling(one.into))) for one in found}
        near = _near(names, kit, config.embed, config.near)
        found += [one for one in near if frozenset(map(spelling, one[:2])) not in pairs]
    return found


def _near(
    names: Sequence[Entity], kit: TableKit, embed: EmbedSettings, threshold: float
) -> Iterator[Finding]:
    import numpy as np

    texts = [entity.name for entity in names]
    vectors = open_embedder(embed, kit, fit_on=texts).vectors(texts)
    members = np.flatnonzero(~vectors.is_blank)
    find = all_pairs if len(members) <= EXACT_UP_TO else nearest_pairs
    for some in find(vectors.values, members, threshold):
        for (one, other), cosine in zip(some.pairs.tolist(), some.cosine.tolist(), strict=True):
            short, full = sorted((texts[one], texts[other]), key=lambda name: (len(name), name))
            kinds = {names[place].type for place in (one, other)} - {None}
            if len(kinds) < 2:  # two types are two things
                yield Finding(short, full, "near", round(cosine, 4))


def _told(
    said: Sequence[Said], by_name: Mapping[str, Sequence[Finding]], merging: set[str]
) -> list[Json]:
    """The findings about the names of a row, each once."""
    found = [one for entity, _ in said for one in by_name.get(spelling(entity.name), ())]
    return [
        {
            "name": one.name,
            "into": one.into,
            "why": one.why,
            "merged": one.why in merging,
            **({} if one.cosine is None else {"cosine": one.cosine}),
        }
        for one in dict.fromkeys(found)
    ]
