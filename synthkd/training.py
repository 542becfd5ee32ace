"""The training stage of a run: its final rows go to a student of `synthkd.students`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthkd.cards import teacher_in_words
from synthkd.errors import NothingToLearn
from synthkd.io.rows_file import read_rows
from synthkd.plan import Plan
from synthkd.rows import Json
from synthkd.students.linear import LinearStudent, train_linear


def train(plan: Plan, rows_file: Path, folder: Path) -> LinearStudent:
    """Train the student that the plan asks for on the rows, into the folder.

    Raises:
        NothingToLearn: the rows cannot teach it.
    """
    config = plan.config.student
    assert config is not None  # noqa: S101  the caller asks only where there is a student
    texts: list[str] = []
    labels: list[str] = []
    for row in read_rows(rows_file):
        texts.append(_text(row.id, row.fields.get(config.text), config.text))
        labels.append(_text(row.id, row.fields.get(config.label), config.label))
    asked = dict.fromkeys(name for bound in plan.steps for name in bound.teachers)
    made_from = {
        "pipeline": plan.config.name,
        "source": plan.config.source.path,
        "teachers": "; ".join(teacher_in_words(plan, name) for name in asked) or "none",
    }
    return train_linear(texts, labels, config, folder, made_from)


def student_in_words(student: LinearStudent) -> Mapping[str, Any]:
    """What the manifest says about the student."""
    return {
        "kind": "linear",
        "fingerprint": student.fingerprint,
        "labels": len(student.labels),
        "rows": student.about["rows"],
    }


def _text(row_id: str, value: Json, field: str) -> str:
    if not isinstance(value, str):
        raise NothingToLearn(
            f"student: row {row_id} has no text in {field!r}, got {value!r:.80}: a student learns"
            " from text; choose another field, or reject such rows by a step"
        )
    return value
