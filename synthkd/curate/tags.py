"""`tag.normalise`: of the intents that a teacher has named, those that say the same become one.

    intents: [{tag: "Web Search"}, {tag: "web_search"}]  ->  tags: [web search], complexity: 1

After InsTag (arXiv 2308.07074): lower case, tags of a few rows go, and those whose vectors are near
are merged under the most frequent of them. `complexity` is how many an instruction has left. The
paper also merges tags that always come together (association rules); that is not done here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from synthkd.config import Count
from synthkd.curate.embed import EmbedSettings, open_embedder
from synthkd.curate.groups import Groups
from synthkd.curate.neighbours import EXACT_UP_TO, all_pairs, nearest_pairs
from synthkd.curate.tfidf import TfidfSettings
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.text import equivalent

SHOWN = 10
"""Tags and merges that the figures name, the most frequent first."""


class NormaliseSettings(StepSettings):
    """Settings of `tag.normalise`."""

    field: str = "intents"
    """The field with the intents: objects with `tag`, or texts."""
    into: str = "tags"
    """The field for the tags, the first named first."""
    complexity: str = "complexity"
    """The field for how many they are."""
    at_least: Count = 20
    """Rows that must have a tag for it to stay. 20 is InsTag's, of 50,000 rows and more: take less
    of less."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The cosine from which on two tags are one. Being alike reaches on: of a chain all are one."""
    merge: bool = True
    """Whether tags are merged by their vectors at all."""
    embed: EmbedSettings = TfidfSettings()
    """Who makes the vectors of tags. TF-IDF compares words, not meanings: it makes one of
    "recipe request" and "request recipe", and leaves "cooking" by itself."""


@table_step(
    "tag.normalise",
    needs=lambda config: [config.field],
    gives=lambda config: [config.into, config.complexity],
    asks=lambda config, rows: rows,
)
def normalise(table: Table, kit: TableKit, config: NormaliseSettings, /) -> Iterator[Row]:
    """Make one tag of those that say the same; drop rare ones; count what is left.

    Gives `tags` and `complexity`; a row without tags stays, with none and 0. Figures: how many
    different tags there were, in lower case, frequent enough and after merging; rows without any;
    the most frequent tags and merges. Memory: the different tags, with their vectors.
    """
    written: set[str] = set()
    rows_with: Counter[str] = Counter()
    for row in table:
        said = _said(row.fields.get(config.field))
        written.update(said)
        rows_with.update({plain(tag) for tag in said})
    kept = {tag: n for tag, n in rows_with.items() if n >= config.at_least}
    called, keys = _merged(kept, kit, config)
    names = set(called.values())
    rows_of: Counter[str] = Counter()
    bare = 0
    for row in table:
        found = dict.fromkeys(
            called[tag] for said in _said(row.fields.get(config.field))
            if (tag := plain(said)) in called
        )  # fmt: skip
        rows_of.update([*found])
        bare += not found
        made: dict[str, Json] = {config.into: [*found], config.complexity: len(found)}
        yield row.with_fields(**made).with_made_by(
            *dict.fromkeys(key for tag in found for key in keys.get(tag, ()))
        )
    kit.note(
        {
            "tags as written": len(written),
            "in lower case": len(rows_with),
            f"in {config.at_least} rows or more": len(kept),
            "after merging": len(names),
            "rows without a tag": bare,
            "most frequent": dict(rows_of.most_common(SHOWN)),
            "merged": _merges(called, rows_of),
        }
    )


def plain(tag: str) -> str:
    """One spelling of a tag: lower case, spaces, no punctuation around it."""
    return equivalent(tag)


def _said(value: Json) -> list[str]:
    """The tags of a row as they were written."""
    found = []
    for one in value if isinstance(value, list | tuple) else ():
        name = one.get("tag") if isinstance(one, Mapping) else one
        if isinstance(name, str) and name.strip():
            found.append(name)
    return found


def _merged(
    kept: Mapping[str, int], kit: TableKit, config: NormaliseSettings
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """What each tag is called from now on, and the ledger entries behind a name."""
    tags = sorted(kept, key=lambda tag: (-kept[tag], tag))
    if not config.merge or len(tags) < 2:
        return {tag: tag for tag in tags}, {}
    import numpy as np

    vectors = open_embedder(config.embed, kit, fit_on=tags).vectors(tags)
    if vectors.errors:  # these stay by themselves
        kit.note({"tags without a vector": len(vectors.errors)})
    members = np.flatnonzero(~vectors.is_blank).astype(np.int64)
    pairs_of = all_pairs if len(members) <= EXACT_UP_TO else nearest_pairs
    groups = Groups(len(tags))
    for pairs, cosine in pairs_of(vectors.values, members, config.threshold):
        for (one, other), how in zip(pairs.tolist(), cosine.tolist(), strict=True):
            groups.join(one, other, how)
    # The first of a group is its root, and the most frequent come first.
    called = {tag: tags[groups.root(place)] for place, tag in enumerate(tags)}
    keys: dict[str, tuple[str, ...]] = {}
    for place, tag in enumerate(tags):
        keys[called[tag]] = (*keys.get(called[tag], ()), *vectors.made_by(place))
    return called, keys


def _merges(called: Mapping[str, str], rows_of: Counter[str]) -> dict[str, Json]:
    """Name -> the others that it stands for, of the most frequent names."""
    merged: dict[str, list[Json]] = {}
    for tag, name in called.items():
        if tag != name:
            merged.setdefault(name, []).append(tag)
    first = sorted(merged, key=lambda name: (-rows_of[name], name))[:SHOWN]
    return {name: merged[name] for name in first}
