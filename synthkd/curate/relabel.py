"""`relabel`: a label for every row from a few gold labels, noisy teachers' answers and the text.

    answers: [{teacher: a, sample: 0, label: card_arrival}, ...], checked: null
    ->  label: lost_card, confidence: 0.83

Teachers that confuse labels, or were never offered some, cannot be put right by counting their
votes: a label that nobody names never wins. A handful of gold labels says what a pattern of votes
means. Each row is seen from three sides, which together are one vector of unit length:

* its text, as `embed` has it;
* the votes: which teacher said what, "nothing" included;
* what the teachers say of texts like it: a ridge regression of the votes on the text, in which the
  row itself has no part (leave-one-out, in closed form). Its square roots are taken, so that two
  rows are as near as two distributions of votes are (Hellinger).

A kernel ridge regression on the gold rows labels all others. Then every label takes in the rows of
which it is surest, as many as every other label (`grow`), and learns again: being balanced is what
keeps large labels from swallowing small ones. A row that was taken in is judged by the rest alone.

Without `gold` the votes begin: what is said of the row and of texts like it, each label in
proportion to how often it is said at all. In the end each row's votes are weighed once more, by
who says what of which label. Rows may have the answers of different teachers (`acquire`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from synthkd.curate.agreement import Votes, answers_of, read_votes
from synthkd.curate.embed import EmbedSettings, TextColumn, embeddable, open_embedder
from synthkd.curate.tfidf import TfidfSettings
from synthkd.errors import NothingToLearn, Rejected
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.text import equivalent

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

All six constants were chosen on BANKING77, by other draws than those reported (docs/log.md)."""
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
LEAST = 2
"""Labels there must be."""
SLOPES = tuple(1.1**power for power in range(36))
"""From which the scale of the confidence is chosen."""


