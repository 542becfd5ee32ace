from __future__ import annotations

import io
from typing import Any

import pytest

from synthkd.display import console_for
from synthkd.evaluate.compare import Answers, compare
from synthkd.evaluate.money import with_money
from synthkd.manifest import Evaluation
from synthkd.scoreboard import evaluation_view

GOLD = ["a"] * 6 + ["b"] * 4


def shown(evaluation: Evaluation) -> str:
    stream = io.StringIO()
    console = console_for(stream)
    console.width = 80
    console.print(evaluation_view(evaluation))
    return stream.getvalue()


def evaluated(teacher_usd: float | None = 0.5, **student: Any) -> Evaluation:
    return compare(
        GOLD,
        {
            "main": Answers(
                role="teacher", given=[*GOLD[:9], None], recorded=True, usd_per_1000=teacher_usd
            ),
            "student": Answers(role="student", given=GOLD[::-1], usd_per_1000=0.0, **student),
        },
        training_labels=["a", "c"],
        resamples=50,
    )


def test_everything_that_must_stand_beside_a_figure_does() -> None:
    evaluation = evaluated(confidences=[0.9] * 10).model_copy(update={"left_out": 3})
    text = shown(with_money(evaluation, spent_usd=2.0, rows=400))
    for part in (
        "on test: 10 rows, 2 labels; 3 rows left out because asking failed",
        "held-out rows among the rows to learn from: not checked",
        "few rows: 10",
        "labels that no row to learn from has: 1, of 4 rows: b",
        "teacher: main (recorded)",
        "9 of 10",
        "left out",
        "calibration error (ECE, 1",
        "the run cost 2.0000 USD, evaluation included: 0.005000 USD for each of 400 rows",
        "points of accuracy above base; points for a dollar: -20.00",
        "main (recorded), student has paid for itself: after 4,000 requests",
    ):
        assert " ".join(part.split()) in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("spent", "teacher", "says"),
    [
        (None, 0.5, "points for a dollar: unknown"),
        (None, 0.5, "the run cost unknown USD"),
        (0.0, 0.5, "points for a dollar: nothing was spent"),
        (2.0, None, "paid for itself: unknown"),
        (2.0, 0.0, "paid for itself: never"),
    ],
)
def test_what_is_unknown_is_called_unknown(
    spent: float | None, teacher: float | None, says: str
) -> None:
    text = shown(with_money(evaluated(teacher), spent_usd=spent, rows=400))
    assert says in " ".join(text.split())


def test_seeds_are_named() -> None:
    assert "student, 2 seeds" in shown(evaluated(other_seeds=[GOLD]))


def test_control_characters_of_labels_do_not_reach_the_terminal() -> None:
    gold = ["a", "\x1b[31mred"]
    assert "\x1b" not in shown(compare(gold, {}, training_labels=["a"], resamples=5))
