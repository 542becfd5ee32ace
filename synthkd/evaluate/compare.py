"""Base, teachers and student side by side on the same held-out rows.

evaluation = compare(
    gold,
    {"qwen3-8b": Answers(role="teacher", given=asked), "student": Answers(role="student", ...)},
    training_labels=labels,
    on="test",
)
console.print(evaluation_view(evaluation))      # of synthkd.scoreboard
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from synthkd.answers import AnswerSettings
from synthkd.errors import UserError
from synthkd.evaluate.classification import label_of
from synthkd.evaluate.confidences import confidences_of
from synthkd.evaluate.matching import ANY, TOLERANCE
from synthkd.evaluate.metrics import Metric, check_gold, metrics_of
from synthkd.evaluate.paired import figure, lead
from synthkd.evaluate.records import by_field
from synthkd.evaluate.scored import Scored
from synthkd.manifest import Contestant, Difference, Evaluation, Unseen
from synthkd.records.schema import RecordSchema
from synthkd.rows import Json, canonical

Role = Literal["base", "teacher", "panel", "student"]
ROLES: tuple[Role, ...] = ("base", "teacher", "panel", "student")
BASE = "majority class"
LABEL_METRICS = ("accuracy", "macro_f1")
FEW_ROWS = 100
"""With fewer, the interval of a share of a half is wider than 0.2."""
FEW_OF_A_LABEL = 5
"""With fewer, the F1 of a label is mostly chance."""
EXAMPLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one contestant said, and what it took."""

    role: Role
    given: Sequence[Json]
    """One for each row of gold; None = no answer that could be read, which is wrong."""
    other_seeds: Sequence[Sequence[Json]] = ()
    """Of a student: what others said that differ from it by chance alone; figures are of all."""
    seeds: Sequence[int] = ()
    """Of a student, by what number its seeds go, its own first; by default 0, 1, ..."""
    confidences: Sequence[float] | None = None
    """How sure it is of each answer, 0 to 1; None = it does not say."""
    simulated: bool = False
    """A simulated teacher, a panel with one, or a student that learnt from one."""
    recorded: bool = False
    """A teacher whose answers come out of a file, or a panel with one."""
    ms_per_row: float | None = None
    """As `Contestant.ms_per_row`."""
    usd_per_1000: float | None = None
    """As `Contestant.usd_per_1000`."""

    @property
    def by_seed(self) -> dict[int, Sequence[Json]]:
        """What was said, by seed."""
        said = (self.given, *self.other_seeds)
        return dict(zip(self.seeds or range(len(said)), said, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An evaluation, and what it is of."""

    evaluation: Evaluation
    everybody: Mapping[str, Answers]
    """With base."""
    scored: Mapping[str, Mapping[str, Sequence[Scored]]]
    """By contestant and metric, one a seed."""


def compare(
    gold: Sequence[Json],
    answers: Mapping[str, Answers],
    *,
    training_labels: Sequence[Json] | None,
    known_labels: Sequence[Json] | None = None,
    on: str = "test",
    metrics: Sequence[str] = LABEL_METRICS,
    tolerance: float = TOLERANCE,
    answer: AnswerSettings = ANY,
    record: RecordSchema | None = None,
    resamples: int = 1000,
    seed: int = 0,
    also: Callable[[Compared], None] | None = None,
) -> Evaluation:
    """Score everybody on the same rows: base first, then teachers, panels and the student.

    Args:
        gold: the right answers.
        answers: contestant's name -> what it said; at most one student.
        training_labels: what the student was trained on: base always answers the most frequent
            (of equally frequent ones the alphabetically first; equivalent ones are one). None =
            nobody knows, and there is no base.
        known_labels: all that the student can say; by default the training labels. Where neither is
            known, no label is called unseen.
        on: the name of the split.
        metrics: names out of `synthkd.evaluate.metrics.METRICS`.
        tolerance: of `numeric_match`.
        answer: of `answer_match`.
        record: of `record_f1` and its kin.
        resamples: draws behind each end of a 95 % interval.
        seed: of the draws.
        also: shown all that the evaluation is of, at its end.

    Raises:
        UserError: there are no rows to compare on, no training labels, or a metric that does not
            fit gold.
    """
    _check(gold, answers, training_labels, metrics, on, answer, record)
    chosen = metrics_of(metrics, tolerance=tolerance, answer=answer, record=record)
    student = next((name for name, one in answers.items() if one.role == "student"), None)
    everybody = dict(answers)
    if training_labels is not None:
        everybody[BASE] = Answers(
            role="base",
            given=[_most_frequent(training_labels)] * len(gold),
            simulated=student is not None and answers[student].simulated,
            usd_per_1000=0.0,
        )
    scored = {name: _scored(gold, one, chosen) for name, one in everybody.items()}

    def versus(name: str) -> dict[str, Difference]:
        if student is None or student == name:
            return {}
        return {
            metric: lead(
                scored[student][metric], scored[name][metric][0], resamples=resamples, seed=seed
            )
            for metric in metrics
        }

    contestants = [
        Contestant(
            name=name,
            role=one.role,
            simulated=one.simulated,
            recorded=one.recorded,
            seeds=1 + len(one.other_seeds),
            answered=sum(any(m.reads(a) is not None for m in chosen.values()) for a in one.given),
            metrics={
                metric: figure(seeds, resamples=resamples, seed=seed)
                for metric, seeds in scored[name].items()
            },
            versus_student=versus(name),
            fields={}
            if "record_f1" not in chosen
            else by_field(gold, one.given, record, resamples=resamples, seed=seed),
            confidences=None
            if one.confidences is None or (right := _right(scored[name])) is None
            else confidences_of(right, one.confidences, seed=seed),
            ms_per_row=one.ms_per_row,
            usd_per_1000=one.usd_per_1000,
        )
        for name, one in sorted(everybody.items(), key=lambda item: ROLES.index(item[1].role))
    ]
    of_labels = any(name in LABEL_METRICS for name in metrics)
    learnt = known_labels if training_labels is None else training_labels
    known = None if learnt is None else set(map(key_of, learnt))
    evaluation = Evaluation(
        on=on,
        rows=len(gold),
        labels=len(set(map(key_of, gold))),
        unseen=_unseen(gold, known) if of_labels and known is not None else None,
        notes=_notes(gold, metrics),
        contestants=contestants,
    )
    if also is not None:
        also(Compared(evaluation=evaluation, everybody=everybody, scored=scored))
    return evaluation


def _scored(
    gold: Sequence[Json], one: Answers, metrics: Mapping[str, Metric]
) -> dict[str, list[Scored]]:
    """Metric -> one a seed."""
    return {
        name: [metric.score(gold, given) for given in (one.given, *one.other_seeds)]
        for name, metric in metrics.items()
    }


def _right(scored: Mapping[str, Sequence[Scored]]) -> list[bool] | None:
    """Which rows the first metric of right and wrong calls right; None = there is none."""
    flags = (seeds[0].right for seeds in scored.values())
    return next((found.tolist() for found in flags if found is not None), None)


def _check(
    gold: Sequence[Json],
    answers: Mapping[str, Answers],
    training_labels: Sequence[Json] | None,
    metrics: Sequence[str],
    on: str,
    answer: AnswerSettings,
    record: RecordSchema | None,
) -> None:
    if not gold:
        raise UserError(f"there are no {on} rows to compare on: set source.holdout.{on} above 0")
    if training_labels is not None and not training_labels:
        raise UserError("no row was kept, so there is no most frequent label to compare with")
    for place, value in enumerate(gold):
        where = f"{on} row {place + 1} (counted from 1)"
        check_gold(metrics, value, place=where, answer=answer, record=record)
    for name, one in answers.items():
        for given in (one.given, *one.other_seeds, *([one.confidences] if one.confidences else [])):
            if len(given) != len(gold):
                raise ValueError(f"{name} has {len(given)} answers to {len(gold)} rows")
    if sum(one.role == "student" for one in answers.values()) > 1:
        raise ValueError("compare knows one student at a time")
    if any(one.other_seeds and one.role != "student" for one in answers.values()):
        raise ValueError("only a student has several seeds")
    if BASE in answers:
        raise UserError(f"a teacher must not be called {BASE!r}: that is the base's name")


def key_of(answer: Json) -> str:
    """The same for equivalent answers."""
    label = label_of(answer)
    return canonical(answer).decode() if label is None else label


def _most_frequent(answers: Sequence[Json]) -> Json:
    first = {key_of(answer): answer for answer in reversed(answers)}
    counts = Counter(map(key_of, answers))
    return first[min(counts, key=lambda key: (-counts[key], key))]


def _unseen(gold: Sequence[Json], known: Set[str]) -> Unseen | None:
    counts = Counter(key for key in map(key_of, gold) if key not in known)
    if not counts:
        return None
    examples = [label for label, _ in counts.most_common(EXAMPLES)]
    return Unseen(labels=len(counts), rows=counts.total(), examples=examples)


def few_rows(rows: int) -> Iterator[str]:
    """What to bear in mind of so many rows, if they are few."""
    if rows < FEW_ROWS:
        yield (
            f"few rows: {rows} cannot tell apart what differs by little; the intervals are honest"
            " and wide"
        )


def _notes(gold: Sequence[Json], metrics: Sequence[str]) -> list[str]:
    notes = [*few_rows(len(gold))]
    labels = Counter(map(key_of, gold))
    if "macro_f1" in metrics:
        rare = sum(count < FEW_OF_A_LABEL for count in labels.values())
        if len(labels) == 1:
            notes.append(
                "one label: every row has the same gold, so a contestant that always says it is"
                " perfect, and macro-F1 tells nothing"
            )
        elif rare:
            notes.append(
                f"{rare} of {len(labels)} labels have fewer than {FEW_OF_A_LABEL} rows: the F1 of"
                " each of them is mostly chance"
            )
    return notes
