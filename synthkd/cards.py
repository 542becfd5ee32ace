"""The card of a dataset: README.md beside the data, for people and for `datasets.load_dataset`.

It holds no date, no hits and no seconds: a run that is repeated writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthkd.manifest import Counts, StepCounts
from synthkd.plan import Plan
from synthkd.teachers.students import taught_by

# `load_dataset` must not guess between the two files of the same rows.
HEADER = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train.parquet
---
"""


def dataset_card(
    plan: Plan, counts: Counts, funnel: Mapping[str, StepCounts], dataset: Mapping[str, Any]
) -> str:
    """The README.md of dataset/."""
    config = plan.config
    lines = [
        f"# {config.name}",
        "",
        f"{dataset['rows']} rows, made by synthkd from `{config.source.path}`.",
        "",
        "## Who answered",
        "",
        *[f"- {line}" for line in _teachers(plan)],
        "",
        "## What became of the source",
        "",
        "| read | kept | rejected | failed | held out |",
        "|---|---|---|---|---|",
        _line(counts.read, counts.kept, counts.rejected, counts.failed, _pairs(counts.held_out)),
        "",
        "| step | in | out | lost, by reason |",
        "|---|---|---|---|",
        *[
            _line(step, line.entered, line.out, _pairs(line.reasons))
            for step, line in funnel.items()
        ],
        "",
        "## Columns",
        "",
        ", ".join(f"`{column}`" for column in dataset["columns"]),
        "",
        "`id` leads to the row in `rows/`: its source rows, and the ledger keys of every answer.",
        "",
        "## Prompts",
        "",
        *[f"- `{name}` (SHA-256 {prompt.sha256})" for name, prompt in sorted(plan.prompts.items())],
        "",
    ]
    return HEADER + "\n".join(lines)


def teacher_in_words(plan: Plan, name: str) -> str:
    """Who a teacher is, for cards; a simulated one is called simulated."""
    teacher = plan.config.teachers[name]
    if teacher.simulated is not None:
        return (
            f"{name}: SIMULATED, world `{teacher.simulated.world}`; such answers show that the"
            " pipeline works, not that a method does"
        )
    if teacher.recorded is not None:
        file = teacher.recorded.parquet or teacher.recorded.jsonl
        return f"{name}: recorded answers, column `{teacher.recorded.text}` of `{file}`"
    if teacher.student is not None:
        by = taught_by(teacher.student, plan.folder)
        taught = f", taught by: {by}" if by else ""
        first = f"the model in `{teacher.student.folder}`{taught}"
        if teacher.student.round is None:
            return f"{name}: {first}"
        begun = f"; in round 0 {first}" if teacher.student.folder is not None else ""
        return f"{name}: the student that the round before has trained{begun}"
    return f"{name}: `{teacher.model}`" + (f" as {teacher.served_by}" if teacher.served_by else "")


def _teachers(plan: Plan) -> list[str]:
    asked = dict.fromkeys(name for bound in plan.steps for name in bound.teachers)
    return [teacher_in_words(plan, name) for name in asked] or ["nobody: no step asks a teacher"]


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "0"
