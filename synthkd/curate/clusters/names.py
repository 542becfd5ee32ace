"""What a cluster is called: the terms that stand out in it, or what a teacher says.

Terms stand out by c-TF-IDF (Grootendorst, 2203.05794, section 3.3): all texts of a cluster are one
document, and a term weighs tf(term, cluster) * log(1 + A / f(term)), with A the mean number of
terms in a cluster and f the term's number in all of them. Words of most clusters are left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from synthkd.text import UNSPACED_CLASS, is_unspaced

TEXTS_PER_CLUSTER = 500
"""The first so many are read: names do not get better with more, and memory stays bounded."""
CHARS_PER_TEXT = 2_000
TERMS = 5
COMMON_SHARE = 0.5
COMMON_FROM_CLUSTERS = 10
"""Of so many clusters on, what stands in more than half of them names none."""
EXAMPLES = 8
"""Texts that a teacher is shown of a cluster."""
CHARS_PER_EXAMPLE = 300
LONGEST_NAME = 80
"""Characters; a teacher that goes on is cut."""

_RUNS = re.compile(rf"[{UNSPACED_CLASS}]+|(?:(?![{UNSPACED_CLASS}])[^\W\d_])+")


class Terms:
    """Counts the terms of each cluster."""

    def __init__(self, clusters: int) -> None:
        self._counts: list[Counter[str]] = [Counter() for _ in range(clusters)]
        self._read = [0] * clusters
        self.examples: list[list[str]] = [[] for _ in range(clusters)]
        """The first texts of each cluster, cut short."""

    def read(self, cluster: int, text: str) -> None:
        """Take in a text of a cluster."""
        if self._read[cluster] >= TEXTS_PER_CLUSTER:
            return
        self._read[cluster] += 1
        self._counts[cluster].update(terms_of(text[:CHARS_PER_TEXT]))
        if len(self.examples[cluster]) < EXAMPLES:
            self.examples[cluster].append(" ".join(text[: 2 * CHARS_PER_EXAMPLE].split()))
            self.examples[cluster][-1] = self.examples[cluster][-1][:CHARS_PER_EXAMPLE]

    def outstanding(self) -> list[list[str]]:
        """The terms of each cluster by weight, at most `TERMS`; equal weights by the alphabet."""
        overall: Counter[str] = Counter()
        for counts in self._counts:
            overall.update(counts)
        mean = overall.total() / max(1, len(self._counts))
        common = self._common()
        return [
            _heaviest({t: n for t, n in counts.items() if t not in common}, overall, mean)
            for counts in self._counts
        ]

    def _common(self) -> set[str]:
        """Terms of most clusters: "and" outweighs whatever tells a cluster apart by its number."""
        if len(self._counts) < COMMON_FROM_CLUSTERS:
            return set()
        holders: Counter[str] = Counter()
        for counts in self._counts:
            holders.update(counts.keys())
        return {term for term, n in holders.items() if n > COMMON_SHARE * len(self._counts)}


def _heaviest(counts: Mapping[str, int], overall: Counter[str], mean: float) -> list[str]:
    weights = {term: n * math.log(1 + mean / overall[term]) for term, n in counts.items()}
    return sorted(weights, key=lambda term: (-weights[term], term))[:TERMS]


def terms_of(text: str) -> Iterator[str]:
    """Words of three letters or more in lower case; pairs of characters where none are spaced."""
    for match in _RUNS.finditer(text.lower()):
        run = match[0]
        if is_unspaced(run[0]):
            yield from (run[i : i + 2] for i in range(len(run) - 1)) if len(run) > 1 else (run,)
        elif len(run) > 2:
            yield run


def by_terms(terms: Sequence[Sequence[str]]) -> list[str]:
    """A name for each cluster: its terms; of one without any, its number."""
    return [", ".join(those) or f"cluster {place}" for place, those in enumerate(terms)]


def cleaned(answer: str) -> str:
    """A teacher's name for a cluster: the first line that says something, without quotes."""
    lines = (line.strip(" \t\"'`*#.:") for line in answer.splitlines())
    return next((line[:LONGEST_NAME].rstrip() for line in lines if line), "")


def told_apart(names: Iterable[str]) -> list[str]:
    """The names, with a number behind those that were given before."""
    seen: Counter[str] = Counter()
    apart = []
    for name in names:
        seen[name] += 1
        apart.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return apart
