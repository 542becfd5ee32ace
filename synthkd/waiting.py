"""Between two passes of a run that waits for batches: look at them now and then, until one is done.

    except WaitingForBatch as waiting:
        await until_collected(plan, folder, waiting, tell, sleep)

The rows are not gone through meanwhile, and the time does not count against `budget.wall_s`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.errors import RunStopped, WaitingForBatch
from synthkd.flow import ticking
from synthkd.folder import RunFolder
from synthkd.interrupts import interruptible
from synthkd.ledger import Cost
from synthkd.ledger.outbox import Sender
from synthkd.ledger.sqlite import open_ledger
from synthkd.manifest import Progress
from synthkd.plan import Plan, wordless_teachers
from synthkd.running import TICK_S, Tell, Ways
from synthkd.teachers.batches.dispatch import Dispatch
from synthkd.teachers.batches.posting import Awaited
from synthkd.teachers.batches.run import Batches
from synthkd.teachers.budget import Budget
from synthkd.teachers.closing import GRACE_S
from synthkd.teachers.layers import Sleep
from synthkd.teachers.open import open_teachers
from synthkd.teachers.prices import price_for
from synthkd.teachers.stats import TeacherStats


class Remembering:
    """Passes progress on, and remembers the latest: what a run that waits goes on showing."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._latest: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Pass it on."""
        self._latest = progress
        if self._tell is not None:
            self._tell(progress)

    def waiting(self) -> Callable[[], None]:
        """Says, whenever it is called, that the run waits, and for how long it has been going."""
        latest, started = self._latest, time.monotonic()

        def tell() -> None:
            if latest is not None and self._tell is not None:
                elapsed_s = latest.elapsed_s + time.monotonic() - started
                changes = {"stage": "waiting", "elapsed_s": elapsed_s}
                self._tell(latest.model_copy(update=changes))

        return tell


async def until_collected(
    plan: Plan,
    folder: RunFolder,
    ways: Ways,
    waiting: WaitingForBatch,
    progress: Remembering,
    sleep: Sleep,
) -> None:
    """Return when a batch is done that rows wait for.

    Args:
        plan: of the run.
        folder: of the run.
        ways: how it runs.
        waiting: how it stopped.
        progress: told that it waits.
        sleep: how to wait.

    Raises:
        TeacherRefused: a batch failed, or nobody may ask about it.
        Interrupted: a signal ended the waiting.
    """
    config = plan.config
    try:
        async with interruptible(lambda: 0, _nothing, GRACE_S):
            ledger = open_ledger(folder.ledger, config.ledger.durable)
            try:
                async with (
                    open_teachers(
                        config.teachers,
                        base=plan.folder,
                        ledger=ledger,
                        run_id=folder.run_id,
                        budget=config.budget,
                        wordless=wordless_teachers(plan),
                        refused_now=ways.refused_now,
                    ) as gateway,
                    ticking(progress.waiting(), TICK_S),
                ):
                    await _until_one_is_done(gateway.batches, set(waiting.batches), sleep)
            finally:
                await ledger.close()
    except RunStopped as stop:
        folder.stopped_again(stop)
        raise


@asynccontextmanager
async def batches_in(url: Path, teachers: Mapping[str, TeacherConfig]) -> AsyncIterator[Batches]:
    """All batches of a ledger, whichever run has sent them; no run is begun.

    Args:
        url: the ledger, which exists.
        teachers: whoever can ask about them.
    """
    ledger = open_ledger(str(url))
    try:
        async with AsyncExitStack() as stack:
            dispatches = [
                Dispatch(
                    name=name,
                    config=config,
                    price=price_for(config),
                    outbox=ledger.outbox,
                    sender=Sender(run_id="", passage="", teacher=name),
                    stats=TeacherStats(),
                    refused_now=set(),
                    stack=stack,
                )
                for name, config in teachers.items()
                if config.kind == "http"
            ]
            awaited = Awaited({batch.id for batch in ledger.outbox.batches()})
            yield Batches(ledger, "", dispatches, Budget(BudgetConfig(), Cost()), awaited)
    finally:
        await ledger.close()


async def _until_one_is_done(batches: Batches, awaited: set[str], sleep: Sleep) -> None:
    batches.awaited.batches |= awaited
    while True:
        await sleep(batches.poll_s)
        found = await batches.collect()
        still = {batch.id for batch in batches.under_way}
        if found.collected or not awaited <= still or not still:
            return


async def _nothing() -> None:
    """Nothing is in the air."""
