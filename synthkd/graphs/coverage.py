"""How much of one set of triples another has: by letters, by keywords, by meaning. Pure.

* nearly: a triple is had when some triple has all three parts of nearly the same letters, each
  taken at most once
* keywords: of a triple and the one that shares most words with it, F1 of the words
* cosine: of the triple as a text and the nearest one, by whoever makes vectors; SynthKG (arXiv
  2410.16597, section on coverage) calls a triple covered from 0.88 on
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING

from synthkd.graphs.triple import PartsKey, Triple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

NEAR = 0.8
"""Similarity of letters (difflib's ratio) from which two parts are nearly the same."""
COVERED = 0.88
"""Cosine from which a triple is covered; the paper's."""
_WORD = re.compile(r"[^\W_]+")


def nearly_same(one: PartsKey, other: PartsKey, near: float) -> bool:
    """Whether all three parts are nearly the same.

    Args:
        one: the spelling of its parts (`Triple.key`).
        other: likewise.
        near: the least similarity of each part, 0 to 1.
    """
    pairs = list(zip(one, other, strict=True))
    pairs[0], pairs[1] = pairs[1], pairs[0]  # relations first: they are few, and most differ
    return all(a == b or _similar(a, b, near) for a, b in pairs)


def near_pairs(
    gold: Sequence[PartsKey], given: Sequence[PartsKey], near: float = NEAR
) -> list[tuple[int, int]]:
    """Places in `gold` and `given` that belong together: as many pairs as can be, each place once.

    Those that are the same go together first, so that a near one takes none away.
    """
    places = {key: place for place, key in enumerate(given)}
    same = [(place, places[key]) for place, key in enumerate(gold) if key in places]
    same = list({there: (here, there) for here, there in reversed(same)}.values())
    left = sorted(set(range(len(gold))) - {here for here, _ in same})
    free = sorted(set(range(len(given))) - {there for _, there in same})
    if not left or not free:
        return sorted(same)
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    alike = np.array(
        [[nearly_same(gold[here], given[there], near) for there in free] for here in left]
    )
    rows, columns = linear_sum_assignment(alike, maximize=True)
    more = [
        (left[row], free[column])
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if alike[row, column]
    ]
    return sorted([*same, *more])


def keyword_scores(gold: Sequence[Triple], given: Sequence[Triple]) -> list[float]:
    """For each triple of gold F1 of its words and those of the triple that shares most with it."""
    said = [_words(one) for one in given]
    return [max((_f1(_words(one), other) for other in said), default=0.0) for one in gold]


def nearest(gold: Floats, given: Floats) -> Floats:
    """(n,) for each vector of gold the cosine of the nearest of the others; 0 where there is none.

    Args:
        gold: (n, d), of unit length or zero.
        given: (m, d).
    """
    import numpy as np

    if not len(given):
        return np.zeros(len(gold))
    found: Floats = (gold @ given.T).max(axis=1)
    return found


def told(triple: Triple) -> str:
    """The triple as a text, for whoever makes vectors."""
    return " ".join(part.replace("_", " ") for part in triple.parts)


@lru_cache(maxsize=65536)
def _similar(one: str, other: str, near: float) -> bool:
    if 2 * min(len(one), len(other)) < near * (len(one) + len(other)):
        return False  # difflib's ratio cannot reach it
    match = SequenceMatcher(None, one, other, autojunk=False)
    return match.quick_ratio() >= near and match.ratio() >= near


def _words(triple: Triple) -> Counter[str]:
    return Counter(word for part in triple.parts for word in _WORD.findall(part.casefold()))


def _f1(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0
