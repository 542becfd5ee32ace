"""An index of the runs of words of test items, and which of them a text holds.

    index = NgramIndex(items, Rules())
    for found in index.judge(texts): ...        # for each text a Match, or None

Three rules, after normalising (`synthkd.curate.shingles`):

* any: a run of `any_words` words stands in both (GPT-3 took 13; Brown et al. 2020, appendix C);
* share: at least `share` of the item's runs of `share_words` words stand in the text (PaLM took
  70 % of 8; Chowdhery et al. 2022, section 8);
* whole: an item of fewer than `share_words` words, and at least `least_words`, stands in the text.

A run that stands in more than `common_items` items is a phrase of the benchmark (its instructions)
and counts for nothing. A run that stands in more than `common_rows` of the rows is a phrase of the
language and does not count for "any", as in GPT-3; "share" counts it, so that an item that was
copied a hundred times is found a hundred times.

Memory: 40 bytes a run of the items, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkd.curate.shingles import Runs, Words, runs_of, words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

SIEVE_BITS_A_RUN = 16
"""Places of the sieve for each run of the index: one of so many foreign runs passes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a text holds a test item; see the module."""

    any_words: int | None = 13
    share_words: int = 8
    share: float = 0.5
    least_words: int = 5
    common_items: int = 3
    common_rows: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A text that holds a test item."""

    item: int
    """Its place among the items."""
    rule: str
    """any, share or whole."""
    how: str
    """In words."""


