"""The evaluation stage of a run: who is asked what on held-out rows; `synthkd.evaluate` scores it.

Teachers are asked through the very step that made the dataset, with its prompt, parser, ledger and
budget, but without gold. A reply that the step rejects is a wrong answer. Asking that fails is no
answer at all: the row is left out for everybody, and `limits.max_failed` says for how many rows
that may be so.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synthkd.account import Account
from synthkd.config import EvaluateConfig, LimitsConfig
from synthkd.desk import Desk
from synthkd.engines.local import row_stage
from synthkd.errors import NothingToLearn, TeacherError, TooManyLost
from synthkd.evaluate.compare import Answers, Compared, compare
from synthkd.evaluate.predictions import write_predictions
from synthkd.evaluate.wording import over_wordings
from synthkd.exam import Exam, cost_nano_usd, median_ms, usd_per_1000
from synthkd.flow import Stage, in_thread, pour
from synthkd.forgetting import check_forgetting, forgotten
from synthkd.io.rows_file import read_rows
from synthkd.io.sources import Source
from synthkd.manifest import Evaluation, StepCounts, Wordings
from synthkd.paraphrases import (
    OWN,
    check_paraphrases,
    wordings_of_step,
    wordings_of_texts,
)
from synthkd.plan import BoundRowStep, Plan, asked_step, gold_field
from synthkd.records.loading import schema_or_none
from synthkd.rows import Json, Row
from synthkd.students import kinds
from synthkd.students.artefact import Student, confidences
from synthkd.students.hosted.student import HostedStudent, answer_in
from synthkd.survey import rows_of
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.open import Gateway
from synthkd.teachers.request import Completion
from synthkd.teachers.students import is_taught_by_simulated
from synthkd.training import Sibling


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A held-out row, as far as the comparison needs it."""

    id: str
    gold: Json
    text: str
    """What the student sees; empty without a student."""


def check_evaluation(plan: Plan) -> None:
    """Check the files that `evaluate` names, and what it needs installed, before anything is spent.

    Raises:
        ConfigError: a wording that cannot be used.
        UserError: general questions that cannot be read, or the harness is not installed.
    """
    check_paraphrases(plan)
    check_forgetting(plan)


async def evaluate(
    plan: Plan,
    source: Source,
    desk_of: Callable[[BoundRowStep], Desk],
    student: Student | None,
    *,
    gateway: Gateway,
    rows_file: Path | None,
    siblings: Sequence[Sibling],
    contamination: str,
    work: Path,
    predictions: Path,
    wait_for: Callable[[int], Awaitable[None]],
) -> Evaluation:
    """Ask everybody, and compare.

    Args:
        plan: with an `evaluate` block.
        source: surveyed, so that every held-out row is known to have gold and text.
        desk_of: what the calls of a step share.
        student: None = there is none.
        gateway: asks a student that a provider has, within ledger and budget.
        rows_file: what the student was trained on; None = it is not here.
        siblings: students of other seeds; figures are of all.
        contamination: what is known of held-out rows among those that the student learnt from.
        work: a folder for scratch files.
        predictions: the file for every answer to every row.
        wait_for: ends the run if so many rows wait for a batch; none is no reason.

    Raises:
        UserError: there are no held-out rows.
        NothingToLearn: no row was kept; nobody is asked.
        RunStopped: the budget does not reach for the teachers' answers, or asking failed on more
            rows than `limits.max_failed` allows.
    """
    config = plan.config.evaluate
    assert config is not None  # noqa: S101  the caller asks only where there is an evaluation
    labels = None
    if rows_file is not None:
        labels = await in_thread(lambda: _training_labels(plan, rows_file))
    if labels is not None and not labels:
        raise NothingToLearn(
            "evaluation: no row was kept, so nobody knows the most frequent label, with which all"
            " are compared: `synthkd show` says where the rows were lost"
        )
    held_out = await _held_out(plan, source, config)
    rows, funnel, exam = held_out, StepCounts(), None
    if config.ask is not None:
        bound = asked_step(plan, config.ask)
        recorded = {n for n, t in plan.config.teachers.items() if t.recorded is not None}
        exam = Exam(bound, desk_of(bound), _answer_field(plan, bound), recorded)
        funnel = await _sit(plan, config, exam, source, work / "exam.scratch")
        await wait_for(funnel.waiting)
        rows = [row for row in held_out if row.id in exam.settled]
        if held_out and not rows:
            raise TooManyLost(
                f"evaluation: on none of the {len(held_out)} {config.on} rows did asking succeed:"
                f" {dict(funnel.reasons)}. What was paid for is kept: run again to ask again"
            )
    of_student: Answers | None = None
    if isinstance(student, HostedStudent):
        rows, of_student = await _ask_student(plan, student, gateway, rows)
    elif student is not None:
        of_student = await in_thread(lambda: _answers_of_student(student, siblings, rows))
    answers = {} if exam is None else exam.answers([row.id for row in rows])
    if of_student is not None:
        answers["student"] = of_student

    def write(compared: Compared) -> None:
        write_predictions(
            predictions,
            [row.id for row in rows],
            [row.gold for row in rows],
            compared,
            tolerance=config.tolerance,
            answer=config.answer,
            record=schema_or_none(config.record),
            contamination=contamination,
        )

    evaluation = await in_thread(
        lambda: compare(
            [row.gold for row in rows],
            answers,
            training_labels=labels,
            known_labels=getattr(student, "labels", None),
            on=config.on,
            metrics=config.metrics,
            tolerance=config.tolerance,
            answer=config.answer,
            record=schema_or_none(config.record),
            resamples=config.bootstrap,
            seed=plan.config.seed,
            also=write,
        )
    )
    said = {name: {OWN: one.given} for name, one in answers.items()}
    wordings = await _in_other_words(
        plan, config, source, desk_of, student, rows, said, work, wait_for
    )
    forgetting = None
    if config.forgetting is not None and student is not None:
        forgetting = await in_thread(lambda: forgotten(plan.config, student, base=plan.folder))
    return evaluation.model_copy(
        update={
            "forgetting": forgetting,
            "wordings": wordings,
            "left_out": len(held_out) - len(rows),
            "funnel": funnel,
            "contamination": contamination,
            "predictions": predictions.name,
        }
    )


