"""What a student cost and when it has paid for itself; what is unknown stays unknown."""

from __future__ import annotations

import math
from typing import Literal

from synthkd.manifest import Contestant, Evaluation, Money


def with_money(evaluation: Evaluation, *, spent_usd: float | None, rows: int) -> Evaluation:
    """The evaluation with what its student cost; unchanged where there is no student.

    Args:
        evaluation: of the student.
        spent_usd: what providers charge for the whole run; None = unknown.
        rows: of the dataset.
    """
    student = next((one for one in evaluation.contestants if one.role == "student"), None)
    if student is None:
        return evaluation
    base = evaluation.contestants[0]
    metric = next(iter(student.metrics))
    points = 100 * base.versus_student[metric].value
    money = Money(
        spent_usd=spent_usd,
        rows=rows,
        usd_per_row=None if spent_usd is None or not rows else spent_usd / rows,
        metric=metric,
        points=points,
        points_per_usd=points / spent_usd if spent_usd else None,
    )
    contestants = [
        one.model_copy(update={"pays_off_after": _pays_off_after(spent_usd, one, student)})
        if one.role in {"teacher", "panel"}
        else one
        for one in evaluation.contestants
    ]
    return evaluation.model_copy(update={"money": money, "contestants": contestants})


def _pays_off_after(
    spent_usd: float | None, teacher: Contestant, student: Contestant
) -> int | Literal["never"] | None:
    """Requests: what was spent over what each of them saves."""
    if spent_usd is None or teacher.usd_per_1000 is None or student.usd_per_1000 is None:
        return None
    saved_usd = (teacher.usd_per_1000 - student.usd_per_1000) / 1000
    if saved_usd <= 0:
        return "never"
    return math.ceil(spent_usd / saved_usd)
