"""The evaluation stage: base, teachers and student answer the same held-out rows.

Teachers are asked through the very step that made the dataset, with its prompt, parser, ledger and
budget, but without gold. A row that the step loses is a wrong answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from synthkd.account import Account
from synthkd.config import EvaluateConfig, LimitsConfig
from synthkd.engines.local import row_stage
from synthkd.errors import UserError
from synthkd.evaluate.compare import Answers, Role, compare
from synthkd.flow import pour
from synthkd.io.rows_file import read_rows
from synthkd.io.sources import Source
from synthkd.manifest import Evaluation
from synthkd.plan import BoundRowStep, Plan, gold_field
from synthkd.rows import Fields, Json, Row
from synthkd.steps import Desk
from synthkd.students.linear import LinearStudent
from synthkd.survey import rows_of, without_gold
from synthkd.teachers.open import Gateway

ANYTHING_GOES = LimitsConfig(max_failed=1, max_rejected=1)
"""A lost held-out row is a wrong answer, never a reason to stop."""


@dataclass(slots=True, kw_only=True)
class _Exam:
    """The held-out rows in the source's order, and what everybody said to them."""

    ids: list[str] = field(default_factory=list)
    gold: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """What the student sees."""
    said: dict[str, dict[str, str]] = field(default_factory=dict)
    """Contestant -> row id -> answer."""
    roles: dict[str, Role] = field(default_factory=dict)

    def write(self, name: str, role: Role, row_id: str, answer: Json) -> None:
        """Note an answer; one that is no text is none."""
        self.roles[name] = role
        self.said.setdefault(name, {})
        if isinstance(answer, str):
            self.said[name][row_id] = answer

    def given(self, name: str) -> list[str | None]:
        """A contestant's answers in order; None where there is none."""
        return [self.said[name].get(row_id) for row_id in self.ids]


async def evaluate(
    plan: Plan,
    source: Source,
    gateway: Gateway,
    desk_of: Callable[[BoundRowStep], Desk],
    student: LinearStudent | None,
    rows_file: Path,
    work: Path,
) -> Evaluation:
    """Ask everybody, and compare.

    Raises:
        UserError: a held-out row has no gold answer, or there are no held-out rows.
        RunStopped: the budget does not reach for the teachers' answers.
    """
    config = plan.config.evaluate
    assert config is not None  # noqa: S101  the caller asks only where there is an evaluation
    exam = await _sit(plan, config, source)
    worth_before = _worth(gateway)
    if config.ask is not None:
        await _ask_teachers(plan, config, source, desk_of, exam, work / "exam.scratch")
    answers = {
        name: Answers(
            role=exam.roles[name],
            given=exam.given(name),
            simulated=_is_simulated(plan, config, name),
            ms_per_row=_ms_per_row(name, gateway),
            usd_per_1000=_usd_per_1000(name, gateway, worth_before, len(exam.ids)),
        )
        for name in exam.said
    }
    if student is not None:
        started = time.perf_counter()
        predictions = await asyncio.to_thread(student.predict, exam.texts)
        answers["student"] = Answers(
            role="student",
            given=predictions,
            simulated=any(t.simulated is not None for t in plan.config.teachers.values()),
            ms_per_row=1000 * (time.perf_counter() - started) / max(1, len(exam.texts)),
            usd_per_1000=0.0,
        )
    return await asyncio.to_thread(
        compare,
        exam.gold,
        answers,
        training_labels=_training_labels(plan, rows_file),
        on=config.on,
        metrics=config.metrics,
        resamples=config.bootstrap,
        seed=plan.config.seed,
    )


async def _sit(plan: Plan, config: EvaluateConfig, source: Source) -> _Exam:
    gold = gold_field(plan) or ""
    text = None if plan.config.student is None else plan.config.student.text
    exam = _Exam()
    async for rows in rows_of(source, config.on):
        for row in rows:
            exam.ids.append(row.id)
            exam.gold.append(_text(row, gold, "evaluate.gold"))
            if text is not None:
                exam.texts.append(_text(row, text, "student.text"))
    return exam


