"""What all ways to choose have in common: the candidates that can be chosen, and what is written.

    answer, rationale, finish, chosen: {teacher, sample, key}

The pool stays in the row, so that another step can choose otherwise from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from synthkd.errors import Rejected
from synthkd.recipes.pool import Candidate, pool_of
from synthkd.rows import Json, Row

GIVES = ("answer", "rationale", "finish", "chosen")


def with_answers(pool: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that can be chosen.

    Raises:
        Rejected: `no_candidate`: there is none.
    """
    found = [candidate for candidate in pool if candidate.answer is not None]
    if not found:
        why = Counter(candidate.status for candidate in pool)
        told = ", ".join(f"{times} {status}" for status, times in why.most_common())
        raise Rejected("no_candidate", f"none of {len(pool)} has an answer: {told or 'none'}")
    return found


def chosen(row: Row, candidate: Candidate, **more: Json) -> Row:
    """The row with this candidate as what is to be learnt, and what else the choice gives."""
    return row.with_fields(
        answer=candidate.answer,
        rationale=candidate.rationale,
        finish=candidate.finish,
        chosen={
            "teacher": candidate.teacher,
            "sample": candidate.sample,
            "key": candidate.key,
        },
        **more,
    )


__all__ = ["GIVES", "Candidate", "chosen", "pool_of", "with_answers"]
