"""Throws out rows that say nearly the same by their vectors: neighbours, or SemDeDup's clusters.

    - use: dedup.semantic
      with: {field: question, embed: {kind: model2vec, model: ./potion-base-8M}, threshold: 0.9}

Two rows are duplicates when the cosine of their vectors reaches `threshold`. Up to `EXACT_UP_TO`
texts all pairs are compared; above, each with its nearest neighbours in an inverted file of faiss.
Groups keep one row and name it, as with `dedup.minhash` (`synthkd.curate.groups`).

`within: clusters` is SemDeDup (Abbas et al. 2023, arXiv 2303.09540, section 3 and appendix): pairs
are compared inside k-means clusters only; the rows of a cluster stand in a line, the farthest from
the centroid first, and a row goes when one that stands before it, itself kept or not, is too near.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from synthkd.curate.clusters.kmeans import kmeans, minibatch
from synthkd.curate.embed import EmbedSettings, open_embedder
from synthkd.curate.groups import Compared, GroupConfig, Groups, Verdict, kept_rows
from synthkd.curate.neighbours import (
    EXACT_UP_TO,
    Pairs,
    all_pairs,
    before,
    cosines,
    first_equals,
    nearest_pairs,
)
from synthkd.curate.tfidf import TfidfSettings
from synthkd.io.spool import Table
from synthkd.rows import Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors32 = NDArray[np.float32]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

LLOYD_UP_TO = 50_000
"""Vectors that are clustered to the end; of more, in mini-batches."""


class SemanticConfig(GroupConfig):
    """Near duplicates by vectors."""

    embed: EmbedSettings = Field(default=TfidfSettings())
    """Who makes the vectors; TF-IDF is fitted on all that is compared."""
    threshold: float = Field(default=0.95, gt=0, le=1)
    """The cosine from which two texts are duplicates. 0.95: of the pairs of MSRP above it by TF-IDF
    + SVD, 0.965 say the same (0.9: 0.902). An encoder has a scale of its own: measure."""
    within: Literal["all", "clusters"] = "all"
    """all: any two rows; clusters: SemDeDup, any two of one cluster."""
    clusters: PositiveInt | None = None
    """How many; by default the square root of the number of texts."""
    line: Literal["far", "near"] = "far"
    """In `within: clusters`, who stands first and so is kept of a group: the row farthest from the
    centroid (SemDeDup's choice, which keeps what is unlike the rest) or the nearest."""

    @model_validator(mode="after")
    def _clusters_decide(self) -> SemanticConfig:
        if self.within == "clusters" and self.keep != "first":
            raise ValueError("within: clusters keeps by its `line`: leave `keep` out")
        if self.within == "all" and (self.clusters is not None or self.line != "far"):
            raise ValueError("clusters and line are settings of `within: clusters`")
        return self


@table_step("dedup.semantic", needs=lambda config: config.needed)
def semantic(table: Table, kit: TableKit, config: SemanticConfig, /) -> Iterator[Row]:
    """One row of each group whose vectors are nearly the same; the others name it.

    Rejects `semantic_duplicate` with the row kept and the cosine to it, and rows without text in
    the compared fields (`missing_field`, `no_text`); a row whose vector cannot be had fails. Blank
    texts are nobody's duplicates. Memory: 30 bytes a row and a block of cosines; vectors are on
    disk, save in the inverted file (4 bytes a dimension and row) and for k-means.
    """
    compared = Compared(table, config, kit.desk.folder)
    texts = compared.texts()
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    values = vectors.values
    groups = Groups(len(texts))
    pairs, members = _equal(values, vectors.is_blank)
    if config.within == "clusters":
        found = _semdedup(values, members, compared, kit, config)
    else:
        exact = len(members) <= EXACT_UP_TO
        find = all_pairs if exact else nearest_pairs
        found = find(values, members, config.threshold)
        kit.note({"all_pairs_compared": exact})
    for some in chain([Pairs(pairs, cosines(values, pairs))], found):
        alike = some.cosine >= config.threshold
        groups.join_all(some.pairs[alike], some.cosine[alike], compared.n_ours)
    verdict = Verdict(
        reason="semantic_duplicate",
        measure="cosine",
        threshold=config.threshold,
        similarity=lambda pairs: cosines(values, pairs),
    )
    yield from kept_rows(table, kit, config, compared, groups, verdict, vectors)


def _equal(values: Vectors32, blank: Flags) -> tuple[Index, Index]:
    """Pairs of equal vectors, each with the first; and the firsts that are not blank."""
    import numpy as np

    first = first_equals(values)
    places = np.arange(len(first))
    again = np.flatnonzero(first != places)
    members = np.flatnonzero((first == places) & ~blank)
    again = again[~blank[again]]
    return np.stack([first[again], again], axis=1), members


def _semdedup(
    values: Vectors32, members: Index, compared: Compared, kit: TableKit, config: SemanticConfig
) -> Iterator[Pairs]:
    """The pairs that throw a row out of its cluster; what is kept first is told to `compared`."""
    import numpy as np

    k = min(config.clusters or max(1, round(len(members) ** 0.5)), len(members))
    kit.note({"clusters": k})
    if not len(members):
        return
    chosen = values[members]
    find = kmeans if len(members) <= LLOYD_UP_TO else minibatch
    labels = find(chosen, k, kit.rng.randrange(2**32)) if k > 1 else np.zeros(len(members), int)
    rank = np.full(len(values), -np.inf)
    lines = []
    for cluster in range(int(labels.max()) + 1):
        inside = members[labels == cluster]
        centroid = values[inside].mean(axis=0, dtype=np.float64)
        nearness = values[inside] @ centroid
        rank[inside] = nearness if config.line == "near" else -nearness
        ours = inside < compared.n_ours  # theirs stand before all of ours
        lines.append(inside[np.lexsort((inside, -rank[inside], ours))])
    first = first_equals(values)
    compared.rank(rank[first])
    for line in lines:
        if len(line):
            yield before(values, line, config.threshold)
