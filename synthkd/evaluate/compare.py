"""Base, teachers and student side by side on the same held-out rows.

evaluation = compare(
    gold,
    {"qwen3-8b": Answers(role="teacher", given=asked), "student": Answers(role="student", ...)},
    training_labels=labels,
    on="test",
)
console.print(evaluation_view(evaluation))      # of synthkd.display
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from synthkd.errors import UserError
from synthkd.evaluate.metrics import METRICS, accuracy, bootstrap, interval, macro_f1
from synthkd.manifest import Contestant, Evaluation, Interval
from synthkd.text import equivalent

Role = Literal["base", "teacher", "panel", "student"]
ROLES: tuple[Role, ...] = ("base", "teacher", "panel", "student")
BASE = "majority class"
SCORES = {"accuracy": accuracy, "macro_f1": macro_f1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one contestant said, and what it took."""

    role: Role
    given: Sequence[str | None]
    """One for each row of gold; None = no answer that could be read, which is wrong."""
    simulated: bool = False
    """A simulated teacher, a panel with one, or a student that learnt from one."""
    ms_per_row: float | None = None
    """As `Contestant.ms_per_row`."""
    usd_per_1000: float | None = None
    """As `Contestant.usd_per_1000`."""


def compare(
    gold: Sequence[str],
    answers: Mapping[str, Answers],
    *,
    training_labels: Sequence[str],
    on: str = "test",
    metrics: Sequence[str] = METRICS,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score everybody on the same rows: base first, then teachers, panels and the student.

    Args:
        gold: the right answers.
        answers: contestant's name -> what it said; at most one student.
        training_labels: what the student was trained on: base always answers their most frequent
            label (of equally frequent ones the alphabetically first; equivalent ones are one).
        on: the name of the split.
        metrics: of `accuracy` and `macro_f1`.
        resamples: draws behind each 95 % interval.
        seed: of the draws.

    Raises:
        UserError: there are no rows to compare on, or no training labels.
    """
    _check(gold, answers, training_labels, on)
    students = [name for name, one in answers.items() if one.role == "student"]
    taught_by_simulation = any(answers[name].simulated for name in students)
    base = Answers(
        role="base",
        given=[_most_frequent(training_labels)] * len(gold),
        simulated=taught_by_simulation,
        usd_per_1000=0.0,
    )
    everybody = {BASE: base, **answers}
    given = {name: one.given for name, one in everybody.items()}
    values = {
        name: {metric: SCORES[metric](gold, said) for metric in metrics}
        for name, said in given.items()
    }
    draws = bootstrap(gold, given, resamples=resamples, seed=seed)

    def versus(name: str) -> dict[str, Interval]:
        return {
            metric: interval(
                values[student][metric] - values[name][metric],
                draws[student][metric] - draws[name][metric],
            )
            for student in students
            if student != name
            for metric in metrics
        }

    contestants = [
        Contestant(
            name=name,
            role=one.role,
            simulated=one.simulated,
            answered=sum(answer is not None for answer in one.given),
            metrics={m: interval(values[name][m], draws[name][m]) for m in metrics},
            versus_student=versus(name),
            ms_per_row=one.ms_per_row,
            usd_per_1000=one.usd_per_1000,
        )
        for name, one in sorted(everybody.items(), key=lambda item: ROLES.index(item[1].role))
    ]
    return Evaluation(
        on=on,
        rows=len(gold),
        labels=len(set(map(equivalent, gold))),
        contestants=contestants,
    )


def _check(
    gold: Sequence[str], answers: Mapping[str, Answers], training_labels: Sequence[str], on: str
) -> None:
    if not gold:
        raise UserError(f"there are no {on} rows to compare on: set source.holdout.{on} above 0")
    if not training_labels:
        raise UserError("no row was kept, so there is no most frequent label to compare with")
    for name, one in answers.items():
        if len(one.given) != len(gold):
            raise ValueError(f"{name} has {len(one.given)} answers to {len(gold)} rows")
    if sum(one.role == "student" for one in answers.values()) > 1:
        raise ValueError("compare knows one student at a time")
    if BASE in answers:
        raise UserError(f"a teacher must not be called {BASE!r}: that is the base's name")


def _most_frequent(labels: Sequence[str]) -> str:
    counts = Counter(map(equivalent, labels))
    return min(counts, key=lambda label: (-counts[label], label))
