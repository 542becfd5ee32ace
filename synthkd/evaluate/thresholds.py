"""Where to cut a score: precision and recall at every threshold, what it takes for a wanted one.

A threshold is chosen on one part of the rows and told with what it does on another: what was
chosen is always the best of what was looked at, so its own figure flatters it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What keeping every row with a score of at least `threshold` does."""

    threshold: float
    kept: int
    n: int
    """Rows that there were to keep or not."""
    precision: float | None
    """Share of good rows among the kept; None = none is kept."""
    recall: float | None
    """Share of the good rows that is kept; None = there is none."""


def cut_at(threshold: float, scores: Sequence[float], good: Sequence[bool]) -> Cut:
    """What this threshold does to these rows."""
    kept = [right for score, right in zip(scores, good, strict=True) if score >= threshold]
    hits, there = sum(kept), sum(good)
    return Cut(
        threshold=threshold,
        kept=len(kept),
        n=len(good),
        precision=hits / len(kept) if kept else None,
        recall=hits / there if there else None,
    )


def curve(scores: Sequence[float], good: Sequence[bool]) -> list[Cut]:
    """Every threshold that makes a difference, from the highest: recall grows along it."""
    there, hits, cuts = sum(good), 0, []
    ordered = sorted(zip(scores, good, strict=True), key=lambda pair: -pair[0])
    for place, (score, right) in enumerate(ordered, start=1):
        hits += right
        if place < len(ordered) and ordered[place][0] == score:
            continue  # rows of one score are kept or lost together
        cuts.append(
            Cut(
                threshold=score,
                kept=place,
                n=len(ordered),
                precision=hits / place,
                recall=hits / there if there else None,
            )
        )
    return cuts


def at_precision(wanted: float, scores: Sequence[float], good: Sequence[bool]) -> Cut | None:
    """The threshold that keeps most rows at no less than this precision; None = there is none."""
    enough = [
        cut for cut in curve(scores, good) if cut.precision is not None and cut.precision >= wanted
    ]
    return max(enough, key=lambda cut: cut.kept, default=None)


def at_recall(wanted: float, scores: Sequence[float], good: Sequence[bool]) -> Cut | None:
    """The highest threshold that keeps no less than this share of the good rows; None = no good."""
    return next(
        (cut for cut in curve(scores, good) if cut.recall is not None and cut.recall >= wanted),
        None,
    )
