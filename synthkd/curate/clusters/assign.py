"""`cluster.assign`: which rows are about the same, and what that is.

    - use: cluster.assign
      with: {field: instruction, clusters: 100, into: cluster, name_into: topic}

Clusters are numbered by size, 0 the largest. A row whose text is blank, or says nothing that the
embedder knows, is in none: null. `cluster.balance` and the controls read the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from synthkd.curate.clusters.kmeans import (
    CHUNK,
    different,
    faiss_kmeans,
    hdbscan,
    kmeans,
    minibatch,
)
from synthkd.curate.clusters.names import Terms, by_terms, cleaned, told_apart
from synthkd.curate.clusters.spectral import spectral
from synthkd.curate.embed import (
    EmbedSettings,
    TextColumn,
    Vectors,
    embeddable,
    mapped,
    open_embedder,
)
from synthkd.curate.neighbours import first_equals
from synthkd.curate.texts import FieldOrFields
from synthkd.curate.tfidf import TfidfSettings
from synthkd.errors import RowError
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Labels = NDArray[np.int32]

FULL_UP_TO = 10_000
"""Rows up to which `auto` runs Lloyd's algorithm to its end; mini-batches lose 0.2 % of inertia."""
ROWS_PER_CLUSTER = 50
"""`clusters` left out: a cluster for so many rows, ..."""
MOST_CLUSTERS = 200
"""... and at most so many: more than anyone looks at."""
NAMED_IN_FIGURES = 20

Method = Literal["auto", "kmeans", "minibatch", "faiss", "spectral", "hdbscan"]


class AssignConfig(FieldOrFields):
    """Which rows are about the same."""

    into: str = "cluster"
    """Where the cluster's number goes; null = in none."""
    method: Method = "auto"
    """auto: kmeans up to 10,000 rows, minibatch above; it never depends on what is installed."""
    clusters: PositiveInt | None = Field(default=None, le=1_000_000)
    """How many; by default one for 50 rows, 2 to 200. `spectral` chooses by itself; `hdbscan` finds
    as many as there are."""
    smallest: PositiveInt = Field(default=10, ge=2)
    """Of `hdbscan`: rows that make a cluster."""
    embed: EmbedSettings = TfidfSettings()
    """Who makes the vectors: see docs/curation/embedding.md."""
    name_into: str | None = None
    """Where the cluster's name goes; null = clusters get no names."""
    teacher: str | None = None
    """Who names the clusters, one question each; null = their key terms do."""
    prompt: str = "clusters/name"
    """How the teacher is asked; it may use `terms` and `examples`."""

    @model_validator(mode="after")
    def _sense(self) -> AssignConfig:
        if self.teacher is not None and self.name_into is None:
            raise ValueError("teacher names clusters: say where the names go, as name_into")
        if self.method == "hdbscan" and self.clusters is not None:
            raise ValueError("hdbscan finds the number of clusters itself: leave clusters out")
        return self


def _gives(config: AssignConfig) -> list[str]:
    return [config.into] if config.name_into is None else [config.into, config.name_into]


def _asks(config: AssignConfig, rows: int) -> int:
    if config.method == "hdbscan":
        return rows // config.smallest
    return min(rows, config.clusters or MOST_CLUSTERS)


@table_step(
    "cluster.assign",
    needs=lambda config: config.all_fields,
    gives=_gives,
    supplies=["terms", "examples"],
    asks=_asks,
)
def assign(table: Table, kit: TableKit, config: AssignConfig, /) -> Iterator[Row]:
    """Gives each row the number of its cluster, and its cluster's name.

    Rejects `missing_field` and `no_text`; a row without a vector fails. Memory: 32 to 64 bytes a
    row, and the vectors of a sample; up to 10,000 rows, and for spectral and hdbscan, all vectors.
    """
    texts = TextColumn(table, config.all_fields)
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    labels, method = _labels(vectors, kit, config)
    clusters = int(labels.max(initial=-1)) + 1
    _note(kit, vectors, labels, method)
    names, keys = _names(texts, labels, clusters, kit, config)
    for place, row in embeddable(table, kit, config.all_fields, vectors):
        label = int(labels[place])
        found: dict[str, Json] = {config.into: label if label >= 0 else None}
        made_by = vectors.made_by(place)
        if config.name_into is not None:
            found[config.name_into] = names[label] if label >= 0 else None
            made_by += keys.get(label, ())
        yield row.with_fields(**found).with_made_by(*made_by)


