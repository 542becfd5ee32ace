"""Accuracy and macro-F1 of labels.

Answers are right when they are equivalent to gold (`synthkd.text.equivalent`), and equivalent gold
is one label. No answer is wrong. Macro-F1 is the plain mean of the F1 of the labels that occur in
gold; an answer outside them is wrong for its gold label and no label's false positive. Both are
what scikit-learn computes with `labels=` gold's, over the equivalents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthkd.evaluate.scored import Scored, share_right
from synthkd.rows import Json
from synthkd.text import answer_text, equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]

MADE_UP = 2.0
"""A made-up row is shared by all labels alike, wrong for each or right for each. It counts as two
rows, because a wrong answer costs two labels, and because with one the intervals covered 0.92."""


def label_of(answer: Json) -> str | None:
    """One spelling for all equivalent answers; None = no text or number."""
    text = answer_text(answer)
    return None if text is None else equivalent(text)


def accuracy(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """Share of answers that are gold."""
    pairs = zip(map(label_of, gold), map(label_of, given), strict=True)
    return share_right([wanted is not None and wanted == said for wanted, said in pairs])


def macro_f1(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """Mean F1 of gold's labels."""
    import numpy as np

    wanted, said = [label_of(one) or "" for one in gold], [label_of(one) for one in given]
    places = {label: place for place, label in enumerate(sorted(set(wanted)))}
    truth = _one_hot([places[label] for label in wanted], len(places))
    named = _one_hot([-1 if one is None else places.get(one, -1) for one in said], len(places))
    right = truth.multiply(named).tocsr()

    def at(weights: Floats) -> Floats:
        worst, best = (MADE_UP * weights[:, -2:] / len(places)).T[:, :, None]
        rows = weights[:, :-2]
        in_gold, answered = (rows @ cells + worst + best for cells in (truth, named))
        hit = rows @ right + best
        # F1 = 2 hits / (rows with the label + answers with the label).
        seen = np.maximum(in_gold + answered, np.finfo(np.float64).tiny)
        present = in_gold > 0
        f1: Floats = (2 * hit / seen * present).sum(axis=1) / present.sum(axis=1)
        return f1

    return Scored(n=len(wanted), at=at)


def _one_hot(places: Sequence[int], n_labels: int) -> csr_array:
    """(rows, n_labels); -1 gives a row of zeros."""
    import numpy as np
    from scipy.sparse import csr_array

    codes = np.asarray(places, dtype=np.int64)
    (rows,) = np.nonzero(codes >= 0)
    return csr_array((np.ones(len(rows)), (rows, codes[rows])), shape=(len(codes), n_labels))
