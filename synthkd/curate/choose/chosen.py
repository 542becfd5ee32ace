"""What all ways to choose have in common: what can be chosen, what it weighs, what is written.

    answer, rationale, finish, agreement, chosen: {teacher, sample, key}

The pool stays in the row, so that another step can choose otherwise from it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from synthkd.answers import AnswerSettings, choices_of
from synthkd.curate.gates.answers import ROUNDING
from synthkd.errors import MissingField, Rejected, RowError
from synthkd.recipes.pool import POOL, Candidate, pool_of
from synthkd.recipes.votes import Cluster, clusters
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings

__all__ = [
    "GIVES",
    "Candidate",
    "ChoiceSettings",
    "WeighedSettings",
    "chosen",
    "pool_of",
    "usable",
    "weights_of",
]

HEAVIEST = 1e100
"""Of a candidate: a thousand of them can still be added up."""
GIVES = ("answer", "rationale", "finish", "agreement", "chosen")


class ChoiceSettings(StepSettings):
    """What every `choose.*` step has."""

    candidates: str = POOL
    """The field with them."""
    answer: AnswerSettings = AnswerSettings()
    """When two answers are the same, as of the recipe that read them: `{type: number}` allows for
    rounding; by default their spelling decides, without case and punctuation."""

    @property
    def needed(self) -> list[str]:
        """The fields that are read."""
        return [
            self.candidates,
            *([self.answer.choices] if self.answer.choices is not None else []),
        ]

    def clusters(
        self, row: Row, candidates: Sequence[Candidate], weights: Sequence[float] | None = None
    ) -> list[Cluster]:
        """The candidates by their answers, the heaviest first; at least one cluster.

        Raises:
            Rejected: `no_candidate`: no answer is one of the type.
        """
        answers = [candidate.answer for candidate in candidates]
        choices = choices_of(row.fields, self.answer)
        found = clusters(answers, weights, config=self.answer, choices=choices)
        if not found:
            told = "; ".join(map(repr, answers))
            raise Rejected("no_candidate", f"none is a {self.answer.type or 'text'}: {told[:200]}")
        return found


class WeighedSettings(ChoiceSettings):
    """What a candidate counts for."""

    weight: str | None = None
    """The candidate's number that it counts for: `score` or another that a step before has added;
    `logprob` counts as a probability. null = every candidate counts 1."""
    teacher_weights: dict[str, float] | None = None
    """What the candidates of each teacher count for besides, such as `{strong: 2, cheap: 1}`."""


def usable(pool: Sequence[Candidate]) -> list[Candidate]:
    """The candidates whose answer may vote and be learnt; at least one.

    Raises:
        Rejected: `no_candidate`, with how many there are of each status.
    """
    found = [candidate for candidate in pool if candidate.is_usable]
    if not found:
        why = Counter(candidate.status for candidate in pool)
        told = ", ".join(f"{times} {status}" for status, times in why.most_common())
        raise Rejected("no_candidate", f"none of {len(pool)} can be used: {told or 'none'}")
    return found


def weights_of(candidates: Sequence[Candidate], config: WeighedSettings) -> list[float]:
    """What each candidate counts for; 0 where it lacks the number.

    Raises:
        RowError: none has the number, a weight is below 0 or huge, or a teacher has none.
    """
    numbers: list[float | None] = [1.0] * len(candidates)
    if config.weight is not None:
        numbers = [candidate.number(config.weight) for candidate in candidates]
        if all(number is None for number in numbers):
            raise MissingField(
                f"no candidate has a {config.weight!r}: a step before must add it, or leave out"
                " `weight`"
            )
        if config.weight == "logprob":
            numbers = [
                None if number is None else _probability(candidate, number)
                for candidate, number in zip(candidates, numbers, strict=True)
            ]
    weights = [
        (number or 0.0) * _of_teacher(candidate, config)
        for candidate, number in zip(candidates, numbers, strict=True)
    ]
    for candidate, weight in zip(candidates, weights, strict=True):
        if not 0 <= weight <= HEAVIEST:
            raise RowError(
                f"{candidate} weighs {weight:g}: weights must not be below 0, nor above"
                f" {HEAVIEST:g}"
            )
    return weights


def _probability(candidate: Candidate, logprob: float) -> float:
    if logprob > ROUNDING:
        raise RowError(f"the logprob of {candidate} must be 0 or less, got {logprob:g}")
    return math.exp(logprob)


def _of_teacher(candidate: Candidate, config: WeighedSettings) -> float:
    if config.teacher_weights is None:
        return 1.0
    if candidate.teacher not in config.teacher_weights:
        raise RowError(
            f"teacher_weights has none for {candidate.teacher!r}; it has"
            f" {', '.join(config.teacher_weights) or 'none'}"
        )
    return config.teacher_weights[candidate.teacher]


def chosen(row: Row, candidate: Candidate, *, agreement: float, **more: Json) -> Row:
    """The row with this candidate as what is to be learnt, and what else the choice gives.

    Args:
        row: its row.
        candidate: the chosen one.
        agreement: the share of the whole pool that gives its answer.
        more: what else the choice gives.
    """
    return row.with_fields(
        answer=candidate.answer,
        rationale=candidate.rationale,
        finish=candidate.finish,
        agreement=agreement,
        chosen=candidate.whose,
        **more,
    )