def _labels(vectors: Vectors, kit: TableKit, config: AssignConfig) -> tuple[Labels, str]:
    """(n,) the cluster of each row, -1 = none, by size; and the method that found them."""
    import numpy as np

    labels = np.full(len(vectors), -1, dtype=np.int32)
    places = np.flatnonzero(~vectors.is_blank)
    seed = kit.rng.randrange(2**32)
    some = vectors.values if len(places) == len(labels) else _only(vectors, places, kit)
    n = len(some)
    k = config.clusters or max(2, min(MOST_CLUSTERS, n // ROWS_PER_CLUSTER))
    method = config.method
    if method == "auto":
        method = "kmeans" if n <= FULL_UP_TO else "minibatch"
    if method == "hdbscan":
        found = hdbscan(some, config.smallest)
    elif different(some, k + 1) <= k:
        found = _by_equality(some)  # no more different texts than clusters: each is one
    elif method == "spectral":
        found, _ = spectral(some, config.clusters, seed)
    else:
        partition = {"kmeans": kmeans, "minibatch": minibatch, "faiss": faiss_kmeans}[method]
        found = partition(some, k, seed)
    # Among equally near neighbours a graph takes some, and others for the same vector again.
    labels[places] = _by_size(found[first_equals(some)])
    return labels, method


def _only(vectors: Vectors, places: NDArray[np.intp], kit: TableKit) -> NDArray[np.float32]:
    """Some of the vectors, on disk as they were."""
    import numpy as np

    shape = (len(places), vectors.values.shape[1])
    if not len(places):
        return np.zeros(shape, dtype=np.float32)
    some = mapped(kit.scratch_file("some"), *shape)
    for start in range(0, len(places), CHUNK):
        some[start : start + CHUNK] = vectors.values[places[start : start + CHUNK]]
    return some


def _by_equality(vectors: NDArray[np.float32]) -> Labels:
    import numpy as np

    known: dict[bytes, int] = {}
    labels = [known.setdefault(vector.tobytes(), len(known)) for vector in vectors]
    return np.array(labels, dtype=np.int32)


def _by_size(labels: Labels) -> Labels:
    """The same clusters, numbered by size, then by their first row."""
    import numpy as np

    ids, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int32)  # the last one is for -1
    rank[ids[order]] = np.arange(len(ids))
    ranked: Labels = rank[labels]
    return ranked


def _note(kit: TableKit, vectors: Vectors, labels: Labels, method: str) -> None:
    import numpy as np

    sizes = np.bincount(labels[labels >= 0])
    kit.note(
        {
            "method": method,
            "clusters": len(sizes),
            "rows_in_none": int((labels < 0).sum()),
            "largest": int(sizes.max(initial=0)),
            "median": float(np.median(sizes)) if len(sizes) else 0.0,
            "smallest": int(sizes.min()) if len(sizes) else 0,
            "spread_within": _spread(vectors, labels, len(sizes)),
        }
    )


def _spread(vectors: Vectors, labels: Labels, clusters: int) -> float:
    """Mean squared distance from a row to the mean of its cluster, 0 to 1; 0 = all are alike."""
    import numpy as np

    if not clusters:
        return 0.0
    sums = np.zeros((clusters, vectors.values.shape[1]))
    for start in range(0, len(labels), CHUNK):
        here = labels[start : start + CHUNK]
        np.add.at(sums, here[here >= 0], vectors.values[start : start + CHUNK][here >= 0])
    sizes = np.bincount(labels[labels >= 0], minlength=clusters)
    # Of unit vectors, the sum of squared distances to a mean is n - |sum|^2 / n.
    within = (sizes - (sums**2).sum(axis=1) / sizes).sum() / sizes.sum()
    return max(0.0, round(float(within), 6))


def _names(
    texts: TextColumn, labels: Labels, clusters: int, kit: TableKit, config: AssignConfig
) -> tuple[Sequence[str], Mapping[int, tuple[str, ...]]]:
    """The name of each cluster, and the keys of the answers that it is from."""
    if config.name_into is None:
        return (), {}
    terms = Terms(clusters)
    for label, text in zip(labels, texts, strict=True):
        if label >= 0:
            terms.read(int(label), text)
    outstanding = terms.outstanding()
    names = by_terms(outstanding)
    keys: dict[int, tuple[str, ...]] = {}
    if config.teacher is not None:
        questions = [
            {"terms": those, "examples": some}
            for those, some in zip(outstanding, terms.examples, strict=True)
        ]
        answers = kit.ask_all(config.prompt, questions, teacher=config.teacher)
        for place, answer in enumerate(answers):
            # Without an answer the terms stay: no row is lost for want of a name.
            if isinstance(answer, RowError) or not cleaned(answer.text):
                kit.count("not_named_by_the_teacher")
                continue
            names[place] = cleaned(answer.text)
            keys[place] = tuple(answer.keys)
    names = told_apart(names)
    kit.note({"names": {str(n): name for n, name in enumerate(names[:NAMED_IN_FIGURES])}})
    return names, keys
