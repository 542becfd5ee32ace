"""Which candidates may be chosen at all, and how a text to learn is written from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from synthkd.answers import choices_of, gold_of, same
from synthkd.curate.choose.chosen import ChoiceSettings, chosen, usable
from synthkd.errors import Rejected
from synthkd.recipes.pool import Candidate, pool_of
from synthkd.rows import Fields, Row
from synthkd.students.targets import in_one

Written = Literal["text", "rationale", "rationale_first"]


class ChoosingSettings(ChoiceSettings):
    """What every choice from a pool may be told."""

    gold: str | None = None
    """The field with the right answer: only candidates that give it may be chosen, and a row with
    none is rejected (`wrong_answer`). A row where it is null is not checked."""
    agreeing: bool = False
    """Only candidates with the answer that most of them give: the vote first, without gold. Of
    answers as frequent the one that comes first."""

    @property
    def needed(self) -> list[str]:
        """The fields that are read."""
        return [*super().needed, *([self.gold] if self.gold is not None else [])]


def eligible(row: Row, config: ChoosingSettings) -> list[Candidate]:
    """The candidates of a row that may be chosen; at least one.

    Raises:
        MissingField: the row has no pool, or no field for gold.
        RowError: the pool is none.
        Rejected: `no_candidate`, `wrong_answer`, `bad_gold`.
    """
    left = usable(pool_of(row, config.candidates))
    choices = choices_of(row.fields, config.answer)
    gold = None if config.gold is None else gold_of(row.fields, config.gold, config.answer, choices)
    if gold is not None:
        answers = dict.fromkeys(one.answer for one in left)
        left = [one for one in left if same(one.answer, gold, config.answer, choices)]
        if not left:
            raise Rejected("wrong_answer", f"answered {'; '.join(map(str, answers))}, gold {gold}")
    return agreeing(row, left, config) if config.agreeing else left


def agreeing(row: Row, answered: Sequence[Candidate], config: ChoiceSettings) -> list[Candidate]:
    """Those with the answer that most give; of answers as frequent the one that comes first.

    Raises:
        Rejected: `no_candidate`: no answer is one of the type.
    """
    return [answered[place] for place in config.clusters(row, answered)[0].places]


def agreement_of(
    row: Row, one: Candidate, pool: Sequence[Candidate], config: ChoiceSettings
) -> float:
    """The share of the whole pool that gives its answer; what has none counts against it."""
    choices = choices_of(row.fields, config.answer)
    agree = sum(
        other == one or same(other.answer, one.answer, config.answer, choices)
        for other in pool
        if other.is_usable
    )
    return agree / len(pool)


def with_choice(
    row: Row,
    one: Candidate,
    config: ChoosingSettings,
    said: Mapping[tuple[str, int], Fields] | None = None,
) -> Row:
    """The row with the candidate that was chosen, and how many of the pool agree with it.

    Args:
        row: its row.
        one: the chosen one.
        config: names the field of the pool.
        said: teacher and sample -> what the step found out about that candidate: keys of its own
            in the pool.
    """
    pool = pool_of(row, config.candidates)
    made = chosen(row, one, agreement=agreement_of(row, one, pool, config))
    if said is None:
        return made
    keys = [{**each.told, **said.get((each.teacher, each.sample), {})} for each in pool]
    return made.with_fields(**{config.candidates: keys})


def written(one: Candidate, way: Written, cue: str) -> str:
    """What a student would learn to write from it; empty where there is nothing.

    Args:
        one: the candidate.
        way: its text as it came; its rationale; or rationale, a new line, cue and answer.
        cue: before the answer.
    """
    if way == "text":
        return one.text or ""
    if way == "rationale":
        return one.rationale
    return "" if one.answer is None else in_one(one.rationale, cue, one.answer)
