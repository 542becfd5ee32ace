"""Partitions of vectors into k groups: k-means in three ways, and HDBSCAN, which finds k itself.

All take (n, d) float32 vectors of unit length, which may lie on disk, and give (n,) labels from 0
in no particular order, -1 = in no group. Chance comes from one seed. They run on one thread: on
blocks of this size more threads take twice the CPU seconds or more, some of them waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkd.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int32]

INIT_PER_CLUSTER = 20
"""Vectors a cluster that k-means++ (Arthur and Vassilvitskii, SODA 2007) chooses centres from. With
four times as many the inertia changes in the third digit, and the choice costs twice the time."""
MINI_BATCH = 512
"""Vectors a step of mini-batch k-means (Sculley, WWW 2010). Of 256 to 4,096 the best inertia for
the time, at 100,000 x 384 into 200."""
MINI_EPOCHS = 2
FAISS_ITERATIONS = 10
FAISS_PER_CLUSTER = 256
"""Vectors a cluster that faiss trains on, its own default."""
LLOYD_ITERATIONS = 100
HDBSCAN_MOST = 10_000
"""Rows: above, its neighbour search in many dimensions takes minutes and grows with the square."""
CHUNK = 8_192


def kmeans(vectors: Floats, k: int, seed: int) -> Labels:
    """Lloyd's algorithm to its end, all vectors in memory."""
    import numpy as np
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        fit = KMeans(k, n_init=1, max_iter=LLOYD_ITERATIONS, random_state=seed)
        labels: Labels = fit.fit_predict(np.asarray(vectors)).astype(np.int32)
    return labels


def minibatch(vectors: Floats, k: int, seed: int) -> Labels:
    """Mini-batches, started by k-means++ on a sample; the vectors stay on disk."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        fit = MiniBatchKMeans(
            k,
            init=_start(vectors, k, seed),
            n_init=1,
            batch_size=MINI_BATCH,
            max_iter=MINI_EPOCHS,
            compute_labels=False,
            random_state=seed,
        ).fit(vectors)
        return nearest_centre(vectors, fit.cluster_centers_)


def faiss_kmeans(vectors: Floats, k: int, seed: int) -> Labels:
    """Lloyd's algorithm in faiss on a sample, started by k-means++.

    Raises:
        UserError: faiss is not installed.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "method faiss needs a library: pip install 'synthkd[dedup]', or take method minibatch,"
            " which is as good (docs/curation/clusters.md)"
        ) from error
    with threadpool_limits(1):
        sample = np.asarray(vectors[_sample(len(vectors), FAISS_PER_CLUSTER * k, seed)])
        fit = faiss.Kmeans(
            vectors.shape[1],
            k,
            niter=FAISS_ITERATIONS,
            seed=seed % 2**31,
            min_points_per_centroid=1,
            max_points_per_centroid=FAISS_PER_CLUSTER,
        )
        fit.train(sample, init_centroids=_start(vectors, k, seed))
        return nearest_centre(vectors, np.asarray(fit.centroids))


def hdbscan(vectors: Floats, smallest: int) -> Labels:
    """HDBSCAN (Campello, Moulavi, Sander, PAKDD 2013): groups by density, the others in none.

    Args:
        vectors: fewer than `HDBSCAN_MOST`.
        smallest: rows that make a group.

    Raises:
        UserError: there are too many.
    """
    import numpy as np
    from sklearn.cluster import HDBSCAN
    from threadpoolctl import threadpool_limits

    if len(vectors) >= HDBSCAN_MOST:
        raise UserError(
            f"method hdbscan is for fewer than {HDBSCAN_MOST:,} rows, and {len(vectors):,} came:"
            " take minibatch, or fewer rows"
        )
    if len(vectors) < max(2, smallest):
        return np.full(len(vectors), -1, dtype=np.int32)
    with threadpool_limits(1):
        fit = HDBSCAN(min_cluster_size=max(2, smallest), copy=True)
        labels: Labels = fit.fit_predict(np.asarray(vectors)).astype(np.int32)
    return labels


def nearest_centre(vectors: Floats, centres: Floats) -> Labels:
    """(n,) the nearest of the centres (k, d), by Euclidean distance."""
    import numpy as np

    centres = np.ascontiguousarray(centres, dtype=np.float32)
    half = (centres**2).sum(axis=1) / 2
    labels = np.empty(len(vectors), dtype=np.int32)
    for start in range(0, len(vectors), CHUNK):
        block = np.asarray(vectors[start : start + CHUNK])
        labels[start : start + CHUNK] = (block @ centres.T - half).argmax(axis=1)
    return labels


def different(vectors: Floats, enough: int) -> int:
    """How many different vectors there are; stops counting at `enough`."""
    seen: set[bytes] = set()
    for start in range(0, len(vectors), CHUNK):
        for vector in vectors[start : start + CHUNK]:
            seen.add(vector.tobytes())
            if len(seen) >= enough:
                return enough
    return len(seen)


def _sample(n: int, most: int, seed: int) -> Any:
    """(<= most,) places, ascending: files are read forward."""
    import numpy as np

    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _start(vectors: Floats, k: int, seed: int) -> Floats:
    import numpy as np
    from sklearn.cluster import kmeans_plusplus

    places = _sample(len(vectors), max(INIT_PER_CLUSTER * k, 1_000), seed)
    # In float64: in float32, scikit-learn converts block by block and takes three times as long.
    sample = np.asarray(vectors[places], dtype=np.float64)
    centres, _ = kmeans_plusplus(sample, k, random_state=seed)
    start: Floats = centres.astype(np.float32)
    return start
