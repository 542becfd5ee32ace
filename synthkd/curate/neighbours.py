"""Pairs of vectors whose cosine reaches a threshold: all of them, or those among near neighbours.

Vectors are (n, d) float32 of unit length or zero and may lie on disk. Everything runs on one
thread, so that the number of cores has no say in which pairs are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from synthkd.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Index = NDArray[np.int64]
    Floats = NDArray[np.float64]

EXACT_UP_TO = 20_000
"""Vectors of which all pairs are compared: about 10 CPU seconds at 256 dimensions."""
PRODUCTS_AT_ONCE = 2**23
"""Cosines that are in memory at once: 32 MB."""
NEIGHBOURS = 32
"""Neighbours that are looked at of each vector, above `EXACT_UP_TO`."""
PROBES = 24
"""Of the cells of the inverted file, the nearest that are searched."""
TRAINED_ON = 40
"""Vectors a cell that the cells are found from; faiss warns below 39."""


class Pairs(NamedTuple):
    """Some pairs, and how like they are."""

    pairs: Index
    """(n, 2) int64, the smaller place first."""
    cosine: Floats
    """(n,)"""


def all_pairs(vectors: Vectors, members: Index, threshold: float) -> Iterator[Pairs]:
    """Every pair of members that reaches the threshold, each once.

    Args:
        vectors: of all things.
        members: (m,) int64, rising: the places that are compared.
        threshold: the least cosine.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    chosen = np.ascontiguousarray(vectors[members])
    size = max(1, PRODUCTS_AT_ONCE // max(len(members), 1))
    for start in range(0, len(members), size):
        with threadpool_limits(1):
            products = chosen[start : start + size] @ chosen[start:].T
        one, other = np.nonzero(np.triu(products >= threshold, 1))
        if len(one):
            pairs = np.stack([members[one + start], members[other + start]], axis=1)
            yield Pairs(pairs, products[one, other].astype(np.float64))


def nearest_pairs(vectors: Vectors, members: Index, threshold: float) -> Iterator[Pairs]:
    """Pairs that reach the threshold among the `NEIGHBOURS` nearest of each member.

    By an inverted file (`IndexIVFFlat` of faiss): the vectors are sorted into about 4 sqrt(m)
    cells, and the `PROBES` nearest cells are searched exactly.

    Args:
        vectors: of all things.
        members: (m,) int64, rising: the places that are compared.
        threshold: the least cosine.

    Raises:
        UserError: faiss is not installed.
    """
    import numpy as np

    try:
        import faiss
    except ImportError as error:
        raise UserError(
            f"dedup.semantic compares all pairs of up to {EXACT_UP_TO:,} texts; here are"
            f" {len(members):,}, which needs faiss: pip install 'synthkd[dedup]'"
        ) from error
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index = _inverted_file(faiss, vectors, members)
        size = max(1, PRODUCTS_AT_ONCE // 256)
        for start in range(0, len(members), size):
            asked = members[start : start + size]
            cosine, place = index.search(np.ascontiguousarray(vectors[asked]), NEIGHBOURS + 1)
            row, column = np.nonzero((cosine >= threshold) & (place >= 0))
            pairs = np.stack([asked[row], members[place[row, column]]], axis=1)
            apart = pairs[:, 0] != pairs[:, 1]
            found = cosine[row, column].astype(np.float64)[apart]
            if len(found):
                yield Pairs(np.sort(pairs[apart], axis=1), found)
    finally:
        faiss.omp_set_num_threads(threads)


def _inverted_file(faiss, vectors: Vectors, members: Index):  # type: ignore[no-untyped-def]
    import numpy as np

    dimensions = vectors.shape[1]
    cells = max(1, round(4 * len(members) ** 0.5))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(dimensions), dimensions, cells, faiss.METRIC_INNER_PRODUCT
    )
    index.nprobe = min(PROBES, cells)
    step = max(1, len(members) // (cells * TRAINED_ON))
    index.train(np.ascontiguousarray(vectors[members[::step]]))
    for start in range(0, len(members), 2**16):
        index.add(np.ascontiguousarray(vectors[members[start : start + 2**16]]))
    return index


def before(vectors: Vectors, line: Index, threshold: float) -> Pairs:
    """For each place in a line the likest of those before it, where that reaches the threshold.

    Args:
        vectors: of all things.
        line: (m,) int64 places, the first first.
        threshold: the least cosine.

    Returns:
        At most one pair for each place but the first: (the one before, it).
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    chosen = np.ascontiguousarray(vectors[line])
    size = max(1, PRODUCTS_AT_ONCE // max(len(line), 1))
    found = []
    for start in range(0, len(line), size):
        with threadpool_limits(1):
            products = chosen[start : start + size] @ chosen[: start + size].T
        places = np.arange(len(products))
        # Itself and those after it do not count.
        products[np.arange(products.shape[1]) >= places[:, None] + start] = -2
        best = products.argmax(axis=1)
        cosine = products[places, best]
        alike = cosine >= threshold
        pairs = np.stack([line[best[alike]], line[places[alike] + start]], axis=1)
        found.append((pairs, cosine[alike].astype(np.float64)))
    return Pairs(
        np.concatenate([pairs for pairs, _ in found]), np.concatenate([c for _, c in found])
    )


def first_equals(vectors: Vectors) -> Index:
    """(n,) int64: the place of the first vector that is the same, number by number."""
    import numpy as np

    n, dimensions = vectors.shape
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    digests = np.empty(n, dtype=np.uint64)
    weights = np.random.RandomState(0).randint(0, 2**63, size=dimensions, dtype=np.uint64)
    for start in range(0, n, 2**14):
        bits = np.ascontiguousarray(vectors[start : start + 2**14]).view(np.uint32)
        digests[start : start + 2**14] = ((bits + np.uint64(1)) * weights).sum(
            axis=1, dtype=np.uint64
        )
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def cosines(vectors: Vectors, pairs: Index) -> Floats:
    """(n, 2) places -> (n,) cosines."""
    import numpy as np

    found = np.empty(len(pairs))
    for start in range(0, len(pairs), 2**14):
        some = pairs[start : start + 2**14]
        one, other = vectors[some[:, 0]], vectors[some[:, 1]]
        found[start : start + 2**14] = np.einsum("nd,nd->n", one, other, dtype=np.float64)
    return found
