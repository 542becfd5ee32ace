"""One fine-tuning job: made once, found again after a kill, awaited, given up.

`job.json` in the training's work folder has what each call needs before the call is made, so that a
kill anywhere leaves a state from which the next run goes on:

    paid       the most that it can cost is spent in the run's budget
    file_id    the file is at the provider; a job may have been made
    job_id     the job is there, and is looked at until it ends

A job whose making was cut short is looked for in the provider's list: by the tag in its metadata,
which is a hash of file and settings, or by its file. So is one of an earlier run that trained the
very same: it is not trained twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import ValidationError

from synthkd.config import HostedConfig
from synthkd.errors import (
    AttemptFailed,
    BudgetReached,
    RequestRefused,
    SynthkdError,
    TeacherRefused,
    TrainingFailed,
    UserError,
)
from synthkd.io.atomic import atomic_file
from synthkd.ledger import Cost
from synthkd.manifest import Record
from synthkd.students.hosted.chat_file import ChatFile
from synthkd.students.hosted.provider import ENDED, JobProvider, JobStatus
from synthkd.students.lesson import Tell
from synthkd.teachers.budget import NOTHING, Purse

JOB = "job.json"
SLOWER, SLOWEST = 1.5, 10.0
"""Each look is so much later than the one before, up to so many times `poll_s`."""
PATIENCE_S = 1800.0
"""Seconds for which the provider may tell nothing of a job before the run stops waiting for it."""

Sleep = Callable[[float], Awaitable[None]]
ToldT = TypeVar("ToldT")
_log = logging.getLogger("synthkd")  # without any set-up, warnings go to stderr


class JobFile(Record):
    """job.json: what was begun; no secret is in it."""

    tag: str
    config: HostedConfig
    file_id: str | None = None
    job_id: str | None = None
    status: str = ""
    """As it was when it was last looked at."""
    paid_nano_usd: int | None = None
    """Spent in the run's budget: the most that it can cost."""

    @property
    def goes_on(self) -> bool:
        """Whether the provider may be working on it."""
        begun = self.job_id is not None or self.paid_nano_usd is not None
        return begun and self.status not in ENDED


def read_job(work: Path) -> JobFile | None:
    """The job that was begun here; None = none was.

    Raises:
        UserError: it cannot be read.
    """
    file = work / JOB
    try:
        return JobFile.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{file} cannot be read ({error.error_count()} faults), so whether a job was made"
            " cannot be told: look for it at the provider, then remove the file"
        ) from None


