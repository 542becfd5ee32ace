"""The evaluation stage of a run: who is asked what on held-out rows; `synthkd.evaluate` scores it.

Teachers are asked through the very step that made the dataset, with its prompt, parser, ledger and
budget, but without gold. A reply that the step rejects is a wrong answer. Asking that fails is no
answer at all: the row is left out for everybody, and `limits.max_failed` says for how many rows
that may be so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synthkd.account import Account
from synthkd.config import EvaluateConfig, LimitsConfig
from synthkd.desk import Desk
from synthkd.engines.local import row_stage
from synthkd.errors import NothingToLearn, Rejected, TeacherError, TooManyLost
from synthkd.evaluate.compare import Answers, Role, compare
from synthkd.flow import Stage, in_thread, pour
from synthkd.io.rows_file import read_rows
from synthkd.io.sources import Source
from synthkd.kit import Kit
from synthkd.leaks import leaks_told
from synthkd.manifest import Evaluation, StepCounts
from synthkd.plan import BoundRowStep, Plan, asked_step, gold_field
from synthkd.rows import Fields, Json, Row
from synthkd.students.artefact import Student, confidences
from synthkd.students.hosted.student import HostedStudent, answer_in
from synthkd.survey import rows_of
from synthkd.teachers.open import Gateway, OpenTeacher, check_teachers
from synthkd.teachers.prices import FREE, nano_usd
from synthkd.teachers.request import Completion, Request, Teacher
from synthkd.teachers.students import is_simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A held-out row, as far as the comparison needs it."""

    id: str
    gold: Json
    text: str
    """What the student sees; empty without a student."""


