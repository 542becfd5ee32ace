from __future__ import annotations

import pytest

from synthkd.errors import UserError
from synthkd.evaluate.compare import BASE, Answers, compare
from synthkd.manifest import Evaluation
from synthkd.rows import Json

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
    assert (lead.only_student, lead.only_other) == (25, 0)
    assert lead.p is not None
    assert lead.p < 0.001
    assert student.versus_student == {}
    all_right = student.metrics["accuracy"]
    assert (all_right.value, all_right.high) == (1, 1)
    assert 0.95 < all_right.low < 0.97  # a hundred of a hundred are no proof of perfection


def test_equal_answers_differ_by_nothing_as_far_as_so_many_rows_can_tell() -> None:
    twin = Answers(role="teacher", given=GOLD)
    leads = evaluated(student=STUDENT, twin=twin).contestants[1].versus_student
    assert leads["accuracy"].p == 1
    for lead in leads.values():
        assert lead.value == 0
        assert -0.1 < lead.low < 0 < lead.high < 0.1


def test_several_seeds_of_a_student_are_pooled() -> None:
    half = ["a", "b", "a", "x"] * 25
    student = Answers(role="student", given=GOLD, other_seeds=[half, GOLD])
    teacher, found = evaluated(student=student, teacher=TEACHER).contestants[1:]
    assert found.seeds == 3
    assert found.metrics["accuracy"].value == pytest.approx((1 + 0.75 + 1) / 3)
    lead = teacher.versus_student["accuracy"]
    assert lead.value == pytest.approx((0.25 + 0 + 0.25) / 3)
    assert (lead.p, lead.only_student) == (None, None)
    assert lead.low < 0  # three seeds that far apart leave it open


def test_spans_and_texts_are_compared_too_and_base_says_what_is_most_frequent() -> None:
    spans: list[Json] = [[], [{"start": 0, "end": 2, "label": "x"}], []] * 2
    said = Answers(role="student", given=["[]", '[{"start":0,"end":2,"label":"x"}]', None] * 2)
    evaluation = compare(
        spans,
        {"student": said},
        training_labels=[[], [], spans[1]],
        metrics=["span_f1", "exact_match"],
        resamples=20,
    )
    base, student = evaluation.contestants
    assert base.metrics["span_f1"].value == 0
    assert base.metrics["exact_match"].value == pytest.approx(2 / 3)
    assert student.metrics["span_f1"].value == 1
    assert (student.answered, evaluation.labels, evaluation.unseen) == (4, 2, None)


# --- what to bear in mind


def test_few_rows_and_rare_labels_are_noted() -> None:
    few = compare(["a"] * 6 + ["b"] * 4, {}, training_labels=["a"], resamples=5)
    assert [note.split(":")[0] for note in few.notes] == [
        "few rows",
        "1 of 2 labels have fewer than 5 rows",
    ]
    assert "10 cannot tell apart" in few.notes[0]
    assert evaluated(teacher=TEACHER).notes == []


def test_one_label_is_noted() -> None:
    notes = compare(["a"] * 200, {}, training_labels=["a"], resamples=5).notes
    assert [note.split(":")[0] for note in notes] == ["one label"]


def test_labels_that_nobody_could_learn_are_listed() -> None:
    gold = ["a", "b", "b", "c", "A."]
    found = compare(gold, {}, training_labels=["a"], resamples=5).unseen
    assert found is not None
    assert (found.labels, found.rows, found.examples) == (2, 3, ["b", "c"])
    assert evaluated(teacher=TEACHER).unseen is None


def test_confidences_are_judged_by_the_first_metric_of_right_and_wrong() -> None:
    sure = Answers(role="student", given=["a"] * 100, confidences=[0.5] * 100)
    found = evaluated(student=sure).contestants[-1].confidences
    assert found is not None
    assert (found.rows, found.ece, found.trust) == (100, 0.0, 0.5)
    assert evaluated(student=STUDENT).contestants[-1].confidences is None


def test_a_metric_that_does_not_fit_names_the_row() -> None:
    with pytest.raises(UserError, match=r"numeric_match needs a number .* test row 2 .* has 'b'"):
        compare(["1", "b"], {}, training_labels=["1"], metrics=["numeric_match"])


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
