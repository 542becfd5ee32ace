"""Robust Active Distillation: how likely each row is to be asked about; pure arithmetic.

RAD (arXiv 2210.01213): the teacher is wrong on some m of n rows, nobody knows which. Of all ways to
draw rows, the one sought gains most in the worst case: the sum of p_i g_i over rows, without the
m for which that is largest. g_i is what row i brings if the teacher is right, 1 - margin of the
student. The optimum is known: with gains in falling order and H_k = 1/g_1 + ... + 1/g_k,

    k = argmax over k > m of (k - m) / H_k        p_i = 1 / (g_i H_k) for i <= k, else 0.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_GAIN = 1e-9
"""In place of a gain of 0, which has no inverse: such a row is drawn if nothing better is left."""


def robust_shares(gains: Sequence[float], wrong: int) -> Floats:
    """The probability of each row: (n_rows,), sums to 1.

    Args:
        gains: what each row brings, from 0 to 1; at least one.
        wrong: how many rows the teacher has wrong, from 0 and below the number of rows.

    Raises:
        ValueError: no rows, a gain out of range, or `wrong` out of range.
    """
    import numpy as np

    gain = np.asarray(gains, np.float64)
    if not len(gain) or not ((gain >= 0) & (gain <= 1)).all():
        raise ValueError("gains must be numbers from 0 to 1, at least one")
    if not 0 <= wrong < len(gain):
        raise ValueError(f"wrong must be from 0 to {len(gain) - 1}, one below the rows; is {wrong}")
    gain = np.maximum(gain, LEAST_GAIN)
    order = np.argsort(-gain, kind="stable")
    inverse = 1 / gain[order]
    sums = np.cumsum(inverse)
    worth = (np.arange(1, len(gain) + 1) - wrong) / sums
    last = wrong + int(np.argmax(worth[wrong:]))
    shares = np.zeros(len(gain))
    shares[order[: last + 1]] = inverse[: last + 1] / sums[last]
    return shares


def capped(shares: Floats, n: int) -> Floats:
    """How likely each row is to be among n that are drawn: n x share, at most 1.

    What is above 1 goes to the other rows in proportion, to those of share 0 last and evenly; so
    the sum is n.

    Args:
        shares: (n_rows,) of a row each, sum to 1.
        n: rows to draw, at most n_rows.
    """
    import numpy as np

    chances = np.zeros(len(shares))
    free = shares > 0
    sure = np.zeros(len(shares), bool)
    while free.any():
        left = n - sure.sum()
        chances[free] = shares[free] * left / shares[free].sum()
        over = free & (chances >= 1)
        if not over.any():
            break
        chances[over], sure, free = 1.0, sure | over, free & ~over
    rest = shares <= 0
    if not free.any() and rest.any():
        chances[rest] = (n - sure.sum()) / rest.sum()
    return chances


def drawn(chances: Floats, rng: random.Random) -> list[int]:
    """Rows drawn with just these chances, as many as they sum to, in rising order.

    Systematic sampling in an order of chance: ticks one apart over the chances end to end.
    """
    places = [place for place, chance in enumerate(chances) if chance > 0]
    rng.shuffle(places)
    tick, reached, chosen = rng.random(), 0.0, []
    for place in places:
        reached += float(chances[place])
        if tick < reached - 1e-9:
            chosen.append(place)
            tick += 1
    return sorted(chosen)
