"""How far raters agree: accuracy, Cohen's kappa, Krippendorff's alpha, and two probes of a judge.

Every figure takes `weights`, (draws, items): how often each item counts in each draw, as
`synthkd.evaluate.intervals.drawn_weights` makes them for a bootstrap; a matrix of one row of ones
gives the figure itself. All return (draws,) float64, NaN where a draw has nothing to count.

Where nothing varies, chance explains everything: kappa and alpha are then 0, since agreement beyond
chance was not shown. scikit-learn's `cohen_kappa_score` gives NaN there and the same values
elsewhere; it has no weights of draws, and no alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from synthkd.evaluate.scored import CELLS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

Scale = Literal["nominal", "ordinal", "interval"]
"""Labels that only differ, that have an order, or whose differences are amounts."""


def ratio(part: Floats, whole: Floats, weights: Floats) -> Floats:
    """A share of all items together.

    Args:
        part: (items,) how much of each item is a hit.
        whole: (items,) how much of it there is; 0 = the item does not count.
        weights: (draws, items).
    """
    import numpy as np

    total = weights @ whole
    share: Floats = np.full(len(total), np.nan)
    np.divide(weights @ part, total, out=share, where=total > 0)
    return share


def distances(values: Sequence[float], scale: Scale) -> Floats:
    """How far two labels are apart, from 0 to 1: what a weighted kappa punishes a confusion with.

    Nominal labels are apart or not. Else it is the square of the difference, of the ranks for an
    ordinal scale and of the values for an interval scale, as a share of the greatest there is.

    Args:
        values: of the labels, ascending; for a nominal scale only how many there are counts.
        scale: what they mean.
    """
    import numpy as np

    if scale == "nominal" or len(values) < 2:
        different: Floats = 1.0 - np.eye(len(values))
        return different
    at = np.arange(len(values), dtype=float) if scale == "ordinal" else np.asarray(values, float)
    squares: Floats = (at[:, None] - at[None, :]) ** 2
    squares /= squares.max()
    return squares


def kappa(one: Codes, other: Codes, apart: Floats, weights: Floats) -> Floats:
    """Cohen's kappa of two raters, weighted by `apart` (Cohen, Psychological Bulletin 70, 1968).

    Args:
        one: (items,) the labels' places; -1 = no label, which is as far from all as may be.
        other: the same of the other rater.
        apart: (labels, labels), see `distances`.
        weights: (draws, items).
    """
    import numpy as np

    n_labels = len(apart)
    cost = np.ones((n_labels + 1, n_labels + 1))  # the last label is "none"
    cost[:n_labels, :n_labels] = apart
    cost[n_labels, n_labels] = 0.0
    firsts = np.stack([weights @ (one % (n_labels + 1) == k) for k in range(n_labels + 1)], axis=1)
    seconds = np.stack(
        [weights @ (other % (n_labels + 1) == k) for k in range(n_labels + 1)], axis=1
    )
    observed = weights @ cost[one, other]
    expected = np.einsum("di,ij,dj->d", firsts, cost, seconds) / weights.sum(axis=1)
    beyond: Floats = np.ones(len(observed))
    np.divide(observed, expected, out=beyond, where=expected > 0)
    return 1.0 - beyond


def alpha(codes: Codes, values: Sequence[float], scale: Scale, weights: Floats) -> Floats:
    """Krippendorff's alpha of any number of raters, with gaps.

    After Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): one minus observed over
    expected disagreement, both read off the matrix of coincidences. Items with fewer than two
    labels say nothing.

    Args:
        codes: (items, raters) the labels' places; -1 = no label.
        values: of the labels, ascending; for a nominal scale only how many there are counts.
        scale: what they mean.
        weights: (draws, items).
    """
    import numpy as np

    pairs = _pairs(codes, len(values))
    at_once = max(1, CELLS // max(1, len(values) ** 2))
    return np.concatenate(
        [
            _alpha(pairs, values, scale, weights[start : start + at_once])
            for start in range(0, len(weights), at_once)
        ]
    )


def _pairs(codes: Codes, n_labels: int) -> csr_array:
    """(items, labels^2), sparse: how much each item adds to the matrix of coincidences."""
    import numpy as np
    from scipy.sparse import csr_array

    places: list[Codes] = []
    items: list[Codes] = []
    amounts: list[Floats] = []
    given = (codes >= 0).sum(axis=1)
    n_raters = codes.shape[1]
    for one in range(n_raters):
        for other in range(n_raters):
            both = (codes[:, one] >= 0) & (codes[:, other] >= 0)
            if one == other or not both.any():
                continue
            (rows,) = np.nonzero(both)
            items.append(rows)
            places.append(codes[rows, one] * n_labels + codes[rows, other])
            amounts.append(1.0 / (given[rows] - 1))
    shape = (len(codes), n_labels**2)
    if not items:
        return csr_array(shape)
    return csr_array(
        (np.concatenate(amounts), (np.concatenate(items), np.concatenate(places))), shape=shape
    )


def _alpha(pairs: csr_array, values: Sequence[float], scale: Scale, weights: Floats) -> Floats:
    import numpy as np

    n_labels = len(values)
    coincidences = (weights @ pairs).reshape(len(weights), n_labels, n_labels)
    totals = coincidences.sum(axis=2)
    n = totals.sum(axis=1)
    if scale == "ordinal":
        # Two labels are as far apart as there are labels between them, half of their own included.
        upto = totals.cumsum(axis=1) - totals / 2
        apart = (upto[:, :, None] - upto[:, None, :]) ** 2
    else:
        apart = distances(values, scale)[None, :, :]
    observed = (coincidences * apart).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * apart).sum(axis=(1, 2))
    expected /= np.maximum(n - 1, 1)
    beyond: Floats = np.ones(len(n))
    np.divide(observed, expected, out=beyond, where=expected > 0)
    beyond[n == 0] = np.nan
    return 1.0 - beyond
