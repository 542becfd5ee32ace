"""The batches of a run: collected before its rows are asked for, sent after, waited for in between.

    await batches.collect()              # what is done comes into the ledger
    ...                                  # the rows go through the steps; some wait
    await batches.wait_for(rows)         # the rest is sent, and the run stops

A run that stopped so is run again: it collects, and goes on with what has come.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from synthkd.config import BatchConfig
from synthkd.errors import (
    AttemptFailed,
    BudgetReached,
    RequestRefused,
    TeacherRefused,
    UserError,
    WaitingForBatch,
)
from synthkd.ledger.outbox import BatchRecord, LedgerWithOutbox
from synthkd.teachers.batches.dispatch import Clock, Dispatch, Found
from synthkd.teachers.batches.posting import Awaited
from synthkd.teachers.budget import Budget

NAMED = 3
"""Batches that a message names; `synthkd batch list` has them all."""


@dataclass(slots=True)
class Batches:
    """All batches that a run has to do with.

    Args:
        ledger: where they are written down.
        run_id: the run.
        dispatches: one for each teacher with an endpoint.
        budget: the run's.
        awaited: what the pass that is going on waits for.
        clock: seconds since 1970.
    """

    ledger: LedgerWithOutbox
    run_id: str
    dispatches: Sequence[Dispatch]
    budget: Budget
    awaited: Awaited
    clock: Clock = time.time

    @property
    def under_way(self) -> list[BatchRecord]:
        """Batches that this run has sent, or whose answers it waits for."""
        return [
            batch
            for batch in self.ledger.outbox.batches()
            if batch.run_id == self.run_id or batch.id in self.awaited.batches
        ]

    @property
    def are_open(self) -> bool:
        """Whether anybody has batches under way."""
        return bool(self.ledger.outbox.batches())

    @property
    def poll_s(self) -> float:
        """Seconds between two looks while somebody waits: the shortest of those who send batches.

        Of all, if none does: something is under way then that was sent before the mode was changed.
        """
        asked = [one.config for one in self.dispatches]
        batched = [config for config in asked if config.mode == "batch"] or asked
        return min((config.batch.poll_s for config in batched), default=BatchConfig().poll_s)

    def reaches(self, batch: BatchRecord) -> bool:
        """Whether a teacher of the pipeline is at the endpoint that a batch was sent to."""
        return self._for(batch) is not None

    async def collect(self) -> Found:
        """Collect what is done, whoever sent it. Nothing may be in the air.

        Raises:
            TeacherRefused: something that every question would meet; what was done is kept.
        """
        found = Found()
        for batch in self.ledger.outbox.batches():
            if batch.state != "sent":
                await self._resume(batch, found)
        ours = {batch.id for batch in self.under_way}
        for batch in self.ledger.outbox.batches():
            asked = self._for(batch)
            if asked is not None and batch.state == "sent":
                # Another run's batch may have our answers in it; its troubles are not ours.
                looked = found if batch.id in ours else Found()
                await asked.collect(batch, looked)
                found.collected += 0 if looked is found else looked.collected
        await self._recall()
        if found.stop is not None:
            raise found.stop
        return found

    async def _resume(self, batch: BatchRecord, found: Found) -> None:
        """Settle a batch whose making was cut short, unless its run is making it now."""
        asked = self._for(batch)
        if asked is None:
            return
        if batch.run_id == self.run_id:
            await asked.resume(batch, found)
            return
        with suppress(BlockingIOError), self.ledger.alone(batch.run_id):
            for fresh in self.ledger.outbox.batches():
                if fresh.id == batch.id and fresh.state != "sent":
                    await asked.resume(fresh, Found())

    async def forget(self) -> None:
        """The run is over: what it has not sent is not wanted, what was given up may be again."""
        if not self.ledger.outbox.is_empty:
            await self.ledger.outbox.forget(self.run_id)

    def _for(self, batch: BatchRecord) -> Dispatch | None:
        """Who can ask about a batch: the teacher that sent it, or one at the same endpoint."""
        there = [one for one in self.dispatches if one.endpoint == batch.endpoint]
        return next((one for one in there if one.name == batch.teacher), next(iter(there), None))

    async def cancel(self, batch: BatchRecord) -> str:
        """Give a batch up; says what became of it.

        Raises:
            UserError: no teacher is at its endpoint, or its run is sending it now.
            TeacherRefused: the provider says no, or nothing.
        """
        try:
            return await self._cancel(batch)
        except (AttemptFailed, RequestRefused) as error:
            raise TeacherRefused(
                f"batch {batch.id[:12]} could not be given up: {error}. Try again later"
            ) from None

    async def _cancel(self, batch: BatchRecord) -> str:
        asked = self._for(batch)
        if asked is None:
            raise UserError(
                f"batch {batch.id[:12]} was sent to {batch.endpoint}, and no teacher of this"
                " pipeline is there: name a pipeline that has one"
            )
        if batch.state == "sent":
            return await asked.cancel(batch)
        try:
            with self.ledger.alone(batch.run_id):
                there = {one.id: one for one in self.ledger.outbox.batches()}
                return await asked.cancel(there.get(batch.id, batch))
        except BlockingIOError:
            raise UserError(
                f"batch {batch.id[:12]} is being sent by the run {batch.run_id} now: wait for that,"
                " or end it"
            ) from None

    async def _recall(self) -> None:
        await self.ledger.flush()
        self.budget.recall(*self.ledger.outbox.books(self.run_id))

    async def wait_for(self, rows: int) -> NoReturn:
        """Send what the pass has posted, and stop.

        Args:
            rows: how many wait.

        Raises:
            WaitingForBatch: questions are under way, or will be when the command is run again.
            BudgetReached: none is, because the budget does not allow any more.
            TeacherRefused: none is, because the provider takes none.
        """
        found = Found()
        for dispatch in self.dispatches:
            if dispatch.config.mode == "batch":
                await dispatch.send(self.budget, found)
        await self._recall()
        if found.stop is not None:
            raise found.stop
        under_way = self.under_way
        for batch in under_way:
            if batch.run_id == self.run_id and not self.reaches(batch):
                raise TeacherRefused(
                    f"batch {batch.id[:12]} of this run was sent to {batch.endpoint}, which no"
                    " teacher of the pipeline names any more: name it again, or give the batch up"
                    " with `synthkd batch cancel`"
                )
        if not under_way and found.short is not None:
            raise BudgetReached(found.short)
        if not under_way and found.delayed is not None:
            raise TeacherRefused(
                f"nothing could be sent to the Batch API: {found.delayed}. Run again to try again"
            )
        raise WaitingForBatch(
            _message(rows, under_way, found, self.clock()), [batch.id for batch in under_way]
        )


def _message(rows: int, under_way: Sequence[BatchRecord], found: Found, now_s: float) -> str:
    batches = "1 batch" if len(under_way) == 1 else f"{len(under_way):,} batches"
    lines = [f"{rows:,} rows wait for answers from {batches}:"]
    lines += [f"  {in_words(batch, now_s)}" for batch in under_way[:NAMED]]
    if len(under_way) > NAMED:
        lines.append("  and others: see `synthkd batch list`")
    if not under_way:
        lines = [f"{rows:,} rows wait for answers, and none is under way at this moment"]
    if found.short is not None:
        lines.append(f"not all of it was sent: {found.short}")
    if found.full:
        lines.append("not all of it was sent: no more prompt tokens may be enqueued at this time")
    if found.delayed is not None:
        lines.append(f"not all of it could be sent or looked at: {found.delayed}")
    lines.append(
        "Run again to collect what is done and go on, or with --wait to wait here; what is under"
        " way can be given up with `synthkd batch cancel`."
    )
    return "\n".join(lines)


def in_words(batch: BatchRecord, now_s: float) -> str:
    """One batch on one line."""
    done = f", {batch.done + batch.failed:,} done" if batch.done or batch.failed else ""
    return (
        f"{batch.id[:12]} of {batch.teacher} at {batch.endpoint}: {batch.questions:,} questions"
        f"{done}, {batch.status or batch.state}, for {age(now_s - batch.made_s)}"
    )


def age(seconds: float) -> str:
    """How long, in the largest unit that says enough."""
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
