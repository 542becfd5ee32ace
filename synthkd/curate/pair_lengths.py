"""Whether preference pairs teach length: how often the preferred one is longer, by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from synthkd.rows import Json
from synthkd.steps import Kit

PAIRS, LONGER, UNEQUAL = "pairs", "chosen is longer", "pairs of unequal length"
CHOSEN, REJECTED = "characters of the chosen", "characters of the rejected"
GAP = "chosen longer by, characters"
"""The mean over pairs; below 0 = shorter."""
LEAST_TO_WARN = 20
"""Pairs: of fewer, all may well lean one way."""
LEANS = 0.65
"""Of the pairs of unequal length: more that go one way teach the length."""


def count_pair(kit: Kit, chosen: str, rejected: str) -> None:
    """Add a pair to the figures."""
    kit.count(PAIRS)
    kit.count(UNEQUAL, int(len(chosen) != len(rejected)))
    kit.count(LONGER, int(len(chosen) > len(rejected)))
    kit.count(CHOSEN, len(chosen))
    kit.count(REJECTED, len(rejected))


def with_gap(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """The figures with the mean gap of lengths."""
    pairs, more, less = (figures.get(name) for name in (PAIRS, CHOSEN, REJECTED))
    if not isinstance(pairs, int) or not pairs:
        return figures
    if not isinstance(more, int) or not isinstance(less, int):
        return figures
    return {**figures, GAP: round((more - less) / pairs, 1)}


def lean(figures: Mapping[str, Json]) -> Iterable[str]:
    """A warning, if most preferred answers are the longer ones, or the shorter ones."""
    unequal, longer = figures.get(UNEQUAL, 0), figures.get(LONGER, 0)
    if not isinstance(unequal, int) or not isinstance(longer, int) or unequal < LEAST_TO_WARN:
        return
    if not 1 - LEANS <= longer / unequal <= LEANS:
        yield (
            f"the preferred answer is the longer one in {longer:,} of {unequal:,} pairs: the length"
            " is learnt too. A `ratio` leaves out the pairs whose lengths differ most"
        )


def apart(texts: Sequence[str]) -> float:
    """How far the lengths of two texts are apart: the logarithm of their ratio."""
    return abs(math.log(len(texts[0]) / len(texts[1])))


def within(texts: Sequence[str], ratio: float | None) -> bool:
    """Whether neither text is more than so many times as long as the other; None = whatever."""
    return ratio is None or apart(texts) <= math.log(ratio) + 1e-9