async def _in_other_words(
    plan: Plan,
    config: EvaluateConfig,
    source: Source,
    desk_of: Callable[[BoundRowStep], Desk],
    student: Student | None,
    rows: Sequence[HeldOut],
    said: dict[str, dict[str, Sequence[Json]]],
    work: Path,
    wait_for: Callable[[int], Awaitable[None]],
) -> list[Wordings]:
    """Ask teachers and student again in each other wording; figures over all wordings."""
    asked = {row.id for row in rows}
    for name, bound in wordings_of_step(plan):
        exam = Exam(bound, desk_of(bound), _answer_field(plan, bound))
        funnel = await _sit(plan, config, exam, source, work / "exam.scratch")
        await wait_for(funnel.waiting)
        asked &= exam.settled
        for who, one in exam.answers([row.id for row in rows]).items():
            said[who][name] = one.given
    if student is not None:
        for name, texts in wordings_of_texts(plan, [row.text for row in rows]):
            said["student"][name] = await in_thread(partial(student.predict, texts))
    kept = [place for place, row in enumerate(rows) if row.id in asked]
    return await in_thread(
        lambda: [
            over_wordings(
                who,
                [rows[place].gold for place in kept],
                {name: [given[place] for place in kept] for name, given in by_wording.items()},
                evaluate=config,
                seed=plan.config.seed,
            )
            for who, by_wording in said.items()
            if len(by_wording) > 1 and kept
        ]
    )


async def _held_out(plan: Plan, source: Source, config: EvaluateConfig) -> list[HeldOut]:
    """The held-out rows in the source's order."""
    gold = gold_field(plan) or ""
    text = "" if plan.config.student is None else plan.config.student.asked_with[1]
    return [
        HeldOut(
            id=row.id,
            gold=row.fields[gold],
            text=str(row.fields[text]) if text else "",
        )
        async for rows in rows_of(source, config.on)
        for row in rows
    ]


def _answers_of_student(
    student: Student, siblings: Sequence[Sibling], rows: Sequence[HeldOut]
) -> Answers:
    texts = [row.text for row in rows]
    started = time.perf_counter()
    predictions = student.predict(texts)
    took_s = time.perf_counter() - started
    return Answers(
        role="student",
        given=predictions,
        # One at a time in memory.
        other_seeds=[kinds.load(one.folder).predict(texts) for one in siblings],
        seeds=[student.about["config"]["seed"], *(one.seed for one in siblings)],
        confidences=confidences(student, texts),
        simulated=is_taught_by_simulated(student.about),
        ms_per_row=1000 * took_s / max(1, len(rows)),
        usd_per_1000=0.0,
    )


