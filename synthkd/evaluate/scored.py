"""What a metric makes of one contestant's answers: a figure of weighted rows.

Weights are what a bootstrap draws, so nothing is scored again for an interval, and two contestants
under the same weights are compared on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

CELLS = 4_000_000
"""Numbers in memory at once while drawing (32 MB): draws x rows are done in pieces of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One contestant's answers to n rows, by one metric."""

    n: int
    at: Callable[[Floats], Floats]
    """(draws, n + 2) weights -> (draws,) figures from 0 to 1. The last two rows are made up, the
    worst and the best that there could be: intervals need them."""
    rows: Floats | None = None
    """(n,) the score of each row from 0 to 1, where the figure is their mean; else None."""
    right: Flags | None = None
    """(n,) whether each row is right; None = it is not a matter of right and wrong."""

    @property
    def value(self) -> float:
        """The figure of the rows as they are."""
        import numpy as np

        alone = np.ones((1, self.n + 2))
        alone[:, -2:] = 0.0
        return float(self.at(alone)[0])


def mean_of(scores: ArrayLike) -> Scored:
    """The mean of what each row scores, from 0 to 1."""
    import numpy as np

    rows = np.asarray(scores, np.float64)
    with_made_up = np.append(rows, [0.0, 1.0])
    return Scored(
        n=len(rows), at=lambda weights: weights @ with_made_up / weights.sum(axis=1), rows=rows
    )


def share_right(right: ArrayLike) -> Scored:
    """The share of rows that are right."""
    import numpy as np

    return replace(mean_of(right), right=np.asarray(right, np.bool_))


def ratio_of(hits: ArrayLike, things: ArrayLike) -> Scored:
    """A share of things found in rows, over all rows together, such as precision or recall.

    Args:
        hits: (n,) things of each row that count.
        things: (n,) all things of each row.
    """
    import numpy as np

    all_of_it = np.asarray(things, np.float64)
    most = all_of_it.max()
    found = np.append(hits, [0.0, most])
    total = np.append(all_of_it, [most, most])

    def at(weights: Floats) -> Floats:
        under = weights @ total
        share: Floats = np.divide(weights @ found, under, out=np.zeros(len(under)), where=under > 0)
        return share

    return Scored(n=len(all_of_it), at=at)


def f1_of(hits: ArrayLike, named: ArrayLike, wanted: ArrayLike) -> Scored:
    """F1 of things found in rows, over all rows together (micro-average).

    Args:
        hits: (n,) things of each row that were named and are wanted.
        named: (n,) things that were named.
        wanted: (n,) things in gold.
    """
    import numpy as np

    sizes = np.stack([np.asarray(named, np.float64), np.asarray(wanted, np.float64)])
    # The worst row names as much as the largest has, all of it wrong; the best names it right.
    most = sizes.max()
    found = np.append(hits, [0.0, most])
    both = np.append(sizes.sum(axis=0), [2 * most, 2 * most])

    def at(weights: Floats) -> Floats:
        total = weights @ both
        f1: Floats = np.divide(
            2 * (weights @ found), total, out=np.zeros(len(total)), where=total > 0
        )
        return f1

    return Scored(n=sizes.shape[1], at=at)
