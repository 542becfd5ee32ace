"""Triples of documents against gold: strictly, nearly, by keywords and by vectors.

All figures are over all documents together and have intervals over documents. Strict and near ones
have precision, recall and F1; keywords and cosines are about gold alone (recall), after SynthKG
(arXiv 2410.16597): what else a graph says is no fault of its coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkd.evaluate.paired import figure
from synthkd.evaluate.scored import Scored, f1_of, ratio_of
from synthkd.graphs.coverage import COVERED, NEAR, keyword_scores, near_pairs, nearest, told
from synthkd.graphs.triple import Triple, distinct
from synthkd.manifest import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = Callable[[Sequence[str]], NDArray[np.floating]]

Rows = Sequence[Sequence[Triple]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfRelation:
    """How one relation of gold fares, nearly; the given triples are counted by their own."""

    wanted: int
    named: int
    hits: int

    @property
    def precision(self) -> float | None:
        """None = it was never given."""
        return self.hits / self.named if self.named else None

    @property
    def recall(self) -> float | None:
        """None = gold never has it."""
        return self.hits / self.wanted if self.wanted else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is measured."""

    figures: dict[str, Interval]
    """By name: strict_precision, ..., near_f1, keywords, mean_cosine, covered."""
    relations: dict[str, OfRelation]
    """By relation, the most frequent of gold first."""


def compared(
    gold: Rows,
    given: Rows,
    *,
    near: float = NEAR,
    covered: float = COVERED,
    vectors: Vectors | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> Compared:
    """Hold the triples of documents against gold; a triple that is there twice counts once.

    Args:
        gold: the triples of each document.
        given: those that were found, in the same order of documents.
        near: the least similarity of a part's letters.
        covered: the least cosine of a triple that is covered.
        vectors: (n, d) of unit length or zero, of n texts; None = no figures by vectors.
        resamples: draws behind each end of an interval.
        seed: of the draws.
    """
    wanted, named = [distinct(row) for row in gold], [distinct(row) for row in given]
    keys = [([t.key for t in w], [t.key for t in n]) for w, n in zip(wanted, named, strict=True)]
    strict = [len(set(w) & set(n)) for w, n in keys]
    pairs = [near_pairs(w, n, near) for w, n in keys]
    sizes = list(map(len, named)), list(map(len, wanted))
    scored = {
        **_three("strict", strict, *sizes),
        **_three("near", list(map(len, pairs)), *sizes),
        "keywords": _of_gold(
            wanted, [keyword_scores(*two) for two in zip(wanted, named, strict=True)]
        ),
    }
    if vectors is not None:
        cosines = [_nearest(w, n, vectors) for w, n in zip(wanted, named, strict=True)]
        scored["mean_cosine"] = _of_gold(wanted, [[max(x, 0.0) for x in row] for row in cosines])
        scored["covered"] = _of_gold(wanted, [[x >= covered for x in row] for row in cosines])
    figures = {name: figure([one], resamples=resamples, seed=seed) for name, one in scored.items()}
    return Compared(figures=figures, relations=_relations(wanted, named, pairs))


def _three(name: str, hits: list[int], named: list[int], wanted: list[int]) -> dict[str, Scored]:
    return {
        f"{name}_precision": ratio_of(hits, named),
        f"{name}_recall": ratio_of(hits, wanted),
        f"{name}_f1": f1_of(hits, named, wanted),
    }


def _of_gold(wanted: Rows, scores: Sequence[Sequence[float]]) -> Scored:
    """The mean over all triples of gold."""
    return ratio_of(list(map(sum, scores)), list(map(len, wanted)))


def _nearest(gold: Sequence[Triple], given: Sequence[Triple], vectors: Vectors) -> list[float]:
    if not gold:
        return []
    both = vectors([told(one) for one in (*gold, *given)])
    found: Any = nearest(both[: len(gold)], both[len(gold) :])
    cosines: list[float] = found.tolist()
    return cosines


def _relations(
    gold: Rows, given: Rows, pairs: Sequence[Sequence[tuple[int, int]]]
) -> dict[str, OfRelation]:
    names: dict[str, str] = {}
    wanted, named, hits = Counter[str](), Counter[str](), Counter[str]()
    for row, others, found in zip(gold, given, pairs, strict=True):
        for one in row:
            wanted[one.key[1]] += 1
            names.setdefault(one.key[1], one.relation)
        for one in others:
            named[one.key[1]] += 1
            names.setdefault(one.key[1], one.relation)
        hits.update(row[here].key[1] for here, _ in found)
    ranked = sorted(names, key=lambda key: (-wanted[key], -named[key], key))
    return {
        names[key]: OfRelation(wanted=wanted[key], named=named[key], hits=hits[key])
        for key in ranked
    }
