"""How often one side wins over the other, and how often it would at equal length.

    logit P(first wins) = t + b * tanh(d / s)

d is how much longer the first answer is, s the root mean square of d; the length-controlled win
rate is the logistic of t, which is what is left when d is 0. That is the model of AlpacaEval 2
(arXiv 2404.04475) without its third term, the difficulty of each instruction, which is estimated
from the answers of very many models.

Fitted by Newton's method on the log-likelihood less `PENALTY` * b^2 / 2: without the penalty a
judge that always takes the longer one would have no finite fit. t is not penalised, except by one
tie at equal length that is added, which keeps it finite too. s is about 0, not about the mean of d,
so that the two sides are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkd.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PENALTY = 0.1
"""Of b: about that of ten comparisons at the ends of the scale; nothing beside some hundred."""
STEPS = 50
PRECISE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """How one side of the comparisons does; ties count half."""

    n: int
    raw: float
    """0 to 1: the mean preference for the first."""
    at_equal_length: float
    """0 to 1: the length-controlled win rate."""
    length_effect: float
    """b: how the log-odds change with tanh(d / s); 0 = length makes no difference."""
    longer: float | None
    """The share of decided comparisons of unequal lengths that the longer answer wins."""


def win_rate(preferences: Sequence[float], longer_by: Sequence[float]) -> WinRate:
    """Raw and length-controlled win rate of the first answers.

    Swapping the sides of all comparisons gives one minus both rates.

    Args:
        preferences: (n,) 0 to 1: how far the first is preferred; 0.5 = a tie.
        longer_by: (n,) length of the first less that of the second, in any unit.

    Raises:
        UserError: there is nothing to compare, or a preference is not from 0 to 1.
    """
    import numpy as np

    wins, lengths = np.asarray(preferences, np.float64), np.asarray(longer_by, np.float64)
    if len(wins) == 0 or wins.shape != lengths.shape:
        raise UserError(f"there must be as many preferences as lengths, got {len(wins)}")
    if not ((wins >= 0) & (wins <= 1)).all() or not np.isfinite(lengths).all():
        raise UserError("preferences must be from 0 to 1, and lengths finite")
    spread = math.sqrt(float((lengths**2).mean()))  # about 0, so that the sides are alike
    x = np.tanh(lengths / spread) if spread > 0 else np.zeros_like(lengths)
    t, b = _fit(wins, x)
    decided = (wins != 0.5) & (lengths != 0)
    longer = ((wins > 0.5) == (lengths > 0))[decided]
    return WinRate(
        n=len(wins),
        raw=float(wins.mean()),
        at_equal_length=1 / (1 + math.exp(-t)),
        length_effect=b,
        longer=float(longer.mean()) if len(longer) else None,
    )


def _fit(wins: Floats, x: Floats) -> tuple[float, float]:
    """The intercept t and the slope b."""
    import numpy as np

    # The added tie.
    design = np.column_stack([np.ones(len(x) + 1), np.append(x, 0.0)])
    target = np.append(wins, 0.5)
    theta, penalty = np.zeros(2), np.diag([0.0, PENALTY])
    for _ in range(STEPS):
        share = 1 / (1 + np.exp(-design @ theta))
        gradient = design.T @ (target - share) - penalty @ theta
        curvature = design.T @ (design * (share * (1 - share))[:, None]) + penalty
        step = np.linalg.solve(curvature, gradient)
        # A step of the penalised likelihood may overshoot where a side wins nearly always.
        theta = theta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), PRECISE))
        if float(np.abs(step).max()) < PRECISE:
            break
    return float(theta[0]), float(theta[1])
