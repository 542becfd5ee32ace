"""How many of N things are good, from labels one after the other, with a stop at any moment.

A fixed-n interval that is looked at after each label is wrong far more often than it says: one of
the many looks will be lucky. This is a confidence sequence: with probability 1 - risk the truth is
inside at every moment at once, so that whoever looks may stop whenever he likes.

The method is the prior-posterior ratio for sampling without replacement (Waudby-Smith and Ramdas,
Confidence sequences for sampling without replacement, NeurIPS 2020, section 2): under a working
prior over the number K of good ones, prior(K) / posterior(K) is a martingale for the true K, and by
Ville's inequality it ever reaches 1 / risk with probability at most risk. The prior decides how
soon something is shown, never whether it is true. When all N are labelled, one K is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

NEAREST = 1 - 1e-6
"""The greatest share that a prior is made for."""
BY_CHANCE = 0.001
"""How probable losses may be before they are surely too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """A beta distribution of the share that is good: what is bet on before any label."""

    good: float = 1.0
    bad: float = 1.0

    @classmethod
    def above(cls, share: float) -> Prior:
        """Bets on a share half way between this one and 1, where a claim of it comes soonest.

        To show 0.95 takes 81 good labels in a row, where an even prior needs 158 (of very many).
        Nearer to 1 than `NEAREST` it bets on that: the logarithms have no more digits.
        """
        share = min(share, NEAREST)
        return cls(good=(1 + share) / (1 - share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many of all are good, at the least and at the most."""

    n_all: int
    least: int
    most: int

    @property
    def low(self) -> float:
        """The least share."""
        return self.least / self.n_all if self.n_all else 0.0

    @property
    def high(self) -> float:
        """The greatest share."""
        return self.most / self.n_all if self.n_all else 1.0


def bounds_after(labels: Iterable[bool], *, n_all: int, risk: float, prior: Prior) -> Bounds:
    """What is known after these labels, in the order in which they were drawn.

    Bounds that were reached once stay: what was refuted at one moment stays refuted.

    Args:
        labels: whether each is good; drawn uniformly, without replacement.
        n_all: how many there are to draw from.
        risk: the probability that the truth is ever outside.
        prior: chosen before the first label.
    """
    least, most, seen, good = 0, n_all, 0, 0
    for label in labels:
        seen, good = seen + 1, good + label
        low, high = _not_refuted(n_all, seen, good, risk, prior)
        least, most = max(least, low), min(most, high)
    return Bounds(n_all=n_all, least=least, most=max(least, most))


def _not_refuted(n_all: int, seen: int, good: int, risk: float, prior: Prior) -> tuple[int, int]:
    """The least and the greatest K that this many good ones among those seen do not refute."""
    lowest, highest = good, n_all - (seen - good)
    likeliest = min(max(good * (n_all + 1) // seen, lowest), highest)
    limit = -math.log(risk)

    def stands(k: int) -> bool:
        return evidence_against(k, n_all, seen, good, prior) < limit

    # The likelihood rises to the likeliest K and falls behind it, so each side has one border.
    return _first(lowest, likeliest, stands), -_first(-highest, -likeliest, lambda k: stands(-k))


def _first(low: int, high: int, stands: Callable[[int], bool]) -> int:
    """The least number from low to high that stands, where all above it do and `high` does."""
    while low < high:
        middle = (low + high) // 2
        if stands(middle):
            high = middle
        else:
            low = middle + 1
    return high


def evidence_against(k: int, n_all: int, seen: int, good: int, prior: Prior) -> float:
    """The logarithm of prior(k) / posterior(k): k is refuted where it reaches -log(risk)."""
    before = _log_beta_binomial(k, n_all, prior.good, prior.bad)
    after = _log_beta_binomial(k - good, n_all - seen, prior.good + good, prior.bad + seen - good)
    return before - after


def _log_beta_binomial(k: int, n: int, a: float, b: float) -> float:
    choices = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choices + _log_beta(k + a, n - k + b) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def surely_above(lost: int, of: int, share: float) -> bool:
    """Whether so many losses are more than chance makes of this share, looked at again and again.

    Chernoff's bound on the probability of so many, below `BY_CHANCE`; it may be asked after each
    row (docs/recipes/strong_prompt.md has how often it is wrong then).
    """
    found = lost / of
    if found <= share:
        return False
    parts = ((found, share), (1 - found, 1 - share))
    distance = sum(p * math.log(p / q) for p, q in parts if p and q)
    return share == 0 or distance * of > -math.log(BY_CHANCE)
