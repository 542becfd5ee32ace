"""ROUGE-L of a text against all that was accepted, without comparing it with each of them.

    known = Novelty(0.7)
    known.add("Name three uses of a brick.")
    known.near("Name three good uses of a brick")     # Near(place=0, score=0.92...): too similar
    known.nearest("Name two uses of a paperclip")     # the nearest one, however far

ROUGE-L (Lin, 2004) is the F of the longest common subsequence of words: F = 2 L / (m + n) for texts
of m and n words. The index is exact: it says what comparing with every text would say, since what
it leaves out cannot be near enough. In this order, for a text of n words and a threshold t:

* length: L is at most the shorter length, so F > t needs m between n t / (2 - t) and n (2 - t) / t;
* rare words: L is at most the number of words in common, so a text that is near has all but a few
  of the n words. It has one of any k = n - least + 1 of them: the k rarest are looked up;
* words in common, counted for what is left;
* the longest common subsequence itself, by bits of whole numbers (Crochemore et al., 2001,
  "A fast and practical bit-vector algorithm for the longest common subsequence problem").

Measured (tests/bench/bench_novelty.py, docs/log.md): a text takes as long as the lists of its rarer
words are, 3.4 times as long in a pool that is ten times as large.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from synthkd.text import UNSPACED_CLASS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.int32]

Word = TypeVar("Word", bound=Hashable)
FINEST = 10**6
"""A threshold is a fraction of such a denominator at most."""

_WORD = re.compile(rf"[{UNSPACED_CLASS}]|[^\W_{UNSPACED_CLASS}]+")


class Near(NamedTuple):
    """A text of the index, and how near it is."""

    place: int
    """Which one, counted from 0 in the order in which they were added."""
    score: float
    """ROUGE-L, F: 0 to 1."""


def words_of(text: str) -> list[str]:
    """Words in lower case, of any script; where words have no spaces between, each character.

    On ASCII these are the words of `rouge-score`.
    """
    return _WORD.findall(text.lower())


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The F of two texts as words; 0 where one has none."""
    if not one or not other:
        return 0.0
    return 2 * _common(_masks(one), len(one), other) / (len(one) + len(other))


