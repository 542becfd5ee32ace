"""One run of a plan in its folder, stage by stage.

survey     read the source once: ids, fields, how many            nothing is spent before this
ask        every row through every step
sort       the final rows into the source's order, the account reconciled
export     dataset/, rows/, and by parquet file what was rejected, failed and discarded
train      student/
evaluate   base, teachers and student on the held-out rows
done       manifest.json
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from synthkd.account import EXPORT, Account
from synthkd.config import HostedConfig
from synthkd.desk import Desk
from synthkd.engines.local import SpoolSink, carry_out
from synthkd.errors import DiskFailed, Rejected, RunStopped, TooManyLost, UserError
from synthkd.evaluate.money import with_money
from synthkd.evaluation import evaluate
from synthkd.flow import Emit, in_thread, ticking
from synthkd.folder import PREDICTIONS, RunFolder
from synthkd.interrupts import interruptible, within_wall
from synthkd.io.exports import missing_text
from synthkd.io.rows_file import ROWS, row_ids
from synthkd.io.sources import Source, Split, open_source
from synthkd.io.spool import RowSpool
from synthkd.leaks import contamination_told, same_texts
from synthkd.ledger import Cost
from synthkd.ledger.outbox import LedgerWithOutbox
from synthkd.ledger.sqlite import open_ledger
from synthkd.manifest import (
    Counts,
    Evaluation,
    Manifest,
    Progress,
    RoundRecord,
    Spend,
)
from synthkd.plan import BoundRowStep, BoundTableStep, Plan, wordless_teachers
from synthkd.results import (
    figures_of,
    manifest_of,
    write_results,
    write_stopped,
)
from synthkd.rounds import Before, Books, Rounds
from synthkd.rows import Json, Row
from synthkd.students import kinds
from synthkd.students.artefact import Student
from synthkd.students.lesson import SIDES, HeldOutRow
from synthkd.students.local import open_student
from synthkd.students.ready import check_cost, ready
from synthkd.survey import Survey, rows_of, survey
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.closing import GRACE_S
from synthkd.teachers.open import Gateway, open_teachers
from synthkd.training import Sibling, further_seeds, held_out_rows, train
from synthkd.wiring import check_held_out, check_sides, check_wiring

TICK_S = 0.25
"""Seconds between reports of progress."""


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How to run, beside what the pipeline file says."""

    offline: bool = False
    retry_failed: bool = False
    refused_now: set[str] = field(default_factory=set)
    """Keys that were refused since the command began: `retry_failed` is done with them."""


