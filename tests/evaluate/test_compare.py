from __future__ import annotations

import pytest

from synthkd.errors import UserError
from synthkd.evaluate.compare import BASE, Answers, compare
from synthkd.manifest import Evaluation

GOLD = ["a", "b", "a", "c"] * 25
STUDENT = Answers(role="student", given=GOLD, ms_per_row=0.25, usd_per_1000=0.0)
TEACHER = Answers(role="teacher", given=["a", None, "a", "c"] * 25, usd_per_1000=1.5)


def evaluated(**contestants: Answers) -> Evaluation:
    return compare(GOLD, contestants, training_labels=["b", "c", "c", "b", "a"], resamples=200)


def test_base_is_the_majority_class_of_the_training_labels() -> None:
    base = evaluated(student=STUDENT).contestants[0]
    assert (base.name, base.role) == (BASE, "base")
    assert base.metrics["accuracy"].value == 0.25  # b, before c by name; gold would say a: 0.5


def test_equivalent_spellings_are_one_label_and_right() -> None:
    said = Answers(role="teacher", given=["order status", "1200.", None])
    evaluation = compare(
        ["Order_status", "$1,200.00", "order status."],
        {"t": said},
        training_labels=["b", "Order_status", "order status"],
        resamples=5,
    )
    base, teacher = evaluation.contestants
    assert evaluation.labels == 2
    assert base.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert teacher.metrics["accuracy"].value == pytest.approx(2 / 3)


def test_roles_answers_and_paired_differences() -> None:
    evaluation = evaluated(student=STUDENT, teacher=TEACHER)
    assert [one.role for one in evaluation.contestants] == ["base", "teacher", "student"]
    _, teacher, student = evaluation.contestants
    assert (evaluation.rows, evaluation.labels, teacher.answered) == (100, 3, 75)
    lead = teacher.versus_student["accuracy"]
    assert lead.value == pytest.approx(0.25)
    assert 0.1 < lead.low < lead.value < lead.high < 0.4
    assert student.versus_student == {}
    assert student.metrics["accuracy"] == student.metrics["accuracy"].model_copy(
        update={"value": 1.0, "low": 1.0, "high": 1.0}
    )


def test_equal_answers_have_a_difference_of_exactly_nothing() -> None:
    twin = Answers(role="teacher", given=GOLD)
    lead = evaluated(student=STUDENT, twin=twin).contestants[1].versus_student["macro_f1"]
    assert (lead.value, lead.low, lead.high) == (0, 0, 0)


def test_a_student_of_simulated_teachers_and_its_base_are_named_too() -> None:
    taught = Answers(role="student", given=GOLD, simulated=True)
    assert [one.simulated for one in evaluated(student=taught).contestants] == [True, True]


def test_without_a_student_there_are_no_differences() -> None:
    assert all(not one.versus_student for one in evaluated(teacher=TEACHER).contestants)


def test_only_the_metrics_asked_for() -> None:
    evaluation = compare(
        GOLD, {"t": TEACHER}, training_labels=["a"], metrics=["macro_f1"], resamples=5
    )
    assert list(evaluation.contestants[0].metrics) == ["macro_f1"]
    assert list(evaluation.contestants[1].metrics) == ["macro_f1"]


@pytest.mark.parametrize(
    ("gold", "training", "named", "says"),
    [
        ([], ["a"], "t", "no test rows"),
        (["a"], [], "t", "no row was kept"),
        (["a"], ["a"], BASE, "must not be called"),
    ],
)
def test_nothing_to_compare(gold: list[str], training: list[str], named: str, says: str) -> None:
    one = Answers(role="teacher", given=gold)
    with pytest.raises(UserError, match=says):
        compare(gold, {named: one}, training_labels=training)


def test_answers_must_be_as_many_as_rows() -> None:
    with pytest.raises(ValueError, match="t has 1 answers to 100 rows"):
        evaluated(t=Answers(role="teacher", given=["a"]))
