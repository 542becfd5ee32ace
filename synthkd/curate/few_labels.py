"""Labels of all rows from few right ones, votes and texts: the arithmetic of `relabel`; pure.

evidence = evidence_of(texts, votes, asked)
sides = three_sides(texts, evidence)
relabelled(sides, gold, n_labels, grow=(20, 40))         # a few rows have gold
from_votes(sides, evidence, n_labels, grow=(20, 40))     # none has
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkd.curate.agreement import Votes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.intp]

VOTES, EXPECTED = 0.5, 4.0
"""What the votes, and what teachers say of like texts, weigh beside the text, which weighs 1."""
SHARPNESS = 3.0
"""Of the kernel, exp(-SHARPNESS * (1 - cosine))."""
RIDGE = 5.0
"""Of the regression of votes on texts."""
GOLD_RIDGE, GROWN_RIDGE, GROWN_WEIGHT = 0.03, 0.1, 0.3
"""Of the regression on gold rows, and on those and others; and what one of the others weighs.

All constants up to here were chosen on BANKING77, by other draws than those reported
(docs/log.md)."""
MOST = 4_000
"""Rows learnt from, whatever `grow` says: the time grows with the cube, 4,000 are some seconds."""
SLOPE = 6.0
"""From scores to probabilities where no gold can tell."""
PRIOR = 2.0
"""Answers, spread as all of a teacher's are, that are added to those of each label: what it says
of a label is believed as far as it was asked."""
PASSES = 10
"""Of k-means over the rows."""
CHUNK_ROWS = 4_096
"""Rows that are compared with those learnt from at once."""
SLOPES = tuple(1.1**power for power in range(36))
"""From which the scale of the confidence is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """What the rows are, as places in the labels."""

    winners: Places
    """(n_rows,)"""
    confidence: Doubles
    """(n_rows,) 0 to 1; 1 for gold rows."""
    learnt_from: int
    """Rows of the last regression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What teachers say, and what they would."""

    said: Floats
    """(n_rows, n_columns, n_labels + 1) 1 where the answer is that label, or none (the last)."""
    expected: Floats
    """The same, foretold from the text without the row's own answer."""


def evidence_of(texts: Floats, votes: Votes, asked: Flags) -> Evidence:
    """What teachers say and what they would.

    Args:
        texts: (n_rows, k) of unit length.
        votes: of the same rows.
        asked: (n_rows, n_columns) who was asked about which row.
    """
    import numpy as np

    n_columns, width = votes.codes.shape[1], len(votes.labels) + 1
    said = np.zeros((len(texts), n_columns, width), np.float32)
    expected = np.zeros_like(said)
    for column in range(n_columns):
        (rows,) = np.nonzero(asked[:, column])
        said[rows, column, votes.codes[rows, column] % width] = 1  # -1, no label, is the last
        expected[:, column] = _of_the_others(texts, said[:, column], rows)
    return Evidence(said=said, expected=np.maximum(expected, 0))


def _of_the_others(texts: Floats, targets: Floats, rows: Places) -> Floats:
    """(n_rows, n_targets) what a ridge regression on these rows, the row left out, foretells."""
    import numpy as np

    known = texts[rows]
    gram = known.T.astype(np.float64) @ known
    gram[np.diag_indices(len(gram))] += RIDGE
    inverse = np.linalg.inv(gram).astype(np.float32)
    foretold: Floats = texts @ (inverse @ (known.T @ targets[rows]))
    own = np.einsum("ij,ij->i", known @ inverse, known)[:, None]
    foretold[rows] = (foretold[rows] - own * targets[rows]) / (1 - own)
    return foretold


def three_sides(texts: Floats, evidence: Evidence) -> Floats:
    """(n_rows, d) of unit length: the text, the votes, and what is said of texts like it."""
    import numpy as np

    n_rows, n_columns, _ = evidence.said.shape
    said = evidence.said.reshape(n_rows, -1) * np.float32(np.sqrt(VOTES / max(n_columns, 1)))
    expected = _unit(np.sqrt(evidence.expected.reshape(n_rows, -1)))
    return _unit(np.hstack([texts, said, np.float32(np.sqrt(EXPECTED)) * expected]))


def central(sides: Floats, count: int, seed: int) -> Flags:
    """(n_rows,) the rows nearest to the centres of a k-means: `count`, or a few less."""
    import numpy as np
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    chosen = np.zeros(len(sides), bool)
    with threadpool_limits(1):  # the same on every machine
        means = KMeans(min(count, len(sides)), n_init=1, random_state=seed, max_iter=PASSES)
        chosen[means.fit(sides).transform(sides).argmin(axis=0)] = True
    return chosen


def _unit(vectors: Floats) -> Floats:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, 1e-12)
    return unit