async def evaluate(
    plan: Plan,
    source: Source,
    desk_of: Callable[[BoundRowStep], Desk],
    student: Student | None,
    *,
    gateway: Gateway,
    rows_file: Path,
    work: Path,
    wait_for: Callable[[int], Awaitable[None]],
) -> Evaluation:
    """Ask everybody, and compare.

    Args:
        plan: with an `evaluate` block.
        source: surveyed, so that every held-out row is known to have gold and text.
        desk_of: what the calls of a step share.
        student: None = there is none.
        gateway: asks a student that a provider has, within ledger and budget.
        rows_file: what the student was trained on.
        work: a folder for scratch files.
        wait_for: ends the run if so many rows wait for a batch; none is no reason.

    Raises:
        UserError: there are no held-out rows.
        NothingToLearn: no row was kept; nobody is asked.
        RunStopped: the budget does not reach for the teachers' answers, or asking failed on more
            rows than `limits.max_failed` allows.
    """
    config = plan.config.evaluate
    assert config is not None  # noqa: S101  the caller asks only where there is an evaluation
    labels = await in_thread(lambda: _training_labels(plan, rows_file))
    if not labels:
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
        of_student = await in_thread(lambda: _answers_of_student(plan, student, rows))
    answers = {} if exam is None else exam.answers(rows)
    if of_student is not None:
        answers["student"] = of_student
    evaluation = await in_thread(
        lambda: compare(
            [row.gold for row in rows],
            answers,
            training_labels=labels,
            on=config.on,
            metrics=config.metrics,
            tolerance=config.tolerance,
            resamples=config.bootstrap,
            seed=plan.config.seed,
        )
    )
    left_out = len(held_out) - len(rows)
    found = None if student is None else leaks_told(student.about)
    return evaluation.model_copy(
        update={"left_out": left_out, "funnel": funnel, "contamination": found or "not checked"}
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


def _answers_of_student(plan: Plan, student: Student, rows: Sequence[HeldOut]) -> Answers:
    texts = [row.text for row in rows]
    started = time.perf_counter()
    predictions = student.predict(texts)
    took_s = time.perf_counter() - started
    return Answers(
        role="student",
        given=predictions,
        confidences=confidences(student, texts),
        simulated=any(is_simulated(t, plan.folder) for t in plan.config.teachers.values()),
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
    costs = [_nano_usd(teacher, reply) for reply in replies.values()]
    answers = Answers(
        role="student",
        given=[answer_in(replies[row.id]) for row in answered],
        simulated=any(is_simulated(t, plan.folder) for t in plan.config.teachers.values()),
        ms_per_row=_median_ms(teacher, bought),
        usd_per_1000=_usd_per_1000(costs, len(answered)),
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


# --- the exam


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """A contestant: whose answers are its."""

    role: Role
    teachers: tuple[str, ...]
    single: bool
    """Whether it is the first sample of one teacher, read from `answers`, and not the whole."""


@dataclass(slots=True, kw_only=True)
class _Heard:
    """What was heard while one row was asked about."""

    replies: list[tuple[str, int, Completion]] = field(default_factory=list)
    """Teacher, sample, reply."""
    error: TeacherError | None = None
    """The first one."""


class Exam:
    """The asked step as an exam: what each contestant said to each row, and what that costs.

    Args:
        bound: the asked step.
        desk: what its calls share.
        answer: the field with the step's answer.
        recorded: teachers whose answers come out of a file.
    """

    def __init__(
        self, bound: BoundRowStep, desk: Desk, answer: str, recorded: Collection[str] = ()
    ) -> None:
        self.step = replace(bound, step=replace(bound.step, run=self._examine))
        self.desk = desk
        self.settled: set[str] = set()
        """Rows on which nobody's asking failed."""
        self._bound = bound
        self._answer = answer
        self._recorded = recorded
        self._seats = _seats(bound)
        self._said: dict[str, dict[str, Json]] = {name: {} for name in self._seats}
        self._cost_nano_usd: dict[str, list[int | None]] = {name: [] for name in self._seats}
        self._bought = dict.fromkeys(bound.teachers, 0)

    async def _examine(self, row: Row, kit: Kit, config: Any, /) -> AsyncGenerator[Row, None]:
        """The step's own run, except that a row on which any teacher failed is a failed row."""
        heard = _Heard()
        kit.desk = replace(
            kit.desk,
            teachers={n: _listened_to(t, heard) for n, t in kit.desk.teachers.items()},
        )
        children: list[Row] = []
        rejected: Rejected | None = None
        try:
            async with aclosing(self._bound.step.run(row, kit, config)) as made:
                children = [child async for child in made]
        except Rejected as error:
            rejected = error
        for teacher, _, reply in heard.replies:
            self._bought[teacher] += not reply.hit
        if heard.error is not None:
            raise heard.error
        self._settle(row.id, children[0].fields if children else {}, heard)
        if rejected is not None:
            raise rejected
        for child in children:
            yield child

    def _settle(self, row_id: str, fields: Fields, heard: _Heard) -> None:
        self.settled.add(row_id)
        first = _first_samples(fields)
        for name, seat in self._seats.items():
            said = first.get(name) if seat.single else fields.get(self._answer)
            if said is not None:
                self._said[name][row_id] = said
            self._cost_nano_usd[name] += [
                _nano_usd(self.desk.teachers[teacher], reply)
                for teacher, sample, reply in heard.replies
                if teacher in seat.teachers and not (seat.single and sample)
            ]

    def answers(self, rows: Sequence[HeldOut]) -> dict[str, Answers]:
        """Every contestant, also one that never answered."""
        return {
            name: Answers(
                role=seat.role,
                given=[self._said[name].get(row.id) for row in rows],
                simulated=any(self.desk.teachers[t].simulated for t in seat.teachers),
                recorded=any(t in self._recorded for t in seat.teachers),
                ms_per_row=self._ms_per_row(seat),
                usd_per_1000=_usd_per_1000(self._cost_nano_usd[name], len(rows)),
            )
            for name, seat in self._seats.items()
        }

    def _ms_per_row(self, seat: _Seat) -> float | None:
        """The median of what this exam bought: those attempts are the last that were timed."""
        bought = [self._bought[teacher] for teacher in seat.teachers]
        if seat.role != "teacher":
            return None
        return _median_ms(self.desk.teachers[seat.teachers[0]], bought[0])


class _Listened:
    """A teacher's stack with somebody listening."""

    def __init__(self, inner: Teacher, name: str, heard: _Heard) -> None:
        self._inner = inner
        self._name = name
        self._heard = heard

    async def complete(self, request: Request) -> Completion:
        try:
            reply = await self._inner.complete(request)
        except TeacherError as error:
            self._heard.error = self._heard.error or error
            raise
        self._heard.replies.append((self._name, request.sample, reply))
        return reply


def _listened_to(teacher: OpenTeacher, heard: _Heard) -> OpenTeacher:
    return replace(teacher, stack=_Listened(teacher.stack, teacher.name, heard))


def _seats(bound: BoundRowStep) -> dict[str, _Seat]:
    """Whom the asked step makes a contestant: each teacher, where it keeps `answers`, and all."""
    teachers = bound.teachers
    whole = _Seat(
        role="teacher" if len(teachers) == 1 else "panel", teachers=teachers, single=False
    )
    if "answers" not in bound.gives:
        return {" + ".join(teachers): whole}
    seats = {name: _Seat(role="teacher", teachers=(name,), single=True) for name in teachers}
    if len(teachers) * getattr(bound.config, "samples", 1) > 1:
        seats[f"{bound.label}: vote"] = replace(whole, role="panel")
    return seats


def _first_samples(fields: Fields) -> dict[str, Json]:
    """Teacher -> its first sample's label, out of the row's `answers`."""
    answers = fields.get("answers")
    return {
        str(one.get("teacher")): one.get("label")
        for one in (answers if isinstance(answers, list | tuple) else ())
        if isinstance(one, Mapping) and one.get("sample", 0) == 0
    }


def _median_ms(teacher: OpenTeacher, bought: int) -> float | None:
    """The median of the last attempts; None = none was bought."""
    latencies_s = list(teacher.stats.latencies_s)[-bought:] if bought else []
    return 1000 * statistics.median(latencies_s) if latencies_s else None


def _nano_usd(teacher: OpenTeacher, reply: Completion) -> int | None:
    """What this reply costs, whether bought now or before; None = unknown."""
    prompt_tokens, completion_tokens = reply.usage.prompt_tokens, reply.usage.completion_tokens
    if teacher.price == FREE:
        return 0
    if teacher.price is None or prompt_tokens is None or completion_tokens is None:
        return None
    return nano_usd(
        teacher.price,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_prompt_tokens=reply.usage.cached_prompt_tokens or 0,
        batch=teacher.batch,
    )


def _usd_per_1000(costs: Sequence[int | None], rows: int) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return None if len(known) < len(costs) else 1000 * sum(known) / 1e9 / max(1, rows)


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
