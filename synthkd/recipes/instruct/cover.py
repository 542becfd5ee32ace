"""Combinations of attributes' values that show every value soon, then every pair of values.

    cover = Cover({"task": ["explain", "plan"], "reader": ["a child", "an expert"]}, rng)
    cover.take()       # {"task": "plan", "reader": "a child"}

Each combination is built greedily, in the manner of pairwise testing (Cohen et al., "The AETG
system", IEEE Transactions on Software Engineering 23(7), 1997): the value that has never been
taken, then the value that makes most new pairs with those that are chosen, then the one that has
most pairs left, or was taken least often. So

* as long as an attribute has values that were never taken, each combination has one of them: all
  values of all attributes have been taken after as many combinations as the longest has values;
* each combination has a pair that is open: all pairs have been taken after as many combinations as
  there are pairs, and usually after not many more than the two longest attributes have pairs.

Then the pairs that were taken least often are open again, and one that came to nothing (`credit`
was not called for it) sooner than one that did. Of one attribute alone, values take the place of
pairs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, product

Value = tuple[str, str]
"""Attribute and value."""
Pair = tuple[Value, ...]
"""Two values of two attributes, in the order of the attributes; of one attribute, one value."""
MOST_PAIRS = 1_000_000
"""A pair takes some 300 bytes."""
CREDIT = 2
"""What an accepted row counts beside the asking of it: a pair whose rows are all refused is asked
for three times as often as one whose rows are accepted, and not for ever."""


def pairs_of(attributes: Mapping[str, Sequence[str]]) -> int:
    """How many pairs of values there are."""
    sizes = [len(values) for values in attributes.values()]
    return sum(one * other for one, other in combinations(sizes, 2)) if sizes[1:] else sum(sizes)


class Cover:
    """See the module.

    Args:
        attributes: name -> its values, each at least once.
        rng: decides between values that are equally good.
    """

    def __init__(self, attributes: Mapping[str, Sequence[str]], rng: random.Random) -> None:
        self._values: dict[str, list[Value]] = {}
        for name, values in attributes.items():
            mixed = [(name, value) for value in dict.fromkeys(values)]
            rng.shuffle(mixed)
            self._values[name] = mixed
        self._names = list(self._values)
        self._place = {name: place for place, name in enumerate(self._names)}
        self._size = min(2, len(self._names))
        self._weights: dict[Pair, int] = dict.fromkeys(self._all_pairs(), 0)
        self._taken: Counter[Value] = Counter()
        self._open: set[Pair] = set(self._weights)
        self._left = self._count_left()

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self._weights)

    def take(self) -> dict[str, str]:
        """The next combination."""
        chosen: dict[str, Value] = {}
        while len(chosen) < len(self._names):
            free = (
                value for name in self._names if name not in chosen for value in self._values[name]
            )
            best = max(free, key=lambda value: self._worth(value, chosen))
            chosen[best[0]] = best
        for pair in self._pairs_in(chosen):
            self._weights[pair] += 1
            self._close(pair)
        self._taken.update(chosen.values())
        if not self._open:
            self._reopen()
        return {name: chosen[name][1] for name in self._names}

    def credit(self, combination: Mapping[str, str]) -> None:
        """Say that something came of a combination: its pairs are less in want of another one."""
        chosen = {name: (name, combination[name]) for name in self._names}
        for pair in self._pairs_in(chosen):
            self._weights[pair] += CREDIT
            self._close(pair)
        if not self._open:
            self._reopen()

    def _worth(self, value: Value, chosen: Mapping[str, Value]) -> tuple[bool, int, int, int]:
        new = sum(self._pair(value, other) in self._open for other in chosen.values())
        times = self._taken[value]
        return not times, new, self._left[value], -times

    def _pair(self, one: Value, other: Value) -> Pair:
        return (one, other) if self._place[one[0]] < self._place[other[0]] else (other, one)

    def _pairs_in(self, chosen: Mapping[str, Value]) -> list[Pair]:
        return list(combinations([chosen[name] for name in self._names], self._size))

    def _all_pairs(self) -> list[Pair]:
        several = combinations(self._values.values(), self._size)
        return [pair for lists in several for pair in product(*lists)]

    def _close(self, pair: Pair) -> None:
        if pair in self._open:
            self._open.remove(pair)
            self._left.subtract(pair)

    def _reopen(self) -> None:
        least = min(self._weights.values())
        self._open = {pair for pair, weight in self._weights.items() if weight == least}
        self._left = self._count_left()

    def _count_left(self) -> Counter[Value]:
        return Counter(value for pair in self._open for value in pair)
