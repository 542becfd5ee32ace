"""A figure with its interval, and one contestant's lead over another on the same rows.

A share of right answers has the interval of Clopper and Pearson. Every other figure, and every
difference, has a Bayesian bootstrap over rows with the worst and the best row that there could be
made up (`synthkd.evaluate.intervals`); for a difference the worst row is one that the first has
wrong and the second right. Figures that are no means (F1) are biased under weights; an end is moved
outwards by twice the bias, as Efron's bias-corrected percentile is (JASA 82, 1987).

Several seeds of one student: all seeds of a row are drawn together (a bootstrap of clusters; Field
and Welsh, JRSS B 69, 2007), and the spread of the seeds' figures adds Student's t with one degree
of freedom fewer than seeds: a bootstrap of three seeds covers far too little. The two are put
together by the squares of their arms (MOVER; Zou and Donner, Statistics in Medicine 27, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import stdev
from typing import TYPE_CHECKING

from synthkd.evaluate.intervals import drawn_weights, figure_of, share_of
from synthkd.evaluate.scored import Scored
from synthkd.manifest import Difference, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BIAS_DRAWS = 200


def figure(seeds: Sequence[Scored], *, resamples: int, seed: int, level: float = 0.95) -> Interval:
    """A contestant's figure.

    Args:
        seeds: the same rows answered by students that differ by chance alone; of others one.
        resamples: draws behind each end.
        seed: of the draws.
        level: how often the interval is to cover.
    """
    (first, *more) = seeds
    if not more and first.right is not None:
        return share_of(int(first.right.sum()), first.n, level=level)
    return _pooled(seeds, (0.0, 1.0), resamples, seed, level)


def lead(
    student: Sequence[Scored], other: Scored, *, resamples: int, seed: int, level: float = 0.95
) -> Difference:
    """How far a student, of one seed or several, is ahead of somebody else.

    Args:
        student: its answers by seed.
        other: the other's answers to the same rows.
        resamples: draws behind each end.
        seed: of the draws.
        level: how often the interval is to cover.
    """
    found = _pooled([_minus(one, other) for one in student], (-1.0, 1.0), resamples, seed, level)
    difference = Difference(value=found.value, low=found.low, high=found.high)
    (first, *more) = student
    ours, theirs = first.right, other.right
    if more or ours is None or theirs is None:
        return difference
    only = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    counts = {"only_student": only[0], "only_other": only[1], "p": mcnemar(*only)}
    return difference.model_copy(update=counts)


def lead_by_seed(
    ours: Sequence[Scored], theirs: Sequence[Scored], *, resamples: int, seed: int
) -> Difference:
    """How far one way to make students is ahead of another, seed by seed on the same rows.

    Args:
        ours: the first way's answers by seed.
        theirs: the other's, from the same seeds in the same order.
        resamples: draws behind each end.
        seed: of the draws.
    """
    pairs = [_minus(one, other) for one, other in zip(ours, theirs, strict=True)]
    found = _pooled(pairs, (-1.0, 1.0), resamples, seed)
    return Difference(value=found.value, low=found.low, high=found.high)


def lead_of_means(
    ours: Sequence[Scored], theirs: Sequence[Scored], *, resamples: int, seed: int
) -> Difference:
    """How far the mean over some seeds is ahead of the mean over others, on the same rows.

    The spread of each side's seeds adds its own arm (MOVER); one seed adds none, and says nothing
    of the next one.

    Args:
        ours: one way's answers by seed.
        theirs: the other's, from seeds that have nothing to do with ours.
        resamples: draws behind each end.
        seed: of the draws.
    """
    arms = [_arm_of_seeds([one.value for one in side]) for side in (ours, theirs)]
    apart = _minus(mean_scored(ours), mean_scored(theirs))
    found = _with_arm(apart, (-1.0, 1.0), math.hypot(*arms), resamples, seed)
    return Difference(value=found.value, low=found.low, high=found.high)


def mcnemar(only_one: int, only_other: int) -> float:
    """How often chance alone would give a difference as large (McNemar, 1947; exact, two-sided).

    Args:
        only_one: rows that the first alone has right.
        only_other: rows that the second alone has right.
    """
    from scipy.stats import binomtest

    differ = only_one + only_other
    return float(binomtest(only_one, differ, 0.5).pvalue) if differ else 1.0


def _minus(one: Scored, other: Scored) -> Scored:
    """Their difference; the worst row is the first's worst and the second's best."""
    import numpy as np

    def at(weights: Floats) -> Floats:
        return one.at(weights) - other.at(np.hstack([weights[:, :-2], weights[:, :-3:-1]]))

    rows = None if one.rows is None or other.rows is None else one.rows - other.rows
    return Scored(n=one.n, at=at, rows=rows)


def mean_scored(seeds: Sequence[Scored]) -> Scored:
    """The mean of all seeds, on rows that are drawn for all together."""
    import numpy as np

    def at(weights: Floats) -> Floats:
        return sum((one.at(weights) for one in seeds[1:]), seeds[0].at(weights)) / len(seeds)

    rows = [one.rows for one in seeds if one.rows is not None]
    mean = np.mean(rows, axis=0) if len(rows) == len(seeds) else None
    return Scored(n=seeds[0].n, at=at, rows=mean)


def _pooled(
    seeds: Sequence[Scored],
    within: tuple[float, float],
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    arm = _arm_of_seeds([one.value for one in seeds], level)
    return _with_arm(mean_scored(seeds), within, arm, resamples, seed, level)


def _with_arm(
    one: Scored,
    within: tuple[float, float],
    arm: float,
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """The interval over rows, made wider by half the width of that over seeds."""
    rows = figure_of(one.at, one.n, resamples=resamples, seed=seed, level=level)
    bias = 0.0 if one.rows is not None else _bias(one.at, one.n, rows.value, seed)
    below = math.hypot(rows.value - rows.low + max(0.0, 2 * bias), arm)
    above = math.hypot(rows.high - rows.value + max(0.0, -2 * bias), arm)
    return Interval(
        value=rows.value,
        low=max(within[0], rows.value - below),
        high=min(within[1], rows.value + above),
    )


def _arm_of_seeds(figures: Sequence[float], level: float = 0.95) -> float:
    """Half the width of the interval of the mean over seeds, as far as the seeds make it."""
    from scipy.stats import t

    if len(figures) == 1:
        return 0.0
    return (
        float(t.ppf((1 + level) / 2, len(figures) - 1)) * stdev(figures) / math.sqrt(len(figures))
    )


def _bias(at: Callable[[Floats], Floats], n: int, value: float, seed: int) -> float:
    """How far the figure lies above `value` on average while rows are weighted by chance."""
    import numpy as np

    pieces = drawn_weights(n, BIAS_DRAWS, seed)
    found = np.concatenate([at(np.pad(drawn, ((0, 0), (0, 2)))) for drawn in pieces])
    return float(found.mean()) - value
