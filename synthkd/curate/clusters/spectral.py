"""PASER's clustering (2502.12594, section 3.1, S2RIC): spectral coordinates, then NMF.

    A_ij = exp(-|e_i - e_j|^2 / 2 sigma^2) on the graph of nearest neighbours, sigma their median
    N    = D^-1/2 A D^-1/2, whose k largest eigenvectors are the k smallest of the Laplacian
    S    = |Psi Psi^T| of the rows of Psi at unit length;  S ~ W H, W and H >= 0;  label = argmax W

It differs from the paper's code where that is not what the formula means: the affinity is sparse
(dense, it takes n^2 exponentials), the matrix symmetric (the random-walk Laplacian is not, and a
solver for symmetric matrices gives wrong vectors for it), and the columns of W are scaled by the
rows of H before they are compared, since only their product is determined. S does not depend on
signs or rotations of the eigenvectors, which no solver promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkd.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Reals = NDArray[np.float64]
    Labels = NDArray[np.int32]

MOST = 4_000
"""Rows: S is dense, 128 MB here."""
NEIGHBOURS = 30
"""At most; of few rows a tenth, or the groups grow together."""
DENSE_UP_TO = 500
"""Rows up to which all eigenvectors are computed, by a solver that needs no luck to converge."""
CHOOSING_ROWS = 500
"""Rows of the sample on which k is chosen."""
MOST_CHOSEN = 20
NMF_ITERATIONS = 200
SAME_ERROR = 0.01
"""Relative errors that differ by less are the same, and the largest k of them is taken: where
groups are apart, fewer coordinates than groups can be factored as exactly, more cannot."""


def spectral(vectors: Floats, k: int | None, seed: int) -> tuple[Labels, int]:
    """Cluster at most `MOST` vectors of unit length.

    Args:
        vectors: (n, d) float32.
        k: how many clusters; None = of 2 to `MOST_CHOSEN` the largest whose S is about as near to
            rank k as any, by the relative error of the NMF.
        seed: of the solvers and of the sample for choosing k.

    Returns:
        (n,) labels from 0, and k.

    Raises:
        UserError: there are too many.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    if len(vectors) > MOST:
        raise UserError(
            f"method spectral is for at most {MOST:,} rows, and {len(vectors):,} came: take"
            " minibatch, or fewer rows"
        )
    with threadpool_limits(1):
        if k is None:
            k = _chosen(vectors, seed)
        if k < 2 or len(vectors) <= k:
            return np.arange(len(vectors), dtype=np.int32) % max(k, 1), k
        labels, _ = _factored(_coordinates(vectors, k, seed), seed)
    return labels, k


def _chosen(vectors: Floats, seed: int) -> int:
    import numpy as np

    if len(vectors) > CHOOSING_ROWS:
        places = np.random.default_rng(seed).choice(len(vectors), CHOOSING_ROWS, replace=False)
        vectors = vectors[np.sort(places)]
    most = min(MOST_CHOSEN, len(vectors) - 1)
    if most < 2:
        return 1
    whole = _coordinates(vectors, most, seed)
    errors = {k: _factored(whole[:, :k], seed)[1] for k in range(2, most + 1)}
    least = min(errors.values())
    return max(k for k, error in errors.items() if error <= least + SAME_ERROR)


def _coordinates(vectors: Floats, k: int, seed: int) -> Reals:
    """(n, k) eigenvectors of N, largest eigenvalue first."""
    import numpy as np
    from scipy.sparse.linalg import eigsh

    affinity = _normalised(_affinity(np.asarray(vectors)))
    if len(vectors) <= DENSE_UP_TO:
        found: Reals = np.linalg.eigh(affinity.toarray())[1][:, ::-1][:, :k]
        return found
    start = np.random.default_rng(seed).uniform(0.5, 1, len(vectors))
    values, coordinates = eigsh(affinity, k, which="LA", v0=start)
    ordered: Reals = coordinates[:, np.argsort(-values)]
    return ordered


def _affinity(vectors: Floats) -> Any:
    """(n, n) sparse and symmetric; each row with its nearest neighbours."""
    import numpy as np
    from sklearn.neighbors import kneighbors_graph

    neighbours = min(NEIGHBOURS, max(5, len(vectors) // 10), len(vectors) - 1)
    graph = kneighbors_graph(vectors, neighbours, mode="distance").tocsr()
    sigma = float(np.median(graph.data)) or 1.0  # all equal: every affinity is 1
    graph.data = np.exp(-(graph.data**2) / (2 * sigma**2))
    return graph.maximum(graph.T)


def _normalised(affinity: Any) -> Any:
    import numpy as np
    from scipy.sparse import diags_array

    scale = diags_array(1 / np.sqrt(np.asarray(affinity.sum(axis=1)).ravel()))
    return (scale @ affinity @ scale).tocsr()


def _factored(coordinates: Reals, seed: int) -> tuple[Labels, float]:
    """Labels by NMF of S, and its relative error |S - WH| / |S|."""
    import numpy as np
    from sklearn.decomposition import NMF

    lengths = np.linalg.norm(coordinates, axis=1, keepdims=True)
    psi = coordinates / np.maximum(lengths, 1e-12)
    similarity = np.abs(psi @ psi.T)
    fit = NMF(coordinates.shape[1], init="nndsvda", max_iter=NMF_ITERATIONS, random_state=seed)
    weights = _quietly(fit, similarity)
    labels = (weights * np.linalg.norm(fit.components_, axis=1)).argmax(axis=1)
    error = float(fit.reconstruction_err_ / np.linalg.norm(similarity))
    return labels.astype(np.int32), error


def _quietly(fit: Any, similarity: Reals) -> Reals:
    """A factorisation that still moves in the sixth digit is good enough for an argmax."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weights: Reals = fit.fit_transform(similarity)
    return weights
