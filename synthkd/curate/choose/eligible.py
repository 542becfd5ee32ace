"""Which candidates may be chosen at all, and how a text to learn is written from one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from synthkd.curate.choose.chosen import ChoiceSettings, chosen
from synthkd.curate.fields import value_of
from synthkd.errors import Rejected
from synthkd.recipes.pool import Candidate, pool_of
from synthkd.recipes.votes import clusters
from synthkd.rows import Fields, Row
from synthkd.text import same_answer

GIVES = ("answer", "rationale", "finish", "agreement", "chosen")
USABLE = frozenset({"ok", "run_on_cut"})
"""Statuses of a reply that has an answer; of the second the part that counts was kept."""
CUE = "The answer is"
"""Between rationale and answer, as of a student's `cue`."""
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
        return [self.field, *([self.gold] if self.gold is not None else [])]


def usable(pool: Sequence[Candidate]) -> list[Candidate]:
    """Those with an answer that may be learnt; at least one.

    Raises:
        Rejected: `no_candidate`, with how many of each status.
    """
    found = [one for one in pool if one.status in USABLE and one.answer is not None]
    if not found:
        statuses = Counter(one.status for one in pool).most_common()
        told = ", ".join(f"{times} {status}" for status, times in statuses)
        raise Rejected("no_candidate", f"none of {len(pool)} can be used: {told or 'none'}")
    return found


def eligible(row: Row, config: ChoosingSettings) -> list[Candidate]:
    """The candidates of a row that may be chosen; at least one.

    Raises:
        MissingField: the row has no pool, or no field for gold.
        RowError: the pool is none.
        Rejected: `no_candidate`, `wrong_answer`.
    """
    left = usable(pool_of(row, config.field))
    gold = None if config.gold is None else value_of(row, config.gold)
    if gold is not None:
        answers = dict.fromkeys(one.answer for one in left)
        left = [one for one in left if same_answer(one.answer, gold)]
        if not left:
            raise Rejected("wrong_answer", f"answered {'; '.join(map(str, answers))}, gold {gold}")
    return agreeing(left) if config.agreeing else left


def agreeing(answered: Sequence[Candidate]) -> list[Candidate]:
    """Those with the answer that most give; of answers as frequent the one that comes first."""
    return [answered[place] for place in clusters([one.answer for one in answered])[0].places]


def agreement_of(one: Candidate, pool: Sequence[Candidate]) -> float:
    """The share of the whole pool that gives its answer; what has none counts against it."""
    same = sum(
        other.status in USABLE and same_answer(other.answer, one.answer)
        for other in pool
        if other.answer is not None
    )
    return same / len(pool)


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
    pool = pool_of(row, config.field)
    made = chosen(row, one, agreement=agreement_of(one, pool))
    if said is None:
        return made
    keys = [{**each.told, **said.get((each.teacher, each.sample), {})} for each in pool]
    return made.with_fields(**{config.field: keys})


def written(one: Candidate, way: Written, cue: str = CUE) -> str:
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
    return f"{one.rationale}\n{cue} {one.answer}" if one.answer is not None else ""
