"""`targets`: rows as what a student learns to write, for a trainer that is not ours; and `weigh`.

target          prompt              completion                         task
completion      question            answer                             predict
rationale_first question            rationale, a new line, cue, answer predict
two_task        predict: question   answer                             predict
                explain: question   rationale                          explain

Our own students do this themselves (`student.target`), and weigh two tasks by their tokens besides.
For the others, `export: {format: prompt-completion, prompt: prompt, completion: completion, keep:
[task, weight]}` writes what TRL and Transformers read.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthkd.config import Share
from synthkd.config.student import CUE
from synthkd.curate.fields import text_of, value_of
from synthkd.errors import Rejected
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.students.targets import taught


class TargetsSettings(StepSettings):
    """Settings of `targets`."""

    target: Literal["completion", "rationale_first", "two_task"] = "two_task"
    """What is learnt: the answer; rationale and answer in one sequence; or each as a task of its
    own (Distilling Step-by-Step, arXiv 2305.02301), which makes two rows of one."""
    question: str = "question"
    """The field that the student sees."""
    answer: str = "answer"
    """The field that it learns to answer."""
    rationale: str = "rationale"
    """The field with the reasoning."""
    cue: str = CUE
    """Of `rationale_first`: between rationale and answer."""
    alpha: Share = 0.5
    """Of `two_task`: weight of the label task; the rationale task has the rest. A task of weight 0
    makes no rows."""
    weight: str | None = None
    """A field with a number above 0, such as `agreement` or `confidence`: how much a row counts."""

    @model_validator(mode="after")
    def _alpha_of_two(self) -> TargetsSettings:
        if self.alpha != 0.5 and self.target != "two_task":
            raise ValueError("alpha is of target two_task: it weighs two tasks")
        return self

    @property
    def rows_a_row(self) -> int:
        """Rows that come of one, at most; for the forecast."""
        return 2 if self.target == "two_task" else 1

    @property
    def weighs(self) -> bool:
        """Whether rows get a `weight`."""
        return self.weight is not None or self.alpha != 0.5


def _needs(config: TargetsSettings) -> Iterable[str]:
    yield from (config.question, config.answer)
    if config.target != "completion":
        yield config.rationale
    if config.weight is not None:
        yield config.weight


@step(
    "targets",
    needs=_needs,
    gives=lambda config: ["prompt", "completion", "task", *(["weight"] * config.weighs)],
    fans_out=True,
)
async def targets(row: Row, kit: Kit, config: TargetsSettings, /) -> AsyncIterator[Row]:
    """Write each row as what is learnt from it: `prompt`, `completion`, `task` and `weight`.

    `weight` (the field of that name, times the task's share) is given where either is set, and
    obeyed by the students that know it. Rejects `no_weight`, `no_rationale`.
    """
    prompt, completion = text_of(row, config.question), text_of(row, config.answer)
    rationale = None if config.target == "completion" else text_of(row, config.rationale)
    if rationale is not None and not rationale.strip():
        raise Rejected("no_rationale", f"{config.rationale} is empty")
    weight = 1.0 if config.weight is None else weight_of(row, config.weight)
    for exchange in taught(config.target, prompt, completion, rationale, config.cue):
        share = 1.0
        if config.target == "two_task":
            share = 1 - config.alpha if exchange.explains else config.alpha
        if not share:
            continue
        made = row.with_fields(
            prompt=exchange.prompt,
            completion=exchange.completion,
            task="explain" if exchange.explains else "predict",
        )
        yield made.with_fields(weight=weight * share) if config.weighs else made


class WeighSettings(StepSettings):
    """Settings of `weigh`."""

    by: str = "agreement"
    """The field with a number above 0, such as `agreement` or `confidence`."""
    power: Annotated[float, Field(gt=0, le=10)] = 1.0
    """The weight is the number to this power: 2 makes surer rows count more, 0.5 less so."""


@step("weigh", needs=lambda config: [config.by], gives=["weight"])
async def weigh(row: Row, kit: Kit, config: WeighSettings, /) -> AsyncIterator[Row]:
    """Have surer rows count more: `weight` is a number of the row, and students obey it.

    Rejects `no_weight`.
    """
    number = weight_of(row, config.by)
    try:
        weight = number**config.power
    except OverflowError:
        weight = math.inf
    if not 0 < weight < math.inf:
        raise Rejected("no_weight", f"{config.by} is {number:g}, to the power {config.power:g}")
    yield row.with_fields(weight=weight)


def weight_of(row: Row, field: str) -> float:
    """How much the row counts.

    Raises:
        MissingField: the row has no such field.
        Rejected: `no_weight`: it is no number above 0.
    """
    value = value_of(row, field)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise Rejected("no_weight", f"{field} must be a number above 0, got {value!r:.80}")
    return float(value)