async def _ask_student(
    plan: Plan, student: HostedStudent, gateway: Gateway, rows: Sequence[HeldOut]
) -> tuple[list[HeldOut], Answers]:
    """The rows on which asking the student succeeded, and what it answered.

    It is asked out of the run's ledger and budget, as a teacher is.

    Raises:
        UserError: `budget.usd` is set, and what asking it costs is unknown.
        TooManyLost: asking failed on more rows than `limits.max_failed` allows.
    """
    config = student.asked_as
    check_teachers({"student": config}, base=plan.folder, budget=plan.config.budget, offline=True)
    teacher = gateway.open_more("student", config)
    replies: dict[str, Completion] = {}
    failures: list[TeacherError] = []

    async def seen() -> AsyncGenerator[list[HeldOut], None]:
        yield list(rows)

    async def ask(row: HeldOut, _: object) -> None:
        try:
            replies[row.id] = await teacher.complete(student.request(row.text))
        except TeacherError as failure:
            failures.append(failure)

    async def nothing(_: HeldOut) -> None:
        """Nothing is handed on."""

    await pour(seen(), [Stage(work=ask, in_flight=teacher.concurrency)], nothing)
    if len(failures) > plan.config.limits.max_failed * len(rows):
        raise TooManyLost(
            f"evaluation: asking the student failed on {len(failures)} of {len(rows)} rows, more"
            f" than limits.max_failed allows; the first: {failures[0]}. What was paid for is kept:"
            " run again to ask again"
        )
    answered = [row for row in rows if row.id in replies]
    bought = sum(not reply.hit for reply in replies.values())
    costs = [cost_nano_usd(teacher, reply) for reply in replies.values()]
    answers = Answers(
        role="student",
        given=[answer_in(replies[row.id]) for row in answered],
        simulated=is_taught_by_simulated(student.about),
        ms_per_row=median_ms(teacher, bought),
        usd_per_1000=usd_per_1000(costs, len(answered)),
    )
    return answered, answers


async def _sit(
    plan: Plan, config: EvaluateConfig, exam: Exam, source: Source, scratch: Path
) -> StepCounts:
    """Ask about every held-out row, with books of its own.

    Raises:
        TooManyLost: asking failed on more rows than `limits.max_failed` allows.
    """
    bound = exam.step
    limits = LimitsConfig(max_failed=plan.config.limits.max_failed, max_rejected=1)
    account = Account(scratch, [bound.label], limits)
    gold = gold_field(plan)
    rows = rows_of(source, config.on)

    async def seen() -> AsyncGenerator[list[Row], None]:
        async for batch in rows:
            account.enter([(row.order[0], row.id, "train") for row in batch])
            yield [_without(row, gold) for row in batch]

    async def keep(row: Row) -> None:
        account.keep(row)

    account.start_segment([bound.label])
    try:
        await pour(seen(), [row_stage(bound, exam.desk, account)], keep)
        account.reconcile()
    except TooManyLost as lost:
        raise TooManyLost(f"evaluation, asking about the {config.on} rows: {lost}") from None
    finally:
        await rows.aclose()
        account.close()
    return account.funnel[bound.label].counts()


def _without(row: Row, gold: str | None) -> Row:
    """A held-out row as a step may see it: without the answer."""
    return row._replace(fields={k: v for k, v in row.fields.items() if k != gold})


# --- which fields


def _answer_field(plan: Plan, bound: BoundRowStep) -> str:
    """The field with the step's answer: what the student learns, `into`, or its usual name."""
    student = plan.config.student
    usual = (
        student.answer_field if student else None,
        getattr(bound.config, "into", None),
        "answer",
    )
    return next((name for name in usual if name in bound.gives), bound.gives[0])


def _training_labels(plan: Plan, rows_file: Path) -> list[Json]:
    config = plan.config
    if config.student is not None and config.student.answer_field is not None:
        name = config.student.answer_field
    elif config.evaluate is not None and config.evaluate.ask is not None:
        name = _answer_field(plan, asked_step(plan, config.evaluate.ask))
    else:
        name = gold_field(plan) or ""
    labels = (row.fields.get(name) for row in read_rows(rows_file))
    return [label for label in labels if label is not None]
