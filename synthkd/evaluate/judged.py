"""What was judged: a verdict, what people say of the same, and the truth, what most of them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from synthkd.evaluate.reliability import Scale
from synthkd.text import equivalent

GOOD, NOT_GOOD = "good", "not good"
"""What a score says from its threshold on, and below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was judged."""

    id: str
    verdict: str | None
    """None = none that could be read."""
    swapped: str | None = None
    """The verdict with the two answers in the other order, in terms of the first order."""
    consistent: float | None = None
    """In place of `swapped`: the share of pairs of questions that agreed both ways round."""
    score: float | None = None
    """How sure the judge is, or how good it holds the answer to be: higher is more."""
    chars: tuple[int, int] | None = None
    """Lengths of the first and the second answer."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Annotator -> label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a verdict calls the two answers that it chose from."""

    first: str
    second: str
    tie: str | None = None


def truth_of(item: Item, scale: Scale) -> str | None:
    """What most people say; None = no label has most voices.

    On a scale with an order it is the middle label, of an even number the lower middle one.
    """
    labels = [equivalent(label) for label in item.labels.values()]
    if scale != "nominal":
        ordered = sorted(labels, key=float)
        return ordered[(len(ordered) - 1) // 2] if ordered else None
    counted = Counter(labels).most_common(2)
    if not counted or (len(counted) == 2 and counted[0][1] == counted[1][1]):
        return None
    return counted[0][0]


def as_good(items: Sequence[Item], good: Collection[str]) -> list[Item]:
    """The same items with each label of people turned into good or not good.

    Before there is a majority, not after: "fine" and "great" of two people are two voices for good.
    """
    known = set(map(equivalent, good))
    return [
        replace(
            item,
            labels={
                who: GOOD if equivalent(label) in known else NOT_GOOD
                for who, label in item.labels.items()
            },
        )
        for item in items
    ]
