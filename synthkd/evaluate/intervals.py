"""How sure a figure is, also where everything agrees: 95 % intervals that do not collapse.

A percentile bootstrap of ten right verdicts of ten says 1.0 to 1.0, and covers far less than it
says for few items or rare faults. These intervals cover at least 95 % in the simulations of
tests/evaluate/test_intervals.py, for 30 and for 100 items.

A share of things that are so or not has the interval of Clopper and Pearson (Biometrika 26, 1934).
Its lower end is the 2.5th percentile of Beta(hits, misses + 1): of the share under random weights
of the items (a Bayesian bootstrap; Rubin, Annals of Statistics 9, 1981) with one miss made up; the
upper end is that with one hit made up. Every other figure takes the same two steps with the worst
and the best item that there could be. For the mean of amounts with a least and a most that is
Gaffke's bound (Learned-Miller and Thomas, 1905.06208); for kappa and alpha it is this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from synthkd.evaluate.scored import CELLS
from synthkd.manifest import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def share_of(hits: float, n: float, *, level: float = 0.95) -> Interval:
    """A share of n things, exactly.

    Args:
        hits: 0 to n; half of one is a tie.
        n: at least 1.
        level: how often it is to cover.
    """
    from scipy.special import betaincinv

    outside = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, outside)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - outside)) if hits < n else 1.0
    return Interval(value=hits / n, low=low, high=high)


def figure_of(
    of: Callable[[Floats], Floats],
    n_items: int,
    *,
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Any figure of weighted items.

    Args:
        of: (draws, n_items + 2) weights -> (draws,) values. The last two items are made up: the
            worst and the best that there could be.
        n_items: how many there are, without those two; at least 1.
        resamples: draws behind each end.
        seed: of the draws.
        level: how often it is to cover.
    """
    import numpy as np

    alone = np.ones((1, n_items + 2))
    alone[:, n_items:] = 0.0
    (value,) = of(alone)
    ends: tuple[list[Floats], list[Floats]] = ([], [])
    for weights in drawn_weights(n_items + 1, resamples, seed):
        none = np.zeros((len(weights), 1))
        ends[0].append(of(np.hstack([weights, none])))
        ends[1].append(of(np.hstack([weights[:, :-1], none, weights[:, -1:]])))
    outside = 50 * (1 - level)
    low, high = (
        float(np.nanpercentile(np.concatenate(draws), at))
        for draws, at in zip(ends, (outside, 100 - outside), strict=True)
    )
    # What was seen lies inside, also where a made-up item weighs more than its kind would.
    return Interval(value=float(value), low=min(low, value), high=max(high, value))


def drawn_weights(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """(draws, n) at a time: weights that are uniform over all that add up to n."""
    import numpy as np

    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS // n)
    for start in range(0, resamples, at_once):
        weights = rng.exponential(size=(min(at_once, resamples - start), n))
        yield weights * (n / weights.sum(axis=1, keepdims=True))
