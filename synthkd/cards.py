"""The card of a dataset: README.md beside the data, for people and for `datasets.load_dataset`.

It holds no date, no hits and no seconds: a run that is repeated writes the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from synthkd.manifest import Counts, StepCounts
from synthkd.plan import Plan
from synthkd.rows import Row
from synthkd.steps import StepSettings
from synthkd.students.curriculum import ORDER, STAGE, WEIGHT
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


class Planned:
    """What the rows say about when, and how much, each is learnt.

    Args:
        plan: of the run. A column such as `weight` is a plan of learning where a step of it writes
            that, or its student obeys it; else it is a field like any other.
    """

    def __init__(self, plan: Plan) -> None:
        given = {name for bound in plan.steps for name in bound.gives}
        obeyed = getattr(plan.config.student, "curriculum", False)
        self._plan = plan
        self._columns = {name for name in (STAGE, ORDER, WEIGHT) if obeyed or name in given}
        self._stages: Counter[int] = Counter()
        self._ordered = 0
        self._weights: tuple[float, float] | None = None

    def see(self, row: Row) -> None:
        """Take a final row into account."""
        stage, order, weight = (
            row.fields.get(name) if name in self._columns else None
            for name in (STAGE, ORDER, WEIGHT)
        )
        if isinstance(stage, int):
            self._stages[stage] += 1
        self._ordered += isinstance(order, int)
        if isinstance(weight, int | float):
            least, most = self._weights or (weight, weight)
            self._weights = min(least, weight), max(most, weight)

    def lines(self) -> list[str]:
        """The section of the card; none where nothing is planned."""
        steps = [bound for bound in self._plan.steps if bound.step.name.startswith("curriculum.")]
        if not (steps or self._stages or self._ordered or self._weights):
            return []
        told = [f"- `{bound.label}`: `{_settings(bound.config)}`" for bound in steps]
        if self._stages:
            told.append(f"- `{STAGE}`: learnt one after the other, in each epoch")
        told += [f"  - {stage}: {rows} rows" for stage, rows in sorted(self._stages.items())]
        if self._ordered:
            told.append(f"- `{ORDER}`: {self._ordered} rows have a place in their stage")
        if self._weights:
            least, most = self._weights
            told.append(f"- `{WEIGHT}`: the loss of a row counts {least:.4g} to {most:.4g}")
        where = "These columns stand in `rows/`, and in the dataset where `export.keep` names them."
        return ["## Curriculum", "", *told, "", *[where, ""] * (len(told) > len(steps))]


def dataset_card(
    plan: Plan,
    counts: Counts,
    funnel: Mapping[str, StepCounts],
    dataset: Mapping[str, Any],
    planned: Planned,
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
        *planned.lines(),
        "## Prompts",
        "",
        *[f"- `{name}` (SHA-256 {prompt.sha256})" for name, prompt in sorted(plan.prompts.items())],
        "",
    ]
    return HEADER + "\n".join(lines)


def _settings(config: StepSettings) -> str:
    """What differs from the defaults, as JSON."""
    return orjson.dumps(config.model_dump(mode="json", exclude_defaults=True)).decode()


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
