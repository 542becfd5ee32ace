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
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
CHUNK_ROWS = 4_096
"""Rows that are compared with those learnt from at once."""
SLOPES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
"""From which the scale of the confidence is chosen."""


class RelabelConfig(StepSettings):
    """Few gold labels, several teachers' answers and the text, to one label."""

    text: str
    """The field with the text."""
    gold: str
    """The field with the gold label of those rows that have one; null or "" in the others."""
    field: str = "answers"
    """The field with `[{teacher, sample, label, ...}]`; a null label is an answer without one."""
    into: str = "label"
    """Where the label goes; its probability goes into `confidence`, and whether it is gold into
    `is_gold`."""
    per_label: PositiveInt | None = None
    """Only so many gold labels of each label are used, drawn by chance: to try on a source with
    gold how few would do. null = all."""
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
    needs=lambda config: [config.text, config.gold, config.field],
    gives=lambda config: [config.into, "confidence", "is_gold"],
    asks=lambda config, rows: rows,
)
def relabel(table: Table, kit: TableKit, config: RelabelConfig, /) -> Iterator[Row]:
    """One label for each row, learnt from the few that have gold.

    Rejects rows without text (`no_text`) and rows whose answers cannot be read
    (`unreadable_answers`). A label of which no row has gold is given to no row.
    """
    texts = TextColumn(table, (config.text,))
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    blank = vectors.is_blank
    told = _gold(table, config)
    names = list({equivalent(label): label for label in told.values()}.values())
    places = {equivalent(label): place for place, label in enumerate(names)}
    gold = {row: places[equivalent(label)] for row, label in told.items() if not blank[row]}
    gold = _drawn(gold, kit, config)
    if len(set(gold.values())) < 2:
        raise NothingToLearn(
            f"step {kit.desk.step!r}: {len(gold)} rows have text and a gold label in"
            f" {config.gold!r}, of {len(set(gold.values()))} labels, and two labels are the least:"
            " label more rows"
        )
    votes = read_votes(table, config.field)
    sides = three_sides(vectors.values, votes)
    found = relabelled(sides, gold, len(names), config.grow)
    kit.note(
        {
            "gold_rows": len(gold),
            "labels": len(set(gold.values())),
            "labels_without_gold": len({equivalent(label) for label in votes.labels} - {*places}),
            "learnt_from": found.learnt_from,
        }
    )
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
        }
        yield row.with_fields(**fields).with_made_by(*vectors.made_by(place))


def _gold(table: Table, config: RelabelConfig) -> dict[int, str]:
    """The gold labels there are, by the row's place."""
    values = ((place, row.fields.get(config.gold)) for place, row in enumerate(table))
    return {p: value for p, value in values if isinstance(value, str) and value.strip()}


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


def three_sides(texts: Floats, votes: Votes) -> Floats:
    """(n_rows, d) of unit length: the text, the votes, and what is said of texts like it.

    Args:
        texts: (n_rows, k) of unit length.
        votes: of the same rows.
    """
    import numpy as np

    n_columns, width = votes.codes.shape[1], len(votes.labels) + 1
    said = np.zeros((len(texts), n_columns * width), np.float32)
    for column in range(n_columns):  # -1, no label, is the last of each teacher's places
        said[np.arange(len(texts)), column * width + votes.codes[:, column] % width] = 1
    expected = np.sqrt(np.maximum(_of_the_others(texts, said), 0))
    said *= np.float32(np.sqrt(VOTES / max(n_columns, 1)))
    sides = np.hstack([texts, said, np.float32(np.sqrt(EXPECTED)) * _unit(expected)])
    return _unit(sides)


def _of_the_others(texts: Floats, targets: Floats) -> Floats:
    """(n_rows, n_targets) what a ridge regression on all other rows foretells."""
    import numpy as np

    gram = texts.T.astype(np.float64) @ texts
    gram[np.diag_indices(len(gram))] += RIDGE
    inverse = np.linalg.inv(gram).astype(np.float32)
    projected = texts @ inverse
    own = np.einsum("ij,ij->i", projected, texts)[:, None]
    foretold: Floats = (projected @ (texts.T @ targets) - own * targets) / (1 - own)
    return foretold


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
    is_gold = np.zeros(len(sides), bool)
    is_gold[rows] = True
    scores = _scores(sides, rows, labels, np.full(len(rows), GOLD_RIDGE), n_labels)
    slope = _slope(scores[rows], labels)
    anchors = rows
    for turn in grow:
        room = max(MOST - len(rows), 0) // n_labels
        taken = _surest(scores, is_gold, min(turn, room))
        anchors = np.concatenate([rows, taken])
        told = np.concatenate([labels, scores[taken].argmax(axis=1)])
        ridge = np.full(len(anchors), GROWN_RIDGE / GROWN_WEIGHT)
        ridge[: len(rows)] = GROWN_RIDGE
        scores = _scores(sides, anchors, told, ridge, n_labels)
    slope = _slope(scores[rows], labels)
    winners, sure = scores.argmax(axis=1), _probabilities(scores, slope).max(axis=1)
    winners[rows], sure[rows] = labels, 1.0
    return Relabelled(winners=winners, confidence=sure, learnt_from=len(anchors))


def _scores(
    sides: Floats, anchors: Places, labels: Places, ridge: Doubles, n_labels: int
) -> Doubles:
    """(n_rows, n_labels) near 1 for the right label; an anchor's as the other anchors have it."""
    import numpy as np

    targets = np.eye(n_labels)[labels]
    known = sides[anchors]
    gram = _kernel(known, known).astype(np.float64)
    gram[np.diag_indices(len(gram))] += ridge
    inverse = np.linalg.inv(gram)
    weights = inverse @ targets
    scores = np.empty((len(sides), n_labels))
    for start in range(0, len(sides), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        scores[chunk] = _kernel(sides[chunk], known) @ weights
    scores[anchors] = targets - weights / np.diag(inverse)[:, None]
    return scores


def _kernel(left: Floats, right: Floats) -> Floats:
    import numpy as np

    kernel: Floats = np.exp(SHARPNESS * (left @ right.T - 1))
    return kernel


def _surest(scores: Doubles, is_gold: NDArray[np.bool_], count: int) -> Places:
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
        own = _probabilities(scores, slope)[np.arange(len(labels)), labels]
        return float(np.log(np.maximum(own, 1e-12)).mean())

    return max(SLOPES, key=likelihood)


def _probabilities(scores: Doubles, slope: float) -> Doubles:
    import numpy as np

    raised = np.exp(slope * (scores - scores.max(axis=1, keepdims=True)))
    probabilities: Doubles = raised / raised.sum(axis=1, keepdims=True)
    return probabilities
