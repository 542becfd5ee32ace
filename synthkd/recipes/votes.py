"""How answers are put to the vote: which ones are the same, and what they weigh together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from synthkd.answers import AnswerSettings, grouped

ANY = AnswerSettings()


class Cluster(NamedTuple):
    """The answers that are one."""

    places: tuple[int, ...]
    """Of its answers among all, the earliest first."""
    weight: float
    """What they weigh together: without weights, how many they are."""


def clusters(
    answers: Sequence[str | None],
    weights: Sequence[float] | None = None,
    *,
    config: AnswerSettings = ANY,
    choices: Sequence[str] | None = None,
) -> list[Cluster]:
    """The answers, those that are the same together; the heaviest first.

    Of equals the one whose first answer comes first.

    Args:
        answers: None = none can be read: it belongs to no cluster.
        weights: of each answer; None = each counts 1.
        config: what counts as the same; by default what does in a text.
        choices: the row's.
    """
    places: dict[int, list[int]] = {}
    for place, group in enumerate(grouped(answers, config, choices)):
        if group is not None:
            places.setdefault(group, []).append(place)
    found = [
        Cluster(tuple(each), float(len(each)) if weights is None else _sum(weights, each))
        for each in places.values()
    ]
    return sorted(found, key=lambda cluster: -cluster.weight)  # stable: the first of equals


def _sum(weights: Sequence[float], places: Sequence[int]) -> float:
    # Rounded, so that 0.1 + 0.2 and 0.3 are a tie whatever their order.
    return round(math.fsum(weights[place] for place in places), 12)