def relabelled(
    sides: Floats, gold: Mapping[int, int], n_labels: int, grow: Sequence[int]
) -> Relabelled:
    """The label of each row.

    Args:
        sides: (n_rows, d) of unit length, what is known of each row.
        gold: the label of some rows, 0 to n_labels - 1, by their place.
        n_labels: how many there are.
        grow: how many rows each label takes in, turn by turn.
    """
    import numpy as np

    rows, labels = np.array([*gold], np.intp), np.array([*gold.values()], np.intp)
    scores = _scores(sides, rows, labels, np.full(len(rows), GOLD_RIDGE), n_labels)
    scores, learnt_from = _grown(sides, rows, labels, scores, grow)
    winners = scores.argmax(axis=1)
    sure = _probabilities(scores * _slope(scores[rows], labels)).max(axis=1)
    winners[rows], sure[rows] = labels, 1.0
    return Relabelled(winners=winners, confidence=sure, learnt_from=learnt_from)


def from_votes(sides: Floats, evidence: Evidence, n_labels: int, grow: Sequence[int]) -> Relabelled:
    """The label of each row, without gold: the labels are those of the votes.

    Args:
        sides: (n_rows, d) of unit length, what is known of each row.
        evidence: what is said of each row.
        n_labels: how many there are.
        grow: how many rows each label takes in, turn by turn.
    """
    import numpy as np

    shares = (evidence.said + evidence.expected)[..., :n_labels].mean(axis=1, dtype=np.float64)
    none = np.array([], np.intp)
    scores, learnt_from = _grown(sides, none, none, _balanced(shares), grow)
    likely = SLOPE * scores
    told = _probabilities(likely)
    for said in np.moveaxis(evidence.said, 1, 0):
        counts = said.T @ told
        counts += 0.1 + PRIOR * counts.sum(axis=1, keepdims=True) / max(counts.sum(), 1)
        likely += said @ np.log(counts / counts.sum(axis=0))
    posterior = _balanced(_probabilities(likely))
    posterior /= posterior.sum(axis=1, keepdims=True)
    return Relabelled(
        winners=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        learnt_from=learnt_from,
    )


def _balanced(shares: Doubles) -> Doubles:
    """In proportion to what each label has on average."""
    import numpy as np

    balanced: Doubles = shares / np.maximum(shares.mean(axis=0), 1e-12)
    return balanced


def _grown(
    sides: Floats, rows: Places, labels: Places, scores: Doubles, grow: Sequence[int]
) -> tuple[Doubles, int]:
    """The scores once each label has taken in the rows it is surest of, and from how many rows."""
    import numpy as np

    is_gold = np.zeros(len(sides), bool)
    is_gold[rows] = True
    anchors, n_labels = rows, scores.shape[1]
    for turn in grow:
        taken = _surest(scores, is_gold, min(turn, max(MOST - len(rows), 0) // n_labels))
        anchors = np.concatenate([rows, taken])
        told = np.concatenate([labels, scores[taken].argmax(axis=1)])
        ridge = np.full(len(anchors), GROWN_RIDGE / GROWN_WEIGHT)
        ridge[: len(rows)] = GROWN_RIDGE
        scores = _scores(sides, anchors, told, ridge, n_labels)
    return scores, len(anchors)


def _scores(
    sides: Floats, anchors: Places, labels: Places, ridge: Doubles, n_labels: int
) -> Doubles:
    """(n_rows, n_labels) near 1 for the right label; an anchor's as the other anchors have it."""
    import numpy as np
    from scipy.linalg import cho_solve, cholesky
    from scipy.linalg.lapack import dtrtri

    targets = np.eye(n_labels)[labels]
    known = sides[anchors]
    gram = _kernel(known, known).astype(np.float64)
    gram[np.diag_indices(len(gram))] += ridge
    lower = cholesky(gram, lower=True, overwrite_a=True)
    weights = cho_solve((lower, True), targets)
    root, _ = dtrtri(lower, lower=1)
    scores = np.empty((len(sides), n_labels))
    for start in range(0, len(sides), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        scores[chunk] = _kernel(sides[chunk], known) @ weights
    scores[anchors] = targets - weights / np.square(root).sum(axis=0)[:, None]
    return scores


def _kernel(left: Floats, right: Floats) -> Floats:
    import numpy as np

    kernel: Floats = np.exp(SHARPNESS * (left @ right.T - 1))
    return kernel


def _surest(scores: Doubles, is_gold: Flags, count: int) -> Places:
    """The rows that each label is surest of, by the lead over the next one; without gold rows."""
    import numpy as np

    winners = scores.argmax(axis=1)
    top = np.partition(scores, -2, axis=1)
    lead = top[:, -1] - top[:, -2]
    taken = []
    for label in range(scores.shape[1]):
        (own,) = np.nonzero((winners == label) & ~is_gold)
        taken.append(own[np.argsort(-lead[own], kind="stable")[:count]])
    return np.concatenate(taken)


def _slope(scores: Doubles, labels: Places) -> float:
    """The scale of scores under which the gold labels are most likely."""
    import numpy as np

    def likelihood(slope: float) -> float:
        own = _probabilities(slope * scores)[np.arange(len(labels)), labels]
        return float(np.log(np.maximum(own, 1e-12)).mean())

    return max(SLOPES, key=likelihood)


def _probabilities(logarithms: Doubles) -> Doubles:
    import numpy as np

    raised = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    probabilities: Doubles = raised / raised.sum(axis=1, keepdims=True)
    return probabilities
