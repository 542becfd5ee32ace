"""How many rows each group has: shares of a budget in whole rows, by largest remainder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def largest_remainder(budget: int, weights: Sequence[float], room: Sequence[int]) -> list[int]:
    """Divide `budget` rows in proportion to the weights; nobody gets more than there is room for.

    Each gets the whole part of its share, and the rows that are left go to the largest fractions
    (Hamilton's method), of equal ones to the first. What a group has no room for is divided again
    among the others, so that the budget is used up as far as rows go round.

    Args:
        budget: rows in all.
        weights: one a group, finite and >= 0; where all are 0, groups weigh the same.
        room: how many rows each group has.

    Returns:
        Rows for each group: their sum is min(budget, rows in groups of a positive weight).
    """
    if not any(weights):
        weights = [1.0] * len(weights)
    given = [0] * len(weights)
    open_groups = [i for i, weight in enumerate(weights) if weight > 0 and room[i] > 0]
    while open_groups and budget > 0:
        # Exact: the same on every machine, and equal remainders are seen to be equal.
        exact = [Fraction(weights[i]) for i in open_groups]
        total = sum(exact)
        shares = [budget * weight / total for weight in exact]
        full = [i for i, share in zip(open_groups, shares, strict=True) if share >= room[i]]
        if not full:
            return _rounded(given, open_groups, shares, room, budget)
        for i in full:
            given[i] = room[i]
            budget -= room[i]
        closed = set(full)
        open_groups = [i for i in open_groups if i not in closed]
    return given


def _rounded(
    given: list[int],
    groups: Sequence[int],
    shares: Sequence[Fraction],
    room: Sequence[int],
    budget: int,
) -> list[int]:
    whole = [math.floor(share) for share in shares]
    left = budget - sum(whole)
    by_remainder = sorted(range(len(groups)), key=lambda n: (whole[n] - shares[n], n))
    for n in by_remainder[:left]:
        whole[n] += 1
    for n, i in enumerate(groups):
        given[i] = min(whole[n], room[i])  # a share below the room never rounds above it
    return given