class RelabelConfig(StepSettings):
    """Few gold labels, several teachers' answers and the text, to one label."""

    text: str
    """The field with the text."""
    gold: str | None = None
    """The field with the gold label of those rows that have one; null or "" in the others. Without
    it the votes alone begin."""
    field: str = "answers"
    """The field with `[{teacher, sample, label, ...}]`; a null label is an answer without one."""
    into: str = "label"
    """Where the label goes; its probability goes into `confidence`, and whether it is gold into
    `is_gold`."""
    per_label: PositiveInt | None = None
    """Only so many gold labels of each label are used, drawn by chance: to try on a source with
    gold how few would do. null = all."""
    central: PositiveInt | None = None
    """Marks so many rows (`is_central`) that are worth a gold label: those nearest to the centres
    of a k-means over all rows. Where `gold` is given, no other row's is used, to try on a source
    with gold how few would do."""
    grow: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = (20, 40)
    """How many of its surest rows each label takes in, turn by turn; [] = gold rows alone."""
    embed: EmbedSettings = TfidfSettings(dimensions=512)
    """How texts become vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """What the rows are, as places in the labels."""

    winners: Places
    """(n_rows,)"""
    confidence: Doubles
    """(n_rows,) 0 to 1; 1 for gold rows."""
    learnt_from: int
    """Rows of the last regression."""


@table_step(
    "relabel",
    needs=lambda config: [config.text, config.field, *([config.gold] if config.gold else [])],
    gives=lambda config: [
        *(config.into, "confidence", "is_gold"),
        *(["is_central"] if config.central else []),
    ],
    asks=lambda config, rows: rows,
)
def relabel(table: Table, kit: TableKit, config: RelabelConfig, /) -> Iterator[Row]:
    """One label for each row, learnt from the few that have gold.

    Rejects rows without text (`no_text`) and rows whose answers cannot be read
    (`unreadable_answers`). A label of which no row has gold is given to no row; without `gold` the
    labels are those that a teacher names.
    """
    texts = TextColumn(table, (config.text,))
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    votes, asked = read_votes(table, config.field), _asked(table, config.field)
    evidence = evidence_of(vectors.values, votes, asked)
    sides = three_sides(vectors.values, evidence)
    useful = ~vectors.is_blank
    if config.central is not None:
        useful &= central(sides, config.central, kit.rng.randrange(2**32))
    names, gold = _known(table, kit, config, votes, useful)
    if config.gold is None:
        found = from_votes(sides, evidence, len(names), config.grow)
    else:
        found = relabelled(sides, gold, len(names), config.grow)
    kit.note({"gold_rows": len(gold), "labels": len(names), "learnt_from": found.learnt_from})
    if config.gold is not None:
        unknown = {*map(equivalent, votes.labels)} - {*map(equivalent, names)}
        kit.note({"labels_without_gold": len(unknown)})
    for place, row in embeddable(table, kit, (config.text,), vectors):
        if not str(row.fields[config.text]).strip():
            kit.reject(row, "no_text", f"{config.text} is blank")
            continue
        try:
            answers_of(row, config.field)
        except Rejected as rejected:
            kit.reject(row, rejected.reason, rejected.detail)
            continue
        label = names[int(found.winners[place])]
        sure = float(found.confidence[place])
        fields: dict[str, Json] = {
            config.into: label,
            "confidence": sure,
            "is_gold": place in gold,
            **({} if config.central is None else {"is_central": bool(useful[place])}),
        }
        yield row.with_fields(**fields).with_made_by(*vectors.made_by(place))


def _known(
    table: Table, kit: TableKit, config: RelabelConfig, votes: Votes, useful: Flags
) -> tuple[Sequence[str], Mapping[int, int]]:
    """The labels there are, and the gold rows with their label's place in them.

    Only the gold of `useful` rows, (n_rows,), is looked at.

    Raises:
        NothingToLearn: fewer than two labels.
    """
    if config.gold is None:
        if len(votes.labels) < LEAST:
            raise NothingToLearn(
                f"step {kit.desk.step!r}: the answers in {config.field!r} name"
                f" {len(votes.labels)} labels, and two are the least: ask more teachers or rows,"
                " or name a field with gold labels in `gold`"
            )
        return votes.labels, {}
    told: dict[int, str] = {}
    for place, row in enumerate(table):
        value = row.fields.get(config.gold)
        if isinstance(value, str) and value.strip() and useful[place]:
            told[place] = value
    spelled = {equivalent(label): label for label in told.values()}
    if len(spelled) < LEAST:
        raise NothingToLearn(
            f"step {kit.desk.step!r}: {len(told)} rows have text and a gold label in"
            f" {config.gold!r}, of {len(spelled)} labels, and two labels are the least:"
            " label more rows"
        )
    places = {same: place for place, same in enumerate(spelled)}
    gold = {row: places[equivalent(label)] for row, label in told.items()}
    return [*spelled.values()], _drawn(gold, kit, config)


def _asked(table: Table, field: str) -> Flags:
    """(n_rows, n_columns) who was asked about which row; the columns are those of `read_votes`."""
    import numpy as np

    columns: dict[tuple[str, int], int] = {}
    cells: list[tuple[int, int]] = []
    for place, row in enumerate(table):
        with suppress(Rejected):  # such a row is rejected with the reason when it is handed on
            whose = answers_of(row, field)
            cells += [(place, columns.setdefault(who, len(columns))) for who in whose]
    asked = np.zeros((len(table), len(columns)), bool)
    for place, column in cells:
        asked[place, column] = True
    return asked


def _drawn(gold: Mapping[int, int], kit: TableKit, config: RelabelConfig) -> dict[int, int]:
    """At most `per_label` of each label, by chance."""
    of: dict[int, list[int]] = {}
    for row, label in gold.items():
        of.setdefault(label, []).append(row)
    return {
        row: label
        for label, rows in of.items()
        for row in (rows if config.per_label is None else _some(rows, kit, config.per_label))
    }


def _some(rows: list[int], kit: TableKit, count: int) -> list[int]:
    return kit.rng.sample(rows, min(count, len(rows)))


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