def _text(row: Row, name: str, setting: str) -> str:
    value = row.fields.get(name)
    if not isinstance(value, str):
        raise UserError(
            f"{setting}: held-out row {row.order[0] + 1} (counted from 1) has no text in"
            f" {name!r}, got {value!r:.80}; leave such rows out with `source.where`"
        )
    return value


async def _ask_teachers(
    plan: Plan,
    config: EvaluateConfig,
    source: Source,
    desk_of: Callable[[BoundRowStep], Desk],
    exam: _Exam,
    scratch: Path,
) -> None:
    bound = asked_step(plan, config)
    answer = answer_field(plan, config)
    gold = gold_field(plan)
    account = Account(scratch, [bound.label], ANYTHING_GOES)
    whole = " + ".join(bound.teachers)

    async def note(row: Row) -> None:
        singles = _single_answers(row.fields)
        for teacher, label in singles.items():
            exam.write(teacher, "teacher", row.id, label)
        if len(singles) != 1 or _has_several(row.fields):
            name = whole if not singles else f"{bound.label}: vote"
            role: Role = "teacher" if len(bound.teachers) == 1 and not singles else "panel"
            exam.write(name, role, row.id, row.fields.get(answer))

    rows = rows_of(source, config.on)
    seen = ([without_gold(row, gold) for row in batch] async for batch in rows)
    try:
        await pour(seen, [row_stage(bound, desk_of(bound), account)], note)
    finally:
        await rows.aclose()
        account.close()


def asked_step(plan: Plan, config: EvaluateConfig) -> BoundRowStep:
    """The step named by `evaluate.ask`, without its check against gold."""
    bound = plan.step(config.ask or "")
    assert isinstance(bound, BoundRowStep)  # noqa: S101  checked when the plan was compiled
    if getattr(bound.config, "gold", None) is None:
        return bound
    return replace(bound, config=bound.config.model_copy(update={"gold": None}))


def answer_field(plan: Plan, config: EvaluateConfig) -> str:
    """The field with the answer of the asked step."""
    gives = asked_step(plan, config).gives
    student = plan.config.student
    return student.label if student is not None and student.label in gives else gives[0]


def _single_answers(fields: Fields) -> dict[str, Json]:
    """Teacher -> its first sample's label, where the step keeps `answers`."""
    singles: dict[str, Json] = {}
    answers = fields.get("answers")
    if isinstance(answers, list):
        for one in answers:
            if isinstance(one, Mapping) and one.get("sample") == 0:
                singles[str(one.get("teacher"))] = one.get("label")
    return singles


def _has_several(fields: Fields) -> bool:
    answers = fields.get("answers")
    return isinstance(answers, list) and len(answers) > 1


def _training_labels(plan: Plan, rows_file: Path) -> list[str]:
    config = plan.config
    if config.student is not None:
        name = config.student.label
    elif config.evaluate is not None and config.evaluate.ask is not None:
        name = answer_field(plan, config.evaluate)
    else:
        name = gold_field(plan) or ""
    labels = (row.fields.get(name) for row in read_rows(rows_file))
    return [label for label in labels if isinstance(label, str)]


def _is_simulated(plan: Plan, config: EvaluateConfig, name: str) -> bool:
    """Whether a contestant is a simulated teacher, or a panel with one."""
    teachers = plan.config.teachers
    asked = [name] if name in teachers else asked_step(plan, config).teachers
    return any(teachers[teacher].simulated is not None for teacher in asked)


def _worth(gateway: Gateway) -> dict[str, int | None]:
    """What each teacher's answers so far would cost, in nano-dollars."""
    return {
        n: teacher.stats.worth_nano_usd(teacher.price) for n, teacher in gateway.teachers.items()
    }


def _ms_per_row(name: str, gateway: Gateway) -> float | None:
    teacher = gateway.teachers.get(name)
    latency_s = None if teacher is None else teacher.stats.counts().latency_s
    return None if latency_s is None else 1000 * latency_s


def _usd_per_1000(
    name: str, gateway: Gateway, before: Mapping[str, int | None], rows: int
) -> float | None:
    """What the answers to 1,000 such rows cost, bought or from the ledger; None = no price."""
    then, now = before.get(name), _worth(gateway).get(name)
    return None if then is None or now is None else 1000 * (now - then) / 1e9 / max(1, rows)
