"""`choose.panel`: whom to believe, learnt from who agrees with whom, and how sure that makes.

Nobody says how good the teachers are. But a teacher that is often right agrees often with others
that are, and wrong answers scatter. The model is that of `aggregate` with `one_coin` (each teacher
has one accuracy), fitted to all rows by expectation maximisation, without gold. Answers need not be
of one list: in each row they are numbered as they come, and a wrong answer is taken as drawn from
`alternatives` others. What nobody named may be the truth, too, and lowers the confidence.

Where a property of a candidate says something of whether it is right, such as whether its sums add
up, `by` lets each teacher have an accuracy for each value of it; what the property is worth is
learnt from agreement as well.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from synthkd.config import Share
from synthkd.curate.agreement import AggregateConfig, Votes, fit, posteriors_of
from synthkd.curate.choose.chosen import (
    GIVES,
    Candidate,
    ChoiceSettings,
    chosen,
    pool_of,
    usable,
)
from synthkd.curate.gates.answers import ROUNDING
from synthkd.errors import Rejected, RowError, UserError
from synthkd.io.spool import Table
from synthkd.rows import Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Who = tuple[str, ...]
"""A teacher, and the values of the properties by which it is split."""


class PanelSettings(ChoiceSettings):
    """Settings of `choose.panel`."""

    by: Annotated[tuple[str, ...], Field(max_length=4)] = ()
    """Properties of candidates that split a teacher, such as `[sums]`: each value has its own
    accuracy. Every split halves what an accuracy is learnt from."""
    alternatives: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Of how many wrong answers one is drawn: of 5 choices 4. Where answers are numbers nobody
    knows; any number from 5 to 1,000 has done (see the page)."""
    at_least: Share | None = None
    """How sure the answer must be, else the row is rejected. Posteriors are too sure where teachers
    err alike: better a share of the rows, the surest, than a level."""
    smoothing: float = Field(default=0.01, ge=0, le=1e6)
    """Answers added to each count, as of `aggregate`."""
    tolerance: PositiveFloat = 1e-6
    """The fit ends when an iteration adds less than so much log-likelihood a row."""
    max_iterations: PositiveInt = Field(default=200, le=10_000)


@table_step(
    "choose.panel",
    needs=lambda config: config.needed,
    gives=(*GIVES, "confidence"),
)
def panel(table: Table, kit: TableKit, config: PanelSettings, /) -> Iterator[Row]:
    """Choose each row's most probable answer, by teachers' accuracies learnt from agreement alone.

    Gives the candidate of the most accurate teacher with that answer (the first of equals),
    `confidence`: the answer's posterior probability, and `agreement`: the share of all candidates
    with it. Rejects `no_candidate`, `low_confidence`, and a pool that is none (`unreadable_pool`).
    Figures: what each teacher's accuracy is taken for, and on how many answers.
    """
    belief = believed(table, config)
    kit.note({"accuracies": belief.told, "answers": belief.counts})
    for index, row in enumerate(table):
        try:
            yield _choice(row, index, belief, config)
        except Rejected as rejected:
            kit.reject(row, rejected.reason, rejected.detail)
        except RowError as error:
            kit.reject(row, "unreadable_pool", str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What the fit knows."""

    accuracies: dict[Who, float]
    posteriors: NDArray[np.float32]
    """(n_rows, n_columns) of the row's answers in the order in which they come; 0 = no such one."""
    counts: dict[str, int]

    @property
    def told(self) -> dict[str, float]:
        """Accuracies for people."""
        return {" / ".join(who): round(share, 4) for who, share in self.accuracies.items()}


def believed(table: Table, config: PanelSettings) -> Belief:
    """Accuracies of the teachers and posteriors of all answers; rows without any are left at 0."""
    import numpy as np

    columns: dict[tuple[Who, int], array[int]] = {}
    n_rows, most = 0, 0
    missing = set(config.by)
    for row in table:
        try:
            pool = usable(pool_of(row, config.candidates))
            answers = _answers(row, pool, config)
        except RowError:
            pool, answers = [], []  # the second pass says why
        missing.difference_update(*(one.more for one in pool if missing))
        for place, cluster in enumerate(answers):
            most = max(most, place + 1)
            for at in cluster:
                key = (_who(pool[at], config.by), pool[at].sample)
                column = columns.setdefault(key, array("i"))
                column.extend([-1] * (n_rows - len(column)))
                column.append(place)
        n_rows += 1
    if missing and columns:
        raise UserError(
            f"no candidate has {', '.join(map(repr, sorted(missing)))}, by which teachers are to be"
            " split: a step before must add it"
        )
    codes = np.full((n_rows, len(columns)), -1, dtype=np.int32)
    for place, column in enumerate(columns.values()):
        codes[: len(column), place] = column
    teachers = {who: place for place, who in enumerate(dict.fromkeys(who for who, _ in columns))}
    posteriors = np.zeros((n_rows, max(most, 1)), dtype=np.float32)
    answered = (codes >= 0).any(axis=1)
    if not teachers:
        return Belief(accuracies={}, posteriors=posteriors, counts={})
    votes = Votes(
        codes=codes[answered],
        teacher_of=[teachers[who] for who, _ in columns],
        labels=[str(place) for place in range(max(config.alternatives + 1, most))],
    )
    model = fit(votes, _one_coin(config), [])
    chunks = [chunk[:, :most] for chunk, _ in posteriors_of(votes, model)]
    posteriors[answered] = np.concatenate(chunks)
    counts = dict.fromkeys((" / ".join(who) for who in teachers), 0)
    for (who, _), column in columns.items():
        counts[" / ".join(who)] += sum(code >= 0 for code in column)
    return Belief(
        accuracies=dict(zip(teachers, model.accuracies, strict=True)),
        posteriors=posteriors,
        counts=counts,
    )


def _one_coin(config: PanelSettings) -> AggregateConfig:
    return AggregateConfig(
        method="one_coin",
        class_prior="uniform",  # the first answer of a row is no class of its own
        smoothing=config.smoothing,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
    )


def _answers(row: Row, pool: Sequence[Candidate], config: PanelSettings) -> list[tuple[int, ...]]:
    """Places of the row's different answers, in the order in which they come."""
    return sorted(cluster.places for cluster in config.clusters(row, pool))


def _who(candidate: Candidate, by: Sequence[str]) -> Who:
    return (candidate.teacher, *(str(candidate.more.get(name)) for name in by))


def _choice(row: Row, index: int, belief: Belief, config: PanelSettings) -> Row:
    pool = pool_of(row, config.candidates)
    able = usable(pool)
    answers = _answers(row, able, config)
    best = int(belief.posteriors[index, : len(answers)].argmax())
    confidence = float(belief.posteriors[index, best])
    if config.at_least is not None and confidence < config.at_least - ROUNDING:
        raise Rejected(
            "low_confidence", f"confidence {confidence:.4g}, at_least is {config.at_least:g}"
        )
    candidate = able[
        max(answers[best], key=lambda place: belief.accuracies[_who(able[place], config.by)])
    ]
    return chosen(row, candidate, confidence=confidence, agreement=len(answers[best]) / len(pool))
