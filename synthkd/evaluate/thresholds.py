"""Where to cut a score: precision and recall at every threshold, what it takes for a wanted one.

A threshold is chosen on one part of the rows and told with what it does on another: what was
chosen is always the best of what was looked at, so its own figure flatters it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synthkd.evaluate.judged import GOOD, NOT_GOOD, Item, as_good, truth_of
from synthkd.evaluate.reliability import Scale
from synthkd.manifest import Record
from synthkd.text import equivalent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A threshold on `Item.score` that is to be found."""

    precision: float
    good: tuple[str, ...] = ()
    """Labels of people that make an item good; none = it is good where the verdict is right."""
    validation: float = 0.5
    """Share of the items on which the threshold is chosen; the others test it."""
    seed: int = 0
    """Of the split."""


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


class At(Record):
    """What a threshold does to one part of the items."""

    n: int
    kept: int
    precision: float | None
    """None = none is kept."""
    recall: float | None
    """None = none is good."""


class Threshold(Record):
    """A threshold for a wanted precision: chosen on validation, shown on test."""

    wanted: float
    """The precision."""
    threshold: float | None
    """Scores of at least this are believed; None = no threshold reaches what is wanted."""
    validation: At
    test: At | None
    without_score: int
    """Items that have no score: never believed."""


def threshold_for(items: Sequence[Item], wanted: Wanted, scale: Scale) -> Threshold:
    """The threshold that reaches the precision on validation, and what it does on the test part."""
    if wanted.good:
        items, scale = as_good(items, wanted.good), "nominal"
    sides: tuple[list[tuple[float, bool]], list[tuple[float, bool]]] = ([], [])
    for item in items:
        truth = truth_of(item, scale)
        if item.score is None or truth is None:
            continue
        right = item.verdict is not None and equivalent(item.verdict) == truth
        good = truth == GOOD if wanted.good else right
        sides[is_test(item, wanted)].append((item.score, good))
    validation, test = ([[*side] for side in zip(*part, strict=True)] or [[], []] for part in sides)
    chosen = at_precision(wanted.precision, *validation)
    none = Cut(threshold=0.0, kept=0, n=len(validation[0]), precision=None, recall=None)
    return Threshold(
        wanted=wanted.precision,
        threshold=None if chosen is None else chosen.threshold,
        validation=_at(chosen or none),
        test=None if chosen is None else _at(cut_at(chosen.threshold, *test)),
        without_score=sum(item.score is None for item in items),
    )


def decided(items: Sequence[Item], wanted: Wanted, threshold: Threshold) -> list[Item]:
    """Scores as verdicts: good from the threshold on. Only the items that did not choose it."""
    cut = math.inf if threshold.threshold is None else threshold.threshold
    return [
        replace(
            item,
            verdict=None if item.score is None else GOOD if item.score >= cut else NOT_GOOD,
        )
        for item in as_good(items, wanted.good)
        if is_test(item, wanted)
    ]


def is_test(item: Item, wanted: Wanted) -> bool:
    """On which side an item is: a function of its id, so that it stays there."""
    hashed = hashlib.sha256(f"{wanted.seed}:{item.id}".encode()).digest()
    return int.from_bytes(hashed[:8]) / 2**64 >= wanted.validation


def _at(cut: Cut) -> At:
    return At(n=cut.n, kept=cut.kept, precision=cut.precision, recall=cut.recall)
