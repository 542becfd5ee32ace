"""What confidences are worth: are they true, and do they tell right answers from wrong ones.

Expected calibration error over bins of equal mass (Nguyen and O'Connor, EMNLP 2015); trust is
accuracy minus that (FIRST, arXiv 2408.12168); risk against coverage and its area (Geifman and
El-Yaniv, NeurIPS 2017; Geifman et al., ICLR 2019). The calibration error of a sample is never 0,
also where every confidence is true: what it would then be is stated beside it (consistency
resampling; Broecker and Smith, Weather and Forecasting 22, 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthkd.errors import UserError
from synthkd.manifest import Confidences, Coverage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

MOST_BINS = 15
ROWS_OF_A_BIN = 20
"""At least: a bin of fewer rows measures chance."""
DRAWS = 200
POINTS = 10
"""Of the curve: at a tenth of the rows, at two tenths, to all."""


def confidences_of(right: Sequence[bool], sure: Sequence[float], *, seed: int = 0) -> Confidences:
    """Calibration error, trust, and the curve of risk against coverage.

    Args:
        right: (n,) whether each answer is right, n at least 1.
        sure: (n,) confidence in each answer, 0 to 1.
        seed: of the draws behind `ece_if_calibrated`.

    Raises:
        UserError: a confidence is not from 0 to 1.
    """
    import numpy as np

    said = np.asarray(sure, np.float64)
    outside = np.flatnonzero(~((said >= 0) & (said <= 1)))
    if len(outside):
        place = int(outside[0])
        raise UserError(
            f"confidences must be from 0 to 1, got {said[place]} for row {place + 1} (counted from"
            " 1): the student's probabilities are damaged; train it again"
        )
    order = np.argsort(-said, kind="stable")
    said, hit = said[order], np.asarray(right, np.float64)[order]
    bins = max(1, min(MOST_BINS, len(said) // ROWS_OF_A_BIN))
    ece = float(_ece(said, hit[None, :], bins)[0])
    # One draw a row at a time: (draws, n) of 200 x 100,000 would be 160 MB.
    rng = np.random.default_rng(seed)
    by_chance = [_ece(said, (rng.random(len(said)) < said)[None, :], bins) for _ in range(DRAWS)]
    risk = _risk(said, hit)
    return Confidences(
        rows=len(said),
        bins=bins,
        ece=ece,
        ece_if_calibrated=float(np.mean(by_chance)),
        trust=float(hit.mean()) - ece,
        aurc=float(risk.mean()),
        curve=[_at(-(-len(said) * tenth // POINTS), said, risk) for tenth in range(1, POINTS + 1)],
    )


def _ece(said: Floats, hit: Floats | Flags, bins: int) -> Floats:
    """(draws,): hit is (draws, n); both in the order of confidence."""
    import numpy as np

    n = len(said)
    starts = np.arange(bins) * n // bins
    apart = np.abs(np.add.reduceat(hit - said, starts, axis=1))
    error: Floats = apart.sum(axis=1) / n
    return error


def _risk(said: Floats, hit: Floats) -> Floats:
    """(n,) the share of wrong answers among the k surest, for each k; equals are taken together."""
    import numpy as np

    _, group, size = np.unique(-said, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=1 - hit) / size  # of equals each is as wrong as all
    risk: Floats = np.cumsum(wrong[group]) / np.arange(1, len(said) + 1)
    return risk


def _at(k: int, said: Floats, risk: Floats) -> Coverage:
    return Coverage(coverage=k / len(said), risk=float(risk[k - 1]), confidence=float(said[k - 1]))