class Run:
    """One execution; made for one folder, used once."""

    def __init__(self, plan: Plan, folder: RunFolder, ways: Ways, tell: Tell | None) -> None:
        self._plan = plan
        self._folder = folder
        self._ways = ways
        self._tell = tell
        self._stage = "reading"
        self._training = ""
        self._before = Before()
        self._siblings: list[Sibling] = []
        self._twin: Callable[[Row], HeldOutRow | None] | None = None
        """Of several rounds: which held-out row a row is the same as."""
        self._source: Source = open_source(plan.config.source, base=plan.folder)
        self._account = Account(
            folder.work / "account.scratch",
            [bound.label for bound in plan.steps],
            plan.config.limits,
        )
        self._survey: Survey | None = None
        self._gateway: Gateway | None = None
        self._wall_before_s = 0.0
        self._started = time.monotonic()
        self._started_cpu = time.process_time()

    # --- the whole

    async def to_the_end(self) -> Manifest:
        """All stages; returns what manifest.json holds."""
        await self._can_train()
        async with self._working():
            with RowSpool(self._folder.work / "rows.scratch") as spool:
                rounds = await self._rounds(spool)
                counts = self._reconciled()
                self._enter("exporting")
                dataset = await in_thread(
                    lambda: write_results(
                        self._plan, spool, self._account, counts, self._folder.staged
                    )
                )
            rows_file = self._folder.staged / ROWS
            student = await self._student(rows_file, rounds)
            evaluation = await self._evaluate(student, rows_file)
            self._enter("done")
            return self._folder.publish(
                lambda: manifest_of(
                    self._plan,
                    self._folder,
                    self._account,
                    self._progress(),
                    counts=counts,
                    cpu_s=round(time.process_time() - self._started_cpu, 3),
                    dataset=dataset,
                    student=student,
                    siblings=self._siblings,
                    evaluation=evaluation,
                    rounds=rounds,
                ),
                student="none" if student is None else "trained",
            )

    async def ask_only(self, emit: Emit[Row]) -> None:
        """The final rows into `emit`, and the account reconciled."""
        async with self._working():
            await self._carry_out(emit)
            self._account.reconcile()
            await self._wait_for(self._account.waiting)

    # --- survey, ledger, teachers

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Gateway]:
        """Everything opened; whatever ends the run early leaves its reason in the folder."""
        try:
            async with interruptible(self._in_air, self._drain, GRACE_S):
                await self._survey_source()
                ledger = open_ledger(self._folder.ledger, self._plan.config.ledger.durable)
                try:
                    async with (
                        self._alone(ledger),
                        self._teachers(ledger) as gateway,
                        ticking(self._report, TICK_S),
                        within_wall(
                            self._plan.config.budget.wall_s,
                            self._wall_before_s,
                            lambda wall_s: ledger.add_wall(self._folder.run_id, wall_s),
                        ),
                    ):
                        yield gateway
                finally:
                    await ledger.close()
        except DiskFailed:
            raise  # without a record of the stop: there is nowhere to write it
        except OSError as error:
            if error.errno is None:  # a timeout of somebody's own is an OSError too
                raise
            raise DiskFailed.of(error, self._folder.path) from error
        except RunStopped as stop:
            self._folder.keeps = True
            write_stopped(stop, self._folder, self._account, self._progress())
            raise
        finally:
            self._account.close()

    def _in_air(self) -> int:
        return 0 if self._gateway is None else self._gateway.closing.in_air

    async def _drain(self) -> None:
        if self._gateway is not None:
            await self._gateway.closing.drain()

    async def _survey_source(self) -> None:
        """Look at the source and the teachers: all mistakes come before any cost."""
        config = self._plan.config
        left = threading.Event()
        found = await in_thread(
            lambda: survey(
                self._source,
                config.source,
                self._account,
                self._check_row,
                left.is_set,
            ),
            left.set,
        )
        self._check(found)
        self._survey = found
        check_teachers(
            config.teachers,
            base=self._plan.folder,
            budget=config.budget,
            offline=self._ways.offline,
            wordless=wordless_teachers(self._plan),
        )

    def _check_row(self, row: Row, side: Split) -> None:
        """Check that the evaluation can use a row of the source."""
        check_held_out(self._plan, row, side)

    def _check(self, found: Survey) -> None:
        """Check that the source has what the plan needs."""
        check_sides(self._plan, found.sides, found.unreadable)
        check_wiring(self._plan, found.columns)

    @asynccontextmanager
    async def _alone(self, ledger: LedgerWithOutbox) -> AsyncIterator[None]:
        """One process spends a run's budget: a copy of its folder has the same run id."""
        try:
            with ledger.alone(self._folder.run_id):
                yield
        except BlockingIOError:
            raise UserError(
                f"{self._folder.path}: this run is going on in another folder, of which this one is"
                " a copy, and both would spend one budget: wait for it, or choose another --out"
            ) from None

    @asynccontextmanager
    async def _teachers(self, ledger: LedgerWithOutbox) -> AsyncIterator[Gateway]:
        if self._folder.has_asked and not ledger.knows(self._folder.run_id):
            raise UserError(
                f"{self._folder.path}: the ledger {self._folder.ledger} does not know this run, so"
                " it is not the one that the run was paid from: put that one back, or choose"
                " another --out"
            )
        self._wall_before_s = ledger.wall_s(self._folder.run_id)
        async with open_teachers(
            self._plan.config.teachers,
            base=self._plan.folder,
            ledger=ledger,
            run_id=self._folder.run_id,
            budget=self._plan.config.budget,
            wordless=wordless_teachers(self._plan),
            offline=self._ways.offline,
            retry_failed=self._ways.retry_failed,
            refused_now=self._ways.refused_now,
            open_student=open_student,
        ) as gateway:
            self._gateway = gateway
            self._folder.will_ask()
            ledger.note_folder(self._folder.run_id, str(self._folder.path.resolve()))
            if gateway.batches.are_open and not self._ways.offline:
                self._enter("collecting")
                await gateway.batches.collect()
            try:
                yield gateway
            except TooManyLost:
                await gateway.batches.forget()
                raise
            await gateway.batches.forget()

    def _desk(self, bound: BoundRowStep | BoundTableStep) -> Desk:
        assert self._gateway is not None  # noqa: S101  set before any step is asked for
        return Desk(
            step=bound.label,
            folder=self._plan.folder,
            rank=bound.rank,
            seed=self._plan.config.seed,
            round=self._before.round,
            feedback=self._before.feedback,
            earlier=self._before.rows,
            teachers=self._gateway.teachers,
            prompts=bound.prompts,
            holdout=self._plan.config.source.holdout,
            work=self._folder.work,
        )

    # --- ask, sort, export

    async def _wait_for(self, rows: int) -> None:
        """Stop until their batches are done, if rows wait."""
        if rows and self._gateway is not None:
            self._enter("sending")
            await self._gateway.batches.wait_for(rows)

    async def _rounds(self, into: RowSpool) -> Sequence[RoundRecord]:
        """Ask once, or in rounds with a student between; what each round came to, if several."""
        config = self._plan.config.rounds
        if config.count == 1:
            await self._ask(Before(), into)
            return ()
        await in_thread(self._folder.take_up_students)
        held_out = await held_out_rows(self._plan, self._source, SIDES)
        student = self._plan.config.student
        if student is not None and not student.allow_leaks:
            # New examples come upon short held-out texts by chance.
            self._twin = same_texts(student, held_out)
        dev = [row for row in held_out if row.side == "dev"]
        rounds = Rounds(config, self._folder, self._ask, self._train, dev)
        await rounds.carry_out(into)
        return rounds.records

    async def _ask(self, before: Before, into: RowSpool) -> Books:
        self._before = before
        self._account.begin_round()
        if before.student is not None and self._gateway is not None:
            await self._gateway.take_up(before.student)
        sink = SpoolSink(into)
        await self._carry_out(sink.emit)
        await self._wait_for(self._account.waiting)
        self._enter("sorting")
        await in_thread(sink.finish)
        funnel, figures = self._account.of_round()
        return Books(funnel=funnel, figures=figures_of(self._plan, figures))

    def _reconciled(self) -> Counts:
        assert self._survey is not None  # noqa: S101  the source was surveyed
        return self._survey.complete(self._account.reconcile())

    async def _carry_out(self, emit: Emit[Row]) -> None:
        self._enter("asking")

        async def keep(row: Row) -> None:
            if fault := missing_text(row, self._plan.config.export):
                self._account.lose(EXPORT, row, Rejected("no_text_to_export", fault))
                return
            if self._twin is not None and (twin := self._twin(row)) is not None:
                said = f"the text of {twin.side} row {twin.id}"
                self._account.lose(EXPORT, row, Rejected("held_out", said))
                return
            self._account.keep(row)
            await emit(row)

        await carry_out(
            self._plan.segments,
            rows_of(self._source, "train"),
            self._desk,
            self._account,
            self._folder.work,
            keep,
        )

    # --- train, evaluate, manifest

    async def _can_train(self) -> None:
        """Check before any cost what training will need."""
        config, folder, offline = self._plan.config.student, self._plan.folder, self._ways.offline
        if config is not None:
            check_cost(config, self._plan.config)
            await in_thread(lambda: ready(config, folder, offline=offline))

    async def _student(self, rows_file: Path, rounds: Sequence[RoundRecord]) -> Student | None:
        """The student of these rows, or the best of the rounds; None = none is wanted."""
        if self._plan.config.student is None:
            return None
        if rounds:
            return await in_thread(lambda: kinds.load(self._folder.trained))
        await in_thread(self._folder.take_up_students)
        student = await self._train(
            rows_file=rows_file, folder=self._folder.trained, work=self._folder.learning
        )
        others = further_seeds(self._plan.config.student, self._folder, self._train, rows_file)
        self._siblings = [one async for one in others]
        self._folder.published_seeds = [str(one.seed) for one in self._siblings]
        return student

    async def _train(self, *, rows_file: Path, folder: Path, work: Path, nth: int = 0) -> Student:
        self._enter("training")
        assert self._gateway is not None  # noqa: S101  whoever trains has asked
        await self._gateway.release()  # the student may want the GPU

        def tell(line: str) -> None:
            config = self._plan.config.student
            some = config is not None and config.seeds > 1
            self._training = f"student {nth + 1}: {line}" if some else line

        return await train(
            self._plan,
            self._source,
            rows_file=rows_file,
            folder=folder,
            work=work,
            offline=self._ways.offline,
            purse=self._gateway.purse,
            tell=tell,
            nth=nth,
        )

    async def _evaluate(self, student: Student | None, rows_file: Path) -> Evaluation | None:
        if self._plan.config.evaluate is None:
            return None
        known = contamination_told(
            self._plan, self._figures(), {} if student is None else student.about
        )
        evaluation = await self._compared(student, rows_file, known)
        spent_usd = self._progress().spend.usd
        rows = await in_thread(lambda: sum(1 for _ in row_ids(rows_file)))
        return with_money(evaluation, spent_usd=spent_usd, rows=rows)

    def _figures(self) -> Mapping[str, Mapping[str, Json]]:
        """What the steps noted of all rows."""
        return figures_of(self._plan, self._account.figures)

    async def _compared(
        self, student: Student | None, rows_file: Path | None, contamination: str
    ) -> Evaluation:
        self._enter("evaluating")
        assert self._gateway is not None  # noqa: S101  as above
        return await evaluate(
            self._plan,
            self._source,
            self._desk,
            student,
            gateway=self._gateway,
            rows_file=rows_file,
            siblings=self._siblings,
            contamination=contamination,
            work=self._folder.work,
            predictions=self._folder.staged / PREDICTIONS,
            wait_for=self._wait_for,
        )

    # --- progress

    def _enter(self, stage: str) -> None:
        self._stage = stage
        self._report()

    def _report(self) -> None:
        if self._tell is not None:
            self._tell(self._progress())

    def _progress(self) -> Progress:
        first = next(iter(self._account.funnel.values()), None)
        gateway = self._gateway
        elapsed_s = time.monotonic() - self._started
        return Progress(
            stage=self._stage,
            rows_total=None if self._survey is None else self._survey.read,
            rows_entered=0 if first is None else first.entered,
            elapsed_s=elapsed_s,
            funnel={step: tally.counts() for step, tally in self._account.funnel.items()},
            teachers={}
            if gateway is None
            else {name: teacher.stats.counts() for name, teacher in gateway.teachers.items()},
            spend=self._spend(Cost() if gateway is None else gateway.budget.spent, elapsed_s),
            starting=[] if gateway is None else gateway.starting,
            told=self._account.told,
            training=self._training if self._stage == "training" else "",
            round=self._before.round if self._plan.config.rounds.count > 1 else None,
        )

    def _spend(self, spent: Cost, elapsed_s: float) -> Spend:
        priced = self._gateway is not None and all(
            teacher.stats.nano_usd is not None for teacher in self._gateway.teachers.values()
        )
        student = self._plan.config.student
        if isinstance(student, HostedConfig) and self._training:  # a job was made
            priced = priced and student.usd_per_million_tokens is not None
        return Spend(
            requests=spent.requests,
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            usd=spent.usd if priced else None,
            wall_s=round(self._wall_before_s + elapsed_s, 3),
            budget=self._plan.config.budget.model_dump(exclude_none=True),
        )
