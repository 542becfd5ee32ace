"""The nearest of many items by their words: sparse TF-IDF, with nothing made short by an SVD.

    index = TermIndex(items, sample)
    place, cosine = index.nearest(texts, at_least=0.5)      # exactly, where there is one so near

A text is its words (those of `synthkd.curate.shingles`), weighted by (1 + log tf) * idf, of unit
length (Salton and Buckley, Information Processing & Management 24, 1988). A word's column is its
hash, so that a word that stands in no item has a place too and makes a row that has it less alike.

Not every product is worked out. Without the words that stand in many items few items have anything
in common with a row, and the parts left out cannot add more than the product of their lengths
(Cauchy-Schwarz). Only pairs that may reach the threshold by that bound are worked out in full, so
that none is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from synthkd.curate.shingles import words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Index = NDArray[np.int64]
    Pairs = tuple[Index, Index, Floats]
    """Rows, items, cosines."""

COLUMNS = 2**20
"""Words are hashed into so many: of 30,000 words 1 in 35 shares its column with another."""
COMMON = 0.2
"""Words that stand in more than this share of the items are left out of the first look."""
PRODUCTS_AT_ONCE = 2**21
"""Cosines that are in memory at once: 60 MB at most, were every pair to share a word."""
PAIRS_AT_ONCE = 2**15
"""Pairs that are worked out in full at once."""
WORTH_IT = 0.05
"""Share of all pairs up to which those alone are worked out; of more, all, as one product."""
ROUNDING = 1e-4
"""By which a bound in float32 may be too low."""


class TermIndex:
    """Items by their words."""

    def __init__(self, items: Sequence[str], sample: Sequence[str]) -> None:
        """Make the index.

        Args:
            items: what is looked for; at least one.
            sample: other texts that say, with the items, how rare a word is.
        """
        import numpy as np
        from scipy.sparse import vstack
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        self._words = HashingVectorizer(
            analyzer=words_of,
            n_features=COLUMNS,
            alternate_sign=False,
            norm=None,
            dtype=np.float32,
        )
        counts = self._words.transform(items)
        self._idf = TfidfTransformer(sublinear_tf=True)
        self._idf.fit(vstack([counts, self._words.transform(sample)]) if len(sample) else counts)
        self._items = self._idf.transform(counts).tocsr()
        in_items = np.bincount(self._items.indices, minlength=COLUMNS)
        self._is_common = in_items > COMMON * len(items)
        rare, self._left_out = self._without_common(self._items)
        self._rare_columns = rare.T.tocsr()
        self._columns = self._items.T.tocsr()

    def nearest(self, texts: Sequence[str], at_least: float) -> tuple[Index, Floats]:
        """The nearest item of each text, where one is near enough.

        Args:
            texts: of any length.
            at_least: the cosine, above 0, from which an item is near.

        Returns:
            (n,) places in the items, the first of equals, and (n,) cosines; where no item is so
            near, 0 and a cosine of -1.
        """
        import numpy as np

        place = np.zeros(len(texts), dtype=np.int64)
        cosine = np.full(len(texts), -1, dtype=np.float32)
        if not len(texts):
            return place, cosine
        rows = self._idf.transform(self._words.transform(texts)).tocsr()
        for row, item, value in self._near(rows, at_least):
            order = np.lexsort((item, -value, row))
            row, first = np.unique(row[order], return_index=True)
            better = value[order][first] > cosine[row]
            place[row[better]] = item[order][first][better]
            cosine[row[better]] = value[order][first][better]
        return place, cosine

    def _near(self, rows: Any, at_least: float) -> Iterator[Pairs]:
        """The pairs that reach the cosine; those of a row in the order of the items."""
        import numpy as np

        rare, left_out = self._without_common(rows)
        # Where the common words alone may be enough, every item is a candidate.
        is_common = left_out * self._left_out.max() >= at_least - ROUNDING
        size = max(1, PRODUCTS_AT_ONCE // self._items.shape[0])
        for wanted in (np.flatnonzero(is_common), np.flatnonzero(~is_common)):
            for start in range(0, len(wanted), size):
                here = wanted[start : start + size]
                if not is_common[here[0]]:
                    row, item, value = _pairs(rare[here] @ self._rare_columns)
                    row = here[row]
                    bound = value + left_out[row] * self._left_out[item]
                    maybe = bound >= at_least - ROUNDING
                    if maybe.sum() <= WORTH_IT * len(here) * self._items.shape[0]:
                        yield from self._in_full(rows, row[maybe], item[maybe], at_least)
                        continue
                row, item, value = _pairs(rows[here] @ self._columns)
                near = value >= at_least
                yield here[row[near]], item[near], value[near]

    def _in_full(self, rows: Any, row: Index, item: Index, at_least: float) -> Iterator[Pairs]:
        import numpy as np

        for start in range(0, len(row), PAIRS_AT_ONCE):
            some = slice(start, start + PAIRS_AT_ONCE)
            products = rows[row[some]].multiply(self._items[item[some]])
            value = np.asarray(products.sum(axis=1), dtype=np.float32).ravel()
            near = value >= at_least
            yield row[some][near], item[some][near], value[near]

    def _without_common(self, bags: Any) -> tuple[Any, Floats]:
        """The bags without common words, and (n,) the length of what that leaves out of each."""
        import numpy as np

        kept = bags.copy()  # as eliminate_zeros works in place
        kept.data[self._is_common[kept.indices]] = 0
        left = bags - kept
        length: Floats = np.sqrt(np.asarray(left.multiply(left).sum(axis=1))).ravel()
        kept.eliminate_zeros()
        return kept, length.astype(np.float32)


def _pairs(products: Any) -> Pairs:
    import numpy as np

    found = products.tocoo()
    return found.row.astype(np.int64), found.col.astype(np.int64), found.data