class Grams:
    """The different runs of n words of all items, and which items each is in."""

    def __init__(self, words: Runs, n: int, common_items: int) -> None:
        import numpy as np

        runs = runs_of(words, n)
        owner = np.repeat(np.arange(len(runs.ends)), runs.lengths)
        by = np.lexsort((owner, runs.numbers))
        numbers, owner = runs.numbers[by], owner[by]
        new = (np.diff(numbers, prepend=~numbers[:1]) != 0) | (np.diff(owner, prepend=-1) != 0)
        numbers, owner = numbers[new], owner[new]  # once an item
        _, inverse, n_items = np.unique(numbers, return_inverse=True, return_counts=True)
        rare = n_items[inverse] <= common_items
        numbers, owner = numbers[rare], owner[rare]
        self.n = n
        self.numbers, self._begin = np.unique(numbers, return_index=True)
        self._end = np.append(self._begin[1:], len(numbers)).astype(np.int64)
        self._owner = owner
        self.size_of = np.bincount(owner, minlength=len(runs.ends))
        """(n_items,) how many different runs each item has, without common ones."""
        self.n_common = int((n_items > common_items).sum())
        self.rows_with = np.zeros(len(self.numbers), dtype=np.int64)
        """(n_runs,) in how many rows each was seen by `count`."""
        bits = max(10, int(SIEVE_BITS_A_RUN * len(self.numbers)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._sieve = np.zeros(2**bits, dtype=np.bool_)
        self._sieve[self.numbers >> self._shift] = True

    def find(self, numbers: Hashes) -> tuple[Index, Index]:
        """The places in `numbers` of runs that are in the index, and their places in the index."""
        import numpy as np

        (at,) = np.nonzero(self._sieve[numbers >> self._shift])
        if not len(at):
            return at, at
        place = np.searchsorted(self.numbers, numbers[at])
        there = place < len(self.numbers)
        there[there] = self.numbers[place[there]] == numbers[at[there]]
        return at[there], place[there]

    def items_with(self, gram: int) -> Index:
        """The items that a run of the index is in."""
        owners: Index = self._owner[self._begin[gram] : self._end[gram]]
        return owners


class NgramIndex:
    """All items, ready to be looked for in texts.

    Args:
        items: their texts.
        rules: when a text holds one.
    """

    def __init__(self, items: Sequence[str], rules: Rules) -> None:
        import numpy as np

        self._rules = rules
        self._words = Words()
        words = _each_once(self._words(items))
        lengths = words.lengths
        self.n_short = int(((lengths > 0) & (lengths < rules.least_words)).sum())
        """Items of too few words to be looked for."""
        self._share = Grams(words, rules.share_words, rules.common_items)
        self._any = Grams(words, rules.any_words, rules.common_items) if rules.any_words else None
        self._whole = []
        for n in range(rules.least_words, rules.share_words):
            chosen = lengths == n
            if chosen.any():
                # A short item that stands in the benchmark often is still an item.
                self._whole.append(Grams(_only(words, chosen), n, len(items)))
        grams = [self._share, *([self._any] if self._any else []), *self._whole]
        self._grams: list[Grams] = grams
        self.n_runs = sum(len(g.numbers) for g in grams)
        self.n_common = sum(g.n_common for g in grams)
        self._no_run = np.empty(0, dtype=np.int64)

    def count(self, texts: Sequence[str]) -> Flags:
        """(n_texts,) whether a text has any run of the index; counts the rows that each run is in.

        Every text must be counted once before any is judged.
        """
        import numpy as np

        words = self._words(texts)
        flags = np.zeros(len(texts), dtype=np.bool_)
        for grams in self._grams:
            runs = runs_of(words, grams.n)
            at, place = grams.find(runs.numbers)
            if not len(at):
                continue
            text = np.searchsorted(runs.ends, at, side="right")
            flags[text] = True
            if grams is self._any:
                once = np.unique(text * np.int64(len(grams.numbers)) + place)
                np.add.at(grams.rows_with, once % len(grams.numbers), 1)
        return flags

    def judge(self, texts: Sequence[str]) -> Iterator[Match | None]:
        """For each text the item that it holds, if any."""
        import numpy as np

        words = self._words(texts)
        found = []
        for grams in self._grams:
            runs = runs_of(words, grams.n)
            at, place = grams.find(runs.numbers)
            owner = np.searchsorted(runs.ends, at, side="right")
            cuts = np.searchsorted(owner, np.arange(len(texts) + 1))
            found.append((grams, at - runs.starts[owner] if len(at) else at, place, cuts))
        for index, text in enumerate(texts):
            yield self._match(
                text,
                [
                    (grams, at[cuts[index] : cuts[index + 1]], place[cuts[index] : cuts[index + 1]])
                    for grams, at, place, cuts in found
                ],
            )

    def _match(self, text: str, found: list[tuple[Grams, Index, Index]]) -> Match | None:
        for grams, at, place in found:
            if not len(at):
                continue
            if grams is self._share:
                match = self._by_share(place)
            elif grams is self._any:
                match = self._by_any(text, at, place)
            else:
                match = Match(
                    item=int(grams.items_with(int(place[0]))[0]),
                    rule="whole",
                    how=f"it stands in the row: {_quoted(text, int(at[0]), grams.n)}",
                )
            if match is not None:
                return match
        return None

    def _by_share(self, place: Index) -> Match | None:
        held = _counts(self._share, place)
        item, share = max(
            ((item, n / self._share.size_of[item]) for item, n in held.items()),
            key=lambda pair: (pair[1], -pair[0]),
        )
        if share < self._rules.share:
            return None
        how = f"{share:.2f} of its runs of {self._rules.share_words} words"
        return Match(item=item, rule="share", how=how)

    def _by_any(self, text: str, at: Index, place: Index) -> Match | None:
        assert self._any is not None  # noqa: S101  that is what was looked in
        rare = self._any.rows_with[place] <= self._rules.common_rows
        if not rare.any():
            return None
        held = _counts(self._any, place[rare])
        item = min(held, key=lambda item: (-held[item], item))
        n = self._any.n
        how = f"a run of {n} words: {_quoted(text, int(at[rare][0]), n)}"
        return Match(item=item, rule="any", how=how)


def _counts(grams: Grams, place: Index) -> dict[int, int]:
    """How many different runs of each item are among these."""
    counts: dict[int, int] = {}
    for gram in dict.fromkeys(place.tolist()):
        for item in grams.items_with(gram).tolist():
            counts[item] = counts.get(item, 0) + 1
    return counts


def _each_once(words: Runs) -> Runs:
    """The same texts, those that an earlier one equals word by word without words."""
    import numpy as np

    seen: set[bytes] = set()
    first = np.zeros(len(words.ends), dtype=np.bool_)
    for place, (start, end) in enumerate(zip(words.starts, words.ends, strict=True)):
        said = words.numbers[start:end].tobytes()
        first[place] = said not in seen
        seen.add(said)
    return _only(words, first)


def _only(words: Runs, chosen: Flags) -> Runs:
    """The same texts, those not chosen without words."""
    import numpy as np

    numbers = words.numbers[np.repeat(chosen, words.lengths)]
    return Runs(numbers, np.cumsum(np.where(chosen, words.lengths, 0)))


def _quoted(text: str, start: int, n: int) -> str:
    """The run as it was compared."""
    words = words_of(text)[start : start + n]
    return repr(b" ".join(words).decode("utf-8", "replace"))
