from __future__ import annotations

from typing import Literal

import pytest

from synthkd.evaluate.compare import Answers, compare
from synthkd.evaluate.money import with_money
from synthkd.manifest import Evaluation

GOLD = ["a", "b"] * 20


def evaluated(teacher_usd: float | None, student_usd: float | None = 0.0) -> Evaluation:
    return compare(
        GOLD,
        {
            "main": Answers(role="teacher", given=GOLD, usd_per_1000=teacher_usd),
            "student": Answers(role="student", given=GOLD, usd_per_1000=student_usd),
        },
        training_labels=["a"],
        resamples=5,
    )


def test_what_the_student_cost_and_when_it_has_paid_for_itself() -> None:
    found = with_money(evaluated(0.5), spent_usd=2.0, rows=400)
    assert found.money is not None
    assert found.money.usd_per_row == pytest.approx(0.005)
    assert found.money.metric == "accuracy"
    assert found.money.points == pytest.approx(50)
    assert found.money.points_per_usd == pytest.approx(25)
    assert [one.pays_off_after for one in found.contestants] == [None, 4000, None]


@pytest.mark.parametrize(
    ("spent", "teacher", "student", "after"),
    [
        (2.0, 0.5, 0.1, 5000),
        (2.0, 0.0, 0.0, "never"),
        (2.0, 0.1, 0.5, "never"),
        (None, 0.5, 0.0, None),
        (2.0, None, 0.0, None),
        (2.0, 0.5, None, None),
        (0.0, 0.5, 0.0, 0),
    ],
)
def test_what_is_unknown_stays_unknown(
    spent: float | None,
    teacher: float | None,
    student: float | None,
    after: int | Literal["never"] | None,
) -> None:
    found = with_money(evaluated(teacher, student), spent_usd=spent, rows=10)
    assert found.contestants[1].pays_off_after == after
    assert found.money is not None
    assert (found.money.points_per_usd is None) == (not spent)
    assert (found.money.usd_per_row is None) == (spent is None)


def test_without_a_student_there_is_nothing_to_count() -> None:
    alone = compare(GOLD, {}, training_labels=["a"], resamples=5)
    assert with_money(alone, spent_usd=1.0, rows=1) == alone
