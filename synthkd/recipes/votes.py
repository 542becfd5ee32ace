"""How answers are put to the vote: which ones are the same, and what they weigh together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from synthkd.text import equivalent


class Cluster(NamedTuple):
    """The answers that are one."""

    places: tuple[int, ...]
    """Of its answers among all, the earliest first."""
    weight: float
    """What they weigh together: without weights, how many they are."""


def clusters(
    answers: Sequence[str | None], weights: Sequence[float] | None = None
) -> list[Cluster]:
    """The answers, those that are equivalent together; the heaviest first.

    Of equals the one whose first answer comes first.

    Args:
        answers: None = none can be read: it belongs to no cluster.
        weights: of each answer; None = each counts 1.
    """
    places: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        if answer is not None:
            places.setdefault(equivalent(answer), []).append(place)
    found = [
        Cluster(tuple(same), float(len(same)) if weights is None else _sum(weights, same))
        for same in places.values()
    ]
    return sorted(found, key=lambda cluster: -cluster.weight)  # stable: the first of equals


def _sum(weights: Sequence[float], places: Sequence[int]) -> float:
    # Rounded, so that 0.1 + 0.2 and 0.3 are a tie whatever their order.
    return round(math.fsum(weights[place] for place in places), 12)
