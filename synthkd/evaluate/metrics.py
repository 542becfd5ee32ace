"""Accuracy and macro-F1, and how sure they are.

Answers are right when they are equivalent to gold (`synthkd.text.equivalent`), and equivalent gold
is one label. An answer that is None (none that could be read) is wrong. Macro-F1 is the plain mean
of the F1 of the labels that occur in gold; an answer outside them is wrong for its gold label and
no label's false positive. Both are what scikit-learn computes with `labels=` gold's, over the
equivalents.

Intervals are the 2.5th and 97.5th percentile over rows drawn again with replacement. Every
contestant is scored on the same drawn rows, so differences are paired. In a draw that misses a
label altogether, macro-F1 is the mean over the labels that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from synthkd.manifest import Interval
from synthkd.text import equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]

METRICS = ("accuracy", "macro_f1")
CELLS = 4_000_000
"""Numbers in memory at once while drawing (32 MB): draws x rows are done in pieces of this size."""


def accuracy(gold: Sequence[str], answers: Sequence[str | None]) -> float:
    """Share of answers that are gold, from 0 to 1."""
    return _once(gold, answers)["accuracy"]


def macro_f1(gold: Sequence[str], answers: Sequence[str | None]) -> float:
    """Mean F1 of gold's labels, from 0 to 1."""
    return _once(gold, answers)["macro_f1"]


def _once(gold: Sequence[str], answers: Sequence[str | None]) -> dict[str, float]:
    import numpy as np

    scores = scores_of(gold, answers, np.ones((1, len(gold))))
    return {metric: float(score[0]) for metric, score in scores.items()}


def scores_of(
    gold: Sequence[str], answers: Sequence[str | None], weights: Floats
) -> dict[str, Floats]:
    """Every metric under every weighting.

    Args:
        gold: the right answers, at least one.
        answers: one for each row of gold.
        weights: (n_draws, n_rows), how often each row counts in each draw.

    Returns:
        Metric -> (n_draws,) scores from 0 to 1.
    """
    import numpy as np

    places = {label: place for place, label in enumerate(sorted(set(map(equivalent, gold))))}
    truth = _one_hot([places[equivalent(label)] for label in gold], len(places))
    given = _one_hot(
        [-1 if answer is None else places.get(equivalent(answer), -1) for answer in answers],
        len(places),
    )
    right = truth.multiply(given).tocsr()
    in_gold, named, hit = (weights @ cells for cells in (truth, given, right))
    # F1 = 2 hits / (rows with the label + answers with the label); 0 where it has neither.
    f1 = 2 * hit / np.maximum(in_gold + named, 1)
    present = in_gold > 0
    return {
        "accuracy": hit.sum(axis=1) / weights.sum(axis=1),
        "macro_f1": (f1 * present).sum(axis=1) / present.sum(axis=1),
    }


def bootstrap(
    gold: Sequence[str],
    answers: Mapping[str, Sequence[str | None]],
    *,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Floats]]:
    """Every contestant's scores on the same drawn rows: name -> metric -> (resamples,)."""
    import numpy as np

    pieces: dict[str, list[dict[str, Floats]]] = {name: [] for name in answers}
    for weights in drawn_weights(len(gold), resamples, seed):
        for name, given in answers.items():
            pieces[name].append(scores_of(gold, given, weights))
    return {
        name: {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS}
        for name, parts in pieces.items()
    }


def interval(value: float, draws: Floats) -> Interval:
    """The value with the middle 95 % of its draws."""
    import numpy as np

    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


def drawn_weights(n_rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, (draws, n_rows) at a time; pieces of any size draw the same."""
    import numpy as np

    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS // n_rows)
    for start in range(0, resamples, at_once):
        drawn = [
            np.bincount(rng.integers(0, n_rows, n_rows), minlength=n_rows)
            for _ in range(min(at_once, resamples - start))
        ]
        yield np.array(drawn, dtype=np.float64)


def _one_hot(places: Sequence[int], n_labels: int) -> csr_array:
    """(rows, n_labels); -1 gives a row of zeros."""
    import numpy as np
    from scipy.sparse import csr_array

    codes = np.asarray(places, dtype=np.int64)
    (rows,) = np.nonzero(codes >= 0)
    return csr_array((np.ones(len(rows)), (rows, codes[rows])), shape=(len(codes), n_labels))