class Novelty:
    """The texts that were accepted; see the module.

    Memory: about 100 bytes a word of all texts.

    Args:
        threshold: a text is near where its ROUGE-L is above it; 0 to 1.
    """

    def __init__(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"a ROUGE-L is from 0 to 1, got a threshold of {threshold}")
        # 0.7 is seven tenths, which no float is; and finer ones would not fit into 64 bits below.
        self._threshold = Fraction(repr(threshold)).limit_denominator(FINEST)
        self._word_ids: dict[str, int] = {}
        self._token_ids: dict[tuple[int, int], int] = {}
        """Which time a word stands in a text makes a token of its own: sets become multisets."""
        self._having: list[array[int]] = []
        """Token -> the places of the texts that have it."""
        self._words = array("i")
        self._tokens = array("i")
        """Of all texts, one after the other."""
        self._starts = array("q", [0])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, text: str) -> None:
        """Take a text in, as the last one."""
        place = len(self)
        for word, token in self._numbered(words_of(text)):
            self._words.append(word)
            self._tokens.append(token)
            self._having[token].append(place)
        self._starts.append(len(self._words))

    def near(self, text: str) -> Near | None:
        """The nearest text, of those whose score is above the threshold; the first of equals."""
        words = words_of(text)
        n = len(words)
        if not n or not len(self):
            return None
        least = self._least_in_common(n)
        tokens = self._known_tokens(words)
        # What is missing from a near text are at most n - least words: any so many and one more.
        listed = sorted((self._having[token] for token in tokens), key=len)
        looked_up = listed[: max(0, len(tokens) - least + 1)]
        if not looked_up:
            return None
        return self._best(words, tokens, self._gathered(looked_up), above=True)

    def nearest(self, text: str) -> Near | None:
        """The nearest text of all, the first of equals; None where none has a word of it.

        Looks at every text that shares a word: for figures, not for the gate.
        """
        words = words_of(text)
        tokens = self._known_tokens(words)
        if not tokens:
            return None
        having = self._gathered([self._having[token] for token in tokens])
        return self._best(words, tokens, having, above=False)

    def _numbered(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """(word, token) of each word, with new numbers where it is new."""
        times: Counter[int] = Counter()
        for each in words:
            word = self._word_ids.setdefault(each, len(self._word_ids))
            token = self._token_ids.setdefault((word, times[word]), len(self._having))
            if token == len(self._having):
                self._having.append(array("i"))
            times[word] += 1
            yield word, token

    def _known_tokens(self, words: Sequence[str]) -> list[int]:
        """Those that some text has."""
        times = Counter[str]()
        found = []
        for each in words:
            word = self._word_ids.get(each)
            if word is not None and (token := self._token_ids.get((word, times[each]))) is not None:
                found.append(token)
            times[each] += 1
        return found

    def _least_in_common(self, n: int) -> int:
        """Words that a text must share with one of n words at the least to be near.

        L > t (m + n) / 2, and L <= m: so m > n t / (2 - t), and L is least where m is.
        """
        t = self._threshold
        return int(n * t / (2 - t)) + 1

    def _gathered(self, having: Sequence[array[int]]) -> Places:
        """The places that stand in any of the lists, ascending, each once."""
        import numpy as np

        places = np.concatenate([np.frombuffer(each, dtype=np.int32) for each in having])
        places.sort()  # of some thousands `np.unique` takes several times as long
        first = np.ones(len(places), dtype=bool)
        np.not_equal(places[1:], places[:-1], out=first[1:])
        return places[first]

    def _best(
        self, words: Sequence[str], tokens: Sequence[int], places: Places, *, above: bool
    ) -> Near | None:
        """The nearest among the places; `above`: only above the threshold."""
        import numpy as np

        n, t = len(words), self._threshold
        starts = np.frombuffer(self._starts, dtype=np.int64)
        lengths = starts[places + 1] - starts[places]
        if above:
            long_enough = lengths * (2 * t.denominator - t.numerator) > n * t.numerator
            fits = long_enough & (lengths * t.numerator < n * (2 * t.denominator - t.numerator))
            places, lengths = places[fits], lengths[fits]
        shared = self._shared(tokens, places, starts, lengths)
        if above:
            near = 2 * shared * t.denominator > (lengths + n) * t.numerator
            places, lengths, shared = places[near], lengths[near], shared[near]
        masks = _masks([self._word_ids.get(word, -1) for word in words])
        best: Near | None = None
        bounds = 2 * shared / (lengths + n)
        for at in np.lexsort((places, -bounds)):
            if best is not None and bounds[at] < best.score:
                break
            place = int(places[at])
            own = self._words[self._starts[place] : self._starts[place + 1]]
            score = Fraction(2 * _common(masks, n, own), n + len(own))
            if above and score <= self._threshold:
                continue
            found = Near(place, float(score))
            if best is None or (-found.score, found.place) < (-best.score, best.place):
                best = found
        return best

    def _shared(
        self,
        tokens: Sequence[int],
        places: Places,
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """(n_places,) how many of the tokens each of these texts has."""
        import numpy as np

        if not len(places):
            return np.zeros(0, dtype=np.int64)
        wanted = np.zeros(len(self._having), dtype=bool)
        wanted[tokens] = True
        ends = np.cumsum(lengths)
        # Positions of all their tokens: each text's start, and then one by one.
        at = np.arange(ends[-1]) + np.repeat(starts[places] - (ends - lengths), lengths)
        hits = wanted[np.frombuffer(self._tokens, dtype=np.int32)[at]]
        return np.add.reduceat(hits, ends - lengths, dtype=np.int64)


def _masks(words: Iterable[Word]) -> dict[Word, int]:
    """Word -> the bits of its positions."""
    masks: dict[Word, int] = {}
    for position, word in enumerate(words):
        masks[word] = masks.get(word, 0) | 1 << position
    return masks


def _common(masks: Mapping[Word, int], n: int, other: Iterable[Word]) -> int:
    """The length of the longest common subsequence of a text of n words and another one.

    A bit of `rows` is 0 where the column's value in the table of lengths is one more than to its
    left; the sum carries a 0 to the first match behind it.
    """
    every = (1 << n) - 1
    rows = every
    for word in other:
        if (mask := masks.get(word)) is not None:
            matched = rows & mask
            rows = (rows + matched) | (rows - matched)
    return n - (rows & every).bit_count()
