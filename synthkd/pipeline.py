"""Pipeline: load a file, plan it, run it, or stream its rows. Works inside a running event loop.

    pipeline = Pipeline.load("pipelines/quickstart.yaml")
    print(pipeline.plan().table())
    manifest = await pipeline.run()             # or pipeline.run_sync()
    async for row in pipeline.stream(): ...     # final rows in completion order, no dataset

What one run does, in order: survey the source, ask (every step), sort, export, train, evaluate,
write the manifest. `synthkd.running` holds those stages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from synthkd.again import RunAgain
from synthkd.errors import UserError, WaitingForBatch
from synthkd.evaluation import check_evaluation
from synthkd.flow import Emit, run_loop, streamed
from synthkd.folder import (
    LEDGER,
    MANIFEST,
    RunFolder,
    ledger_of,
    manifest_of_rows,
    open_folder,
    read_manifest,
    read_stopped,
    run_id_of,
)
from synthkd.forecast import Forecast, forecast
from synthkd.manifest import Manifest
from synthkd.pipeline_file import apply_overrides, read_yaml
from synthkd.plan import Plan, compile_plan
from synthkd.rows import Row
from synthkd.running import Run, Tell, Ways
from synthkd.teachers.batches.run import Batches
from synthkd.teachers.layers import Sleep
from synthkd.waiting import Remembering, batches_in, until_collected

if TYPE_CHECKING:
    from synthkd.doctor import Report

__all__ = ["Pipeline", "read_manifest", "read_stopped"]

AFTERWARDS = {"student", "evaluate", "budget"}
"""The blocks that made nothing of the rows."""


class Pipeline:
    """A checked pipeline file, and where its results go."""

    def __init__(self, plan: Plan, *, out: Path, ledger: str | None) -> None:
        self._plan = plan
        self.out = out
        self.ledger = ledger

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        overrides: Sequence[str] = (),
        out: str | Path | None = None,
        ledger: str | None = None,
        limit: int | None = None,
    ) -> Pipeline:
        """Read and check a pipeline file; nothing is written, asked or spent.

        Args:
            path: the YAML file.
            overrides: as `--set`: `steps.NAME.with.samples=5`.
            out: the folder for results; by default data/out/NAME.
            ledger: where answers are kept; by default the one this folder's run has, and for a
                new run .synthkd/ledger.sqlite.
            limit: use the first so many rows of the source.

        Raises:
            ConfigError: with every fault of the file.
        """
        if limit is not None:
            overrides = [*overrides, f"source.limit={limit}"]
        path = Path(path)
        plan = compile_plan(read_yaml(path, overrides), path)
        check_evaluation(plan)
        out = Path("data", "out", plan.config.name) if out is None else Path(out)
        return cls(plan, out=out, ledger=ledger)

    @classmethod
    def reopen(
        cls, folder: str | Path, *, overrides: Sequence[str] = (), ledger: str | None = None
    ) -> Pipeline:
        """The pipeline of a complete run, as its manifest has it.

        Args:
            folder: the run's.
            overrides: as `--set`, of `student`, `evaluate` and `budget`: all else made the rows.
            ledger: the run's own, if any is given.

        Raises:
            UserError: no complete run, or an override of something else.
        """
        folder = Path(folder)
        for text in overrides:
            if text.partition("=")[0].split(".")[0].strip() not in AFTERWARDS:
                raise UserError(
                    f"--set {text}: the rows are made; only student, evaluate and budget can be"
                    " set here. For other rows run the pipeline file again, with another --out"
                )
        manifest = manifest_of_rows(folder)
        raw = apply_overrides(dict(manifest.config), overrides)
        plan = compile_plan(raw, Path(manifest.pipeline))
        check_evaluation(plan)
        return cls(plan, out=folder, ledger=ledger)

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self._plan.config.name

    def plan(self) -> Forecast:
        """Rows x calls x tokens x price, and what is unknown, before anything is spent.

        How fast teachers are is read off the run that the folder holds, if there is one.
        """
        before, unread = None, []
        if (self.out / MANIFEST).exists():
            try:
                before = read_manifest(self.out)
            except UserError as error:
                unread.append(f"how fast the teachers were before: {error}")
        return forecast(self._plan, before, unread)

    async def examine(self, *, probe: bool = True) -> Report:
        """Look at the teachers and at this machine; what the probes buy is kept nowhere.

        Args:
            probe: ask each endpoint a few tiny questions; else only its list of models is read.

        Raises:
            UserError: the folder belongs to a run with another ledger.
        """
        from synthkd.doctor import examine  # aiohttp takes its time, and runs may not need it

        ledger = ledger_of(self.out, ledger=self.ledger, default_ledger=LEDGER)
        return await examine(self._plan, out=self.out, ledger=ledger, probe=probe)

    async def run(
        self,
        *,
        offline: bool = False,
        retry_failed: bool = False,
        wait: bool = False,
        on_progress: Tell | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> Manifest:
        """Run to the end; running again resumes.

        Args:
            offline: answer from the ledger alone.
            retry_failed: ask again what the provider refused for good.
            wait: stay until the batches are done that rows wait for.
            on_progress: told a few times a second how things stand.
            sleep: how to wait for batches.

        Raises:
            UserError: a mistake; nothing was spent.
            RunStopped: the run ended early; everything paid for is kept.
        """
        ways = Ways(offline=offline, retry_failed=retry_failed)
        progress = Remembering(on_progress)
        with self._folder() as folder:
            while True:
                try:
                    return await Run(self._plan, folder, ways, progress).to_the_end()
                except WaitingForBatch as stop:
                    if not wait:
                        raise
                    waiting = stop
                await until_collected(self._plan, folder, ways, waiting, progress, sleep)

    def run_sync(
        self,
        *,
        offline: bool = False,
        retry_failed: bool = False,
        wait: bool = False,
        on_progress: Tell | None = None,
    ) -> Manifest:
        """`run` for callers that do not await; in a running loop it blocks that loop."""
        return run_loop(
            self.run(offline=offline, retry_failed=retry_failed, wait=wait, on_progress=on_progress)
        )

    def stream(
        self, *, offline: bool = False, retry_failed: bool = False
    ) -> AsyncGenerator[Row, None]:
        """The final rows as they come, in no order; writes no dataset. Starting again resumes.

        Raises:
            UserError: the pipeline has rounds, between which a student is trained: `run` it.
        """
        if self._plan.config.rounds.count > 1:
            raise UserError(
                f"{self._plan.place}: has rounds, and between rounds a student is trained: use"
                " `run`, which does"
            )
        ways = Ways(offline=offline, retry_failed=retry_failed)

        async def ask(emit: Emit[Row]) -> None:
            with self._folder() as folder:
                await Run(self._plan, folder, ways, None).ask_only(emit)

        return streamed(ask)

    async def train(self, *, offline: bool = False, on_progress: Tell | None = None) -> Manifest:
        """Train the student of a complete run again from its rows, and evaluate it.

        A student that would come out the same is kept.

        Raises:
            UserError: the pipeline has no `student`, or the folder holds no complete run.
        """
        if self._plan.config.student is None:
            raise UserError(f"{self.out}: the pipeline has no `student` block, so nothing to train")
        return await self._again(training=True, offline=offline, on_progress=on_progress)

    async def evaluate(self, *, offline: bool = False, on_progress: Tell | None = None) -> Manifest:
        """Evaluate base, teachers and the student of a complete run again; trains nothing.

        Raises:
            UserError: the pipeline has no `evaluate`, or the folder holds no complete run.
        """
        if self._plan.config.evaluate is None:
            raise UserError(f"{self.out}: the pipeline has no `evaluate` block: nothing to compare")
        return await self._again(training=False, offline=offline, on_progress=on_progress)

    async def _again(self, *, training: bool, offline: bool, on_progress: Tell | None) -> Manifest:
        with self._folder() as folder:
            old = manifest_of_rows(self.out)  # in the lock: another process may replace it
            run = RunAgain(self._plan, folder, Ways(offline=offline), on_progress)
            return await run.again(old, training=training)

    @asynccontextmanager
    async def batches(self) -> AsyncIterator[Batches]:
        """All batches of the ledger that a teacher of this pipeline can ask its provider about.

        Raises:
            UserError: an API key that is not set, or a ledger that cannot be used.
        """
        file = self.ledger_file
        if not file.is_file():
            raise UserError(f"there is no ledger at {file}, so no batches: name one with --ledger")
        async with batches_in(file, self._plan.config.teachers) as batches:
            yield batches

    @property
    def ledger_file(self) -> Path:
        """The ledger that a run would use."""
        return ledger_of(self.out, ledger=self.ledger, default_ledger=LEDGER)

    @property
    def run_id(self) -> str | None:
        """The run in the folder for results; None = there is none."""
        return run_id_of(self.out)

    def _folder(self) -> AbstractContextManager[RunFolder]:
        return open_folder(self.out, ledger=self.ledger, default_ledger=LEDGER)
