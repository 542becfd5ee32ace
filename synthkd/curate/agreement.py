"""What several noisy teachers' answers to one row add up to: a label and how sure it is.

    answers: [{teacher: a, sample: 0, label: card_arrival}, {teacher: b, sample: 0, label: null}]
    ->  label: card_arrival, confidence: 1.0, agreement: 0.5

Three methods, none of which sees gold:

* `majority`: the label named most often. A tie goes to the label that comes first in `answers`, so
  the order in which a pipeline lists its teachers is the order in which they break ties.
* `one_coin`: each teacher has one accuracy and errs evenly over all other labels.
* `dawid_skene`: each teacher has a whole confusion matrix (Dawid and Skene, Applied Statistics 28,
  1979). It learns who confuses what with what, and needs many rows a label to do so.

The last two are fitted by expectation maximisation, which starts from the shares of votes and never
lowers the log-posterior. Memory: 4 bytes an answer and 12 a row, plus teachers x labels^2 numbers;
posteriors are made for `CHUNK_ROWS` rows at a time and never kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from synthkd.errors import Rejected
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.text import equivalent, same_answer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Codes = NDArray[np.int32]
    Floats = NDArray[np.float64]

CHUNK_ROWS = 8192
"""Rows whose posteriors are in memory at once: 8192 x 77 labels are 5 MB."""
FLOOR = 1e-10
"""The least probability and the least count: keeps logarithms finite without smoothing."""


class AggregateConfig(StepSettings):
    """Several teachers' answers to one label."""

    field: str = "answers"
    """The field with `[{teacher, sample, label, ...}]`; a null label is an answer without one."""
    into: str = "label"
    """Where the label goes; its probability goes into `confidence`, the share of answers that gave
    it into `agreement`."""
    method: Literal["majority", "dawid_skene", "one_coin"] = "majority"
    """majority by default: the others need many rows a label, and their gain is not certain."""
    smoothing: float = Field(default=0.01, ge=0, le=1e6)
    """Answers added to each cell of each teacher's counts, so that no answer is impossible. Small,
    because a confusion matrix has labels^2 cells; 0 is the plain maximum likelihood."""
    class_prior: Literal["learned", "uniform"] = "learned"
    """uniform: every label is equally frequent. Right where the source is balanced by design; keeps
    the fit from giving rare labels away to frequent ones."""
    tolerance: PositiveFloat = 1e-6
    """The fit ends when an iteration adds less than so much log-likelihood a row."""
    max_iterations: PositiveInt = Field(default=200, le=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """All answers as integers."""

    codes: Codes
    """(n_rows, n_columns) int32: the label's place in `labels`; -1 = no label."""
    teacher_of: Sequence[int]
    """For each column (one for each sample of a teacher), whose it is, from 0."""
    labels: Sequence[str]
    """In first-seen order and spelling: answers that are equivalent are one label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """What the answers add up to, row by row."""

    winners: Codes
    """(n_rows,) int32: the label's place in `labels`; -1 = no answer has a label."""
    confidence: Floats
    """(n_rows,) float64: the winner's posterior; for majority its share of the labels given."""
    history: Sequence[float]
    """Log-posterior a row after each iteration; empty for majority."""


@table_step(
    "aggregate",
    needs=lambda config: [config.field],
    gives=lambda config: [config.into, "confidence", "agreement"],
)
def aggregate(table: Table, kit: TableKit, config: AggregateConfig, /) -> Iterator[Row]:
    """One label for each row out of several noisy teachers' answers, without gold.

    Rejects rows without any label (`no_label`) and rows whose answers cannot be read
    (`unreadable_answers`).
    """
    votes = read_votes(table, config.field)
    consensus = majority(votes) if config.method == "majority" else expectation(votes, config)
    for index, row in enumerate(table):
        try:
            answers = answers_of(row, config.field)
        except Rejected as rejected:
            kit.reject(row, rejected.reason, rejected.detail)
            continue
        winner = int(consensus.winners[index])
        if winner < 0:
            kit.reject(row, "no_label", f"none of {len(answers)} answers has a label")
            continue
        label = votes.labels[winner]
        named = sum(given is not None and same_answer(given, label) for given in answers.values())
        sure: dict[str, Json] = {
            config.into: label,
            "confidence": float(consensus.confidence[index]),
            "agreement": named / len(answers),
        }
        yield row.with_fields(**sure)


def answers_of(row: Row, field: str) -> dict[tuple[str, int], str | None]:
    """The labels by teacher and sample, in the order given.

    Raises:
        Rejected: `unreadable_answers`: the field is missing or has another shape.
    """
    answers = row.fields.get(field)
    if not isinstance(answers, list | tuple):
        raise Rejected("unreadable_answers", f"{field} must be a list, got {answers!r:.80}")
    labels: dict[tuple[str, int], str | None] = {}
    for place, answer in enumerate(answers):
        who, sample, label = _answer(answer, f"{field}[{place}]")
        if (who, sample) in labels:
            raise Rejected(
                "unreadable_answers", f"{field} has two answers of {who!r}, sample {sample}"
            )
        labels[who, sample] = label
    return labels


def _answer(answer: Json, where: str) -> tuple[str, int, str | None]:
    if isinstance(answer, Mapping):
        who, sample, label = answer.get("teacher"), answer.get("sample", 0), answer.get("label")
        if isinstance(who, str) and isinstance(sample, int) and isinstance(label, str | None):
            return who, sample, label
    raise Rejected(
        "unreadable_answers",
        f"{where} must have a teacher (text), a sample (integer) and a label (text or null), "
        f"got {answer!r:.200}",
    )


def read_votes(table: Table, field: str) -> Votes:
    """The answers of the whole table as integers; rows that cannot be read count as unanswered."""
    import numpy as np

    spelled: dict[str, str] = {}
    places: dict[str, int] = {}
    columns: dict[tuple[str, int], array[int]] = {}
    n_rows = 0
    for row in table:
        try:
            answers = answers_of(row, field)
        except Rejected:
            answers = {}  # the second pass rejects the row with the reason
        for key, label in answers.items():
            column = columns.setdefault(key, array("i"))
            column.extend([-1] * (n_rows - len(column)))
            if label is None:
                column.append(-1)
            else:
                same = equivalent(label)
                spelled.setdefault(same, label)
                column.append(places.setdefault(same, len(places)))
        n_rows += 1
    codes = np.full((n_rows, len(columns)), -1, dtype=np.int32)
    for place, column in enumerate(columns.values()):
        codes[: len(column), place] = column
    teachers = {who: place for place, who in enumerate(dict.fromkeys(who for who, _ in columns))}
    return Votes(
        codes=codes, teacher_of=[teachers[who] for who, _ in columns], labels=[*spelled.values()]
    )


def majority(votes: Votes) -> Consensus:
    """The label with the most votes; a tie goes to the one that comes first among the answers."""
    import numpy as np

    n_rows, n_columns = votes.codes.shape
    winners = np.full(n_rows, -1, dtype=np.int32)
    most = np.zeros(n_rows, dtype=np.int32)
    for column in range(n_columns):
        candidate = votes.codes[:, column]
        count = (votes.codes == candidate[:, None]).sum(axis=1)
        better = (candidate >= 0) & (count > most)  # strictly: the earlier one keeps a tie
        winners[better], most[better] = candidate[better], count[better]
    given = (votes.codes >= 0).sum(axis=1)
    return Consensus(winners=winners, confidence=most / np.maximum(given, 1), history=())


def expectation(votes: Votes, config: AggregateConfig) -> Consensus:
    """Posterior labels under `dawid_skene` or `one_coin`, fitted by expectation maximisation."""
    import numpy as np

    n_labels, answered = len(votes.labels), (votes.codes >= 0).any(axis=1)
    winners = np.full(len(votes.codes), -1, dtype=np.int32)
    confidence = np.zeros(len(votes.codes))
    history: list[float] = []
    if n_labels:
        known = Votes(codes=votes.codes[answered], teacher_of=votes.teacher_of, labels=votes.labels)
        model = fit(known, config, history)
        posteriors = [
            (chunk.argmax(axis=1), chunk.max(axis=1)) for chunk, _ in posteriors_of(known, model)
        ]
        winners[answered] = np.concatenate([winner for winner, _ in posteriors])
        confidence[answered] = np.concatenate([sure for _, sure in posteriors])
    return Consensus(winners=winners, confidence=confidence, history=history)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What the fit knows, as logarithms."""

    prior: Floats
    """(n_labels,): how frequent each label is."""
    answer: Floats
    """(n_teachers, n_labels + 1, n_labels): how probable the answer [t, a] is when the truth is
    [.., k]. The last row is 0: -1, no label, says nothing."""
    penalty: float
    """Log-density of the smoothing, which the fit maximises together with the log-likelihood."""

    @property
    def accuracies(self) -> list[float]:
        """Of each teacher, how often its label is the true one if all are equally frequent."""
        import numpy as np

        right = np.exp(np.diagonal(self.answer[:, :-1], axis1=1, axis2=2))
        return [float(one) for one in right.mean(axis=1)]


def fit(votes: Votes, config: AggregateConfig, history: list[float]) -> Model:
    """The most probable model of the teachers; each row must have a label.

    Args:
        votes: of all rows.
        config: `method`, and how it is fitted.
        history: the log-posterior a row after each iteration is added to it.
    """
    model = _maximise(votes, config, _vote_shares(votes))
    for _ in range(config.max_iterations):
        log_likelihood = 0.0

        def posteriors(model: Model = model) -> Iterator[Floats]:
            nonlocal log_likelihood
            for chunk, log_evidence in posteriors_of(votes, model):
                log_likelihood += float(log_evidence.sum())
                yield chunk

        better = _maximise(votes, config, posteriors())
        history.append((log_likelihood + model.penalty) / len(votes.codes))
        if len(history) > 1 and history[-1] - history[-2] < config.tolerance:
            break
        model = better
    return model


def _chunks(votes: Votes) -> Iterator[Codes]:
    for start in range(0, len(votes.codes), CHUNK_ROWS):
        yield votes.codes[start : start + CHUNK_ROWS]


def _vote_shares(votes: Votes) -> Iterator[Floats]:
    """Where the fit starts: each label's share of the row's votes, chunk by chunk."""
    for codes in _chunks(votes):
        counts = sum(_one_hot(column, len(votes.labels)).toarray() for column in codes.T)
        yield counts / counts.sum(axis=1, keepdims=True)


def posteriors_of(votes: Votes, model: Model) -> Iterator[tuple[Floats, Floats]]:
    """The E step, chunk by chunk: (rows, n_labels) posteriors and the log-evidence of each row."""
    import numpy as np

    for codes in _chunks(votes):
        joint = np.tile(model.prior, (len(codes), 1))
        for teacher, column in zip(votes.teacher_of, codes.T, strict=True):
            joint += model.answer[teacher, column]
        top = joint.max(axis=1, keepdims=True)
        np.exp(joint - top, out=joint)
        total = joint.sum(axis=1, keepdims=True)
        yield joint / total, (top + np.log(total))[:, 0]


def _maximise(votes: Votes, config: AggregateConfig, posteriors: Iterator[Floats]) -> Model:
    """The M step: the most probable model given the posteriors of all rows."""
    import numpy as np

    n_labels, n_teachers = len(votes.labels), max(votes.teacher_of) + 1
    weight = np.zeros(n_labels)
    counts = np.zeros((n_teachers, n_labels, n_labels))
    for codes, posterior in zip(_chunks(votes), posteriors, strict=True):
        weight += posterior.sum(axis=0)
        for teacher, column in zip(votes.teacher_of, codes.T, strict=True):
            counts[teacher] += _one_hot(column, n_labels).T @ posterior
    if config.class_prior == "uniform":
        weight = np.ones(n_labels)
    confusion = _one_coin if config.method == "one_coin" else _confusion
    answer, penalty = confusion(counts, config.smoothing)
    silent = np.zeros((n_teachers, 1, n_labels))
    return Model(
        prior=_log(weight / weight.sum()),
        answer=np.concatenate([answer, silent], axis=1),
        penalty=penalty,
    )


def _confusion(counts: Floats, smoothing: float) -> tuple[Floats, float]:
    """Dawid-Skene: a distribution over answers for each teacher and each truth."""
    import numpy as np

    smoothing = max(smoothing, FLOOR)  # of a count, as crowd-kit has it
    counts = counts + smoothing
    log_answer: Floats = np.log(counts / counts.sum(axis=1, keepdims=True))
    return log_answer, smoothing * float(log_answer.sum())


def _one_coin(counts: Floats, smoothing: float) -> tuple[Floats, float]:
    """One accuracy for each teacher; its errors spread evenly over the other labels."""
    import numpy as np

    n_labels = counts.shape[1]
    right = np.trace(counts, axis1=1, axis2=2) + smoothing
    wrong = counts.sum(axis=(1, 2)) + 2 * smoothing - right
    accuracy = right / np.maximum(right + wrong, FLOOR)
    log_right, log_wrong = _log(accuracy), _log((1 - accuracy) / max(n_labels - 1, 1))
    same = np.eye(n_labels, dtype=bool)
    log_answer = np.where(same, log_right[:, None, None], log_wrong[:, None, None])
    return log_answer, smoothing * float((log_right + _log(1 - accuracy)).sum())


def _log(probability: Floats) -> Floats:
    import numpy as np

    log: Floats = np.log(np.maximum(probability, FLOOR))
    return log


def _one_hot(codes: Codes, n_labels: int) -> csr_array:
    """(rows, n_labels), a row of zeros where the code is -1."""
    import numpy as np
    from scipy.sparse import csr_array

    (rows,) = np.nonzero(codes >= 0)
    return csr_array((np.ones(len(rows)), (rows, codes[rows])), shape=(len(codes), n_labels))