def write_job(work: Path, job: JobFile) -> None:
    """Write job.json, whole or not at all."""
    with atomic_file(work / JOB) as file:
        file.write(orjson.dumps(job.model_dump(mode="json"), option=orjson.OPT_INDENT_2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be trained."""

    tag: str
    """SHA-256 of the file and all settings that change the model."""
    config: HostedConfig
    file: ChatFile
    most: Cost
    """What it can cost at most; nothing where that is unknown."""
    nano_usd: Callable[[int], int | None]
    """What so many trained tokens cost; None = unknown."""


class Job:
    """The job of one order.

    Args:
        order: what is to be trained.
        provider: at whose place.
        work: where job.json is kept.
        purse: what pays; None = nobody counts.
        tell: takes a line on how far it is.
        sleep: how waiting is done.
    """

    def __init__(
        self,
        order: Order,
        provider: JobProvider,
        work: Path,
        purse: Purse | None,
        tell: Tell,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._order = order
        self._provider = provider
        self._work = work
        self._purse = purse
        self._tell = tell
        self._sleep = sleep
        self._job = JobFile(tag=order.tag, config=order.config)

    async def trained(self) -> JobStatus:
        """The job that has succeeded; it is made if there is none.

        Raises:
            UserError: a job of another order goes on.
            BudgetReached: it may cost more than is left.
            TrainingFailed: it failed, was cancelled, is gone, or the provider makes none of this.
            TeacherRefused: the provider takes nothing from us.
        """
        before = read_job(self._work)
        if before is not None and before.tag == self._order.tag:
            self._job = before
        elif before is not None and before.goes_on:
            raise UserError(
                f"student: {before.job_id or 'a job'} at {before.config.endpoint} learns from other"
                " rows or settings: `synthkd job cancel DIR` gives it up, or put them back"
            )
        if self._job.status in ENDED - {"succeeded"}:  # this is another try
            self._job = JobFile(tag=self._order.tag, config=self._order.config)
        try:
            if self._job.job_id is None:
                await self._begin()
            return await self._awaited()
        except asyncio.CancelledError:
            _log.warning("%s", self._how_to_go_on())
            raise
        except AttemptFailed as failure:
            raise TrainingFailed(f"student: {failure}. {self._how_to_go_on()}") from None

    def _how_to_go_on(self) -> str:
        if self._job.job_id is None:
            return "Run again to go on"
        return (
            f"{self._job.job_id} goes on at the provider: run again to go on waiting, or `synthkd"
            " job cancel DIR` to stop it"
        )

    def _note(self, **news: object) -> None:
        self._job = self._job.model_copy(update=news)
        write_job(self._work, self._job)

    # --- made

    async def _begin(self) -> None:
        """Find the job, or make it."""
        found = await self._found()
        if found is None:
            found = await self._made()
        self._note(job_id=found.id, status=found.status)

    async def _found(self) -> JobStatus | None:
        """A job of this very order that is at the provider and was not in vain."""
        search = self._provider.search(self._order.tag, self._job.file_id)
        for status in await self._taken(search):
            if status.status not in ENDED:
                return status
            if status.model is not None and await self._provider.has_model(status.model):
                return status
        return None

    async def _made(self) -> JobStatus:
        """A new job: cost spent, file up, job made."""
        if self._job.paid_nano_usd is None:
            await self._pay()
        try:
            file_id = self._job.file_id or await self._uploaded()
            made = self._provider.create(file_id, self._order.config, self._order.tag)
            return await self._taken(made)
        except AttemptFailed as failure:
            if failure.status == 429 or self._job.file_id is None:  # no job can have been made
                self._settle(NOTHING)
                raise
            found = await self._found()
            if found is None:
                raise
            return found
        except (TrainingFailed, TeacherRefused):
            self._settle(NOTHING)
            self._note(file_id=None)  # perhaps it is the file that is gone
            raise

    async def _pay(self) -> None:
        if self._purse is not None:
            try:
                await self._purse.spend(self._order.most)
            except BudgetReached as reached:
                raise BudgetReached(f"student: the fine-tuning job: {reached}") from None
        self._note(paid_nano_usd=self._order.most.nano_usd)

    async def _uploaded(self) -> str:
        self._tell(f"uploading {self._order.file.examples:,} examples")
        name = f"synthkd-{self._order.tag[:16]}.jsonl"
        file_id = await self._taken(self._provider.upload(self._order.file.path, name))
        self._note(file_id=file_id)
        return file_id

    async def _taken(self, call: Awaitable[ToldT]) -> ToldT:
        """What the provider tells, unless it refuses the very call."""
        try:
            return await call
        except RequestRefused as refusal:
            raise TrainingFailed(
                f"student: {self._provider.label} does not take this: {refusal}"
            ) from None

    # --- awaited

    async def _awaited(self) -> JobStatus:
        job_id = self._job.job_id or ""
        wait_s = self._order.config.poll_s
        silent_s = 0.0
        after: str | None = None
        while True:
            try:
                status = await self._taken(self._provider.look(job_id))
                news = await self._taken(self._provider.news(job_id, after))
            except AttemptFailed as failure:
                if silent_s > PATIENCE_S:
                    raise
                self._tell(str(failure))
                wait_s = max(wait_s, failure.wait_s or 0.0)
                silent_s += wait_s
            else:
                silent_s = 0.0
                if status is None:
                    raise self._gone()
                for name, message in news:
                    after = name
                    self._tell(f"{status.id} {status.status}: {message}")
                if status.status != self._job.status:
                    self._note(status=status.status)
                if status.ended:
                    return self._ended(status)
            await self._sleep(wait_s)
            wait_s = min(wait_s * SLOWER, self._order.config.poll_s * SLOWEST)

    def _ended(self, status: JobStatus) -> JobStatus:
        """The job, if it went well."""
        tokens = status.trained_tokens
        if tokens is None and status.status == "failed":
            tokens = 0
        if tokens is not None:
            nano_usd = self._order.nano_usd(tokens)
            self._settle(Cost(nano_usd=nano_usd or 0))
        if status.status == "succeeded" and status.model is not None:
            return status
        how = {"failed": "failed", "cancelled": "was cancelled"}.get(
            status.status, "succeeded without a model"
        )
        said = f": {status.fault}" if status.fault else ""
        raise TrainingFailed(
            f"student: {status.id} at {self._provider.label} {how}{said}. Run again to make a new"
            " job, once the cause is mended"
        )

    def _gone(self) -> SynthkdError:
        job_id = self._job.job_id
        self._note(job_id=None, file_id=None, paid_nano_usd=None)  # what was paid stays so
        return TrainingFailed(
            f"student: {self._provider.label} knows no job {job_id} (any more), as when it was"
            " deleted, or the key is another account's. Look for it there; run again to make a new"
            " one"
        )

    def _settle(self, cost: Cost) -> None:
        """Give back what it did not cost. Noted first: a kill in between gives nothing back."""
        paid = self._job.paid_nano_usd
        if paid is None:
            return
        self._note(paid_nano_usd=None)
        if self._purse is not None and paid > cost.nano_usd:
            self._purse.give_back(Cost(nano_usd=paid - cost.nano_usd))


async def give_up(work: Path, provider: JobProvider, job: JobFile) -> str:
    """Cancel a job; says what became of it.

    Raises:
        TeacherRefused, AttemptFailed: the provider says no, or nothing.
    """
    job_id = job.job_id
    if job_id is None:
        found = [each for each in await provider.search(job.tag, job.file_id) if not each.ended]
        if not found:
            write_job(work, job.model_copy(update={"status": "cancelled"}))
            return "no job was made"
        job_id = found[0].id
    try:
        status = await provider.cancel(job_id)
    except RequestRefused:  # it is over
        status = await provider.look(job_id)
    state = "cancelled" if status is None else status.status
    write_job(work, job.model_copy(update={"job_id": job_id, "status": state}))
    if status is None:
        return f"{provider.label} knows no job {job_id}"
    billed = "" if status.trained_tokens is None else f", {status.trained_tokens:,} tokens billed"
    return f"{job_id} is {status.status}{billed}"
