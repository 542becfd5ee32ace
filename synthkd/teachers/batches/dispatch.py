"""One teacher's batches: questions out of the outbox into files, batches looked at and collected.

What each call needs is in the ledger before the call is made (`synthkd.ledger.outbox`), so a kill
anywhere leaves a state from which the next run goes on. A batch of ours whose making was cut short
is looked for in the provider's list by its tag; if it is not there, its questions go back.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from synthkd.config import Price, TeacherConfig
from synthkd.errors import AttemptFailed, RequestRefused, TeacherRefused
from synthkd.ledger import Cost, Entry
from synthkd.ledger.outbox import BatchRecord, Outbox, Outcome, Sender
from synthkd.teachers.batches.collect import Collector, custom_id
from synthkd.teachers.batches.provider import BatchProvider, BatchStatus, open_provider
from synthkd.teachers.budget import BYTES_A_TOKEN, NOTHING, Budget
from synthkd.teachers.endpoint import batch_endpoint
from synthkd.teachers.request import Api
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.wire import PATH

LINE_BYTES = 200
"""What stands around a body in a line of the file."""
ENQUEUED = "token_limit_exceeded"
"""The code of a batch that failed because too many tokens were under way."""
REFUSED_SIZES = 3
"""How often a file is halved that was refused with 400, which may have other reasons than size."""

Clock = Callable[[], float]


@dataclass(slots=True)
class Found:
    """What came of a look at batches, or of sending some."""

    collected: int = 0
    """Batches that are over."""
    sent: int = 0
    short: str | None = None
    """Why the budget did not allow the next question."""
    full: bool = False
    """Whether no more tokens may be enqueued."""
    delayed: str | None = None
    """Why the provider took or told nothing, for a passing reason."""
    stop: TeacherRefused | None = None
    """What every question would meet; raised when all that can be saved is saved."""


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """Sends and collects for one teacher.

    Args:
        name: in the pipeline.
        config: its block.
        price: None = unknown.
        outbox: the ledger's.
        sender: who posts.
        stats: counts answers, tokens and dollars.
        refused_now: keys whose refusals were collected by this command.
        stack: closes the connection at the end of the run.
        clock: seconds since 1970.
    """

    name: str
    config: TeacherConfig
    price: Price | None
    outbox: Outbox
    sender: Sender
    stats: TeacherStats
    refused_now: set[str]
    stack: AsyncExitStack
    clock: Clock = time.time
    _provider: BatchProvider | None = field(default=None, init=False)
    _most: int = field(init=False)
    """Questions in one file; less when the provider found one too large."""

    def __post_init__(self) -> None:
        self._most = self.config.batch.max_requests

    @property
    def endpoint(self) -> str | None:
        """Where its batches are; None = it has several endpoints, and no batches."""
        return batch_endpoint(self.config)

    async def _open(self) -> BatchProvider:
        if self._provider is None:
            opened = open_provider(self.name, self.config)
            self._provider = await self.stack.enter_async_context(opened)
        return self._provider

    # --- out

    async def send(self, budget: Budget, found: Found) -> None:
        """Send what this pass has posted, as far as limits and budget allow."""
        apis: tuple[Api, ...] = ("chat", "completions", "embeddings")
        for api in apis:
            while found.short is None and found.delayed is None and found.stop is None:
                if not await self._send_one(api, budget, found):
                    break

    async def _send_one(self, api: Api, budget: Budget, found: Found) -> bool:
        """Make one batch and send it; whether there may be more."""
        letters, held = await self._chosen(api, budget, found)
        if not letters:
            return False
        batch = BatchRecord(
            id=uuid.uuid4().hex,
            run_id=self.sender.run_id,
            teacher=self.name,
            endpoint=self.endpoint or "",
            api=api,
            model=self.config.model or "",
            prompt_tokens=held.prompt_tokens // BYTES_A_TOKEN + 1,
            made_s=int(self.clock()),
        )
        taken = await self.outbox.make(batch, letters, self.sender)
        budget.batched = budget.batched - held + taken
        if not taken.requests:
            return True
        batch = replace(batch, questions=taken.requests)
        try:
            batch = await self._uploaded(batch, api)
            await self._create(batch, api, found)
        except RequestRefused as refusal:
            budget.batched = budget.batched - taken
            await self._too_large(batch, refusal, found)
        except TeacherRefused as refusal:
            budget.batched = budget.batched - taken
            await self.outbox.end(batch, said=str(refusal))
            found.stop = refusal
        except AttemptFailed as failure:
            # No batch can have been made: the provider has no file whose name we know, or said no.
            budget.batched = budget.batched - taken
            await self.outbox.end(batch, said=str(failure))
            found.delayed = str(failure)
        return True

    async def _chosen(self, api: Api, budget: Budget, found: Found) -> tuple[list[int], Cost]:
        """The next questions that fit into one file and into the budget, which holds them now."""
        limits = self.config.batch
        letters: list[int] = []
        held = NOTHING
        size = 0
        room = self._room()
        most_bytes = int(limits.max_file_mb * 1e6)
        async for letter in self.outbox.unsent(self.sender, api, self.config.max_attempts):
            size += letter.size + LINE_BYTES
            tokens = (held.prompt_tokens + letter.worst.prompt_tokens) // BYTES_A_TOKEN + 1
            full = size > most_bytes or (room is not None and tokens > room)
            if letters and (full or len(letters) >= self._most):
                break
            if not letters and room is not None and tokens > room and self._under_way():
                found.full = True
                break  # alone it would go, but not beside others
            found.short = budget.hold_batched(letter.worst)
            if found.short is not None:
                break
            letters.append(letter.id)
            held = held + letter.worst
        return letters, held

    def _under_way(self) -> list[BatchRecord]:
        """Batches of anybody that count against the same limit."""
        return [batch for batch in self.outbox.batches() if self._shares_limit(batch)]

    def _shares_limit(self, batch: BatchRecord) -> bool:
        return (batch.endpoint, batch.model) == (self.endpoint, self.config.model)

    def _room(self) -> int | None:
        """Tokens that may still be enqueued; None = as many as the provider takes.

        What it takes is learnt: a batch that was too much is sent again half as large, and after
        one that was not, twice as much may go.
        """
        known = [self.config.batch.max_enqueued_tokens]
        used = sum(batch.prompt_tokens for batch in self._under_way())
        past = [
            batch for batch in self.outbox.batches(open_only=False) if self._shares_limit(batch)
        ]
        for batch in reversed(past):
            if batch.status == "failed" and batch.said.startswith(ENQUEUED):
                known.append(max(1, batch.prompt_tokens // 2))
                break
            if batch.status in {"completed", "expired", "cancelled"}:
                if any(one.said.startswith(ENQUEUED) for one in past):
                    known.append(2 * batch.prompt_tokens)
                break
        limits = [limit for limit in known if limit is not None]
        return max(0, min(limits) - used) if limits else None

    async def _uploaded(self, batch: BatchRecord, api: Api) -> BatchRecord:
        """Write the file and send it; gives the batch with the provider's name of the file."""
        provider = await self._open()
        with tempfile.TemporaryDirectory(prefix="synthkd-") as folder:
            path = Path(folder) / f"synthkd-{batch.id}.jsonl"
            await self._write(batch.id, api, path)
            file_id = await provider.upload(path, path.name)
        batch = replace(batch, state="uploaded", file_id=file_id)
        await self.outbox.update(batch)
        return batch

    async def _create(self, batch: BatchRecord, api: Api, found: Found) -> None:
        """Start a batch of the file that was sent."""
        provider = await self._open()
        file_id = batch.file_id or ""
        try:
            status = await provider.create(file_id, api, self.config.batch.window, batch.id)
        except AttemptFailed as failure:
            if failure.status == 429:
                raise  # it said no
            found.delayed = str(failure)
            await self._find(batch, found)
            return
        await self._sent(batch, status)
        found.sent += 1

    async def _write(self, batch: str, api: Api, path: Path) -> None:
        url = f"/v1{PATH[api]}".encode()
        with path.open("wb") as file:
            async for key, max_tokens, body in self.outbox.letters(batch):
                name = custom_id(key, max_tokens).encode()
                file.write(
                    b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (name, url, body)
                )

    async def _sent(self, batch: BatchRecord, status: BatchStatus) -> BatchRecord:
        sent = replace(
            batch,
            state="sent",
            batch_id=status.id,
            status=status.status,
            sent_s=int(self.clock()),
        )
        await self.outbox.update(sent)
        return sent

    async def _too_large(self, batch: BatchRecord, refusal: RequestRefused, found: Found) -> None:
        """A file that was refused goes again in halves, a question that is too large alone not."""
        if batch.questions == 1 and refusal.status == 413:
            async for key, max_tokens, _ in self.outbox.letters(batch.id):
                self.refused_now.add(key)
                entry = Entry(key, max_tokens, 413, "", None, refusal.message.encode())
                outcome = Outcome(key=key, max_tokens=max_tokens, cost=NOTHING, entry=entry)
                await self.outbox.settle(batch.id, [outcome])
        await self.outbox.end(batch, said=str(refusal))
        is_small = batch.questions <= self.config.batch.max_requests >> REFUSED_SIZES
        if batch.questions == 1 or (refusal.status != 413 and is_small):
            if refusal.status != 413:
                found.stop = TeacherRefused(
                    f"teachers.{self.name}: the provider makes no batch of a file with"
                    f" {batch.questions} questions: {refusal}. What is wrong with them, or write"
                    " `mode: online`"
                )
            return
        self._most = batch.questions // 2

    # --- in

    async def resume(self, batch: BatchRecord, found: Found) -> None:
        """Settle a batch whose making was cut short."""
        if batch.state == "made":
            await self.outbox.end(batch, said="the run ended before it was sent")
        else:
            await self._find(batch, found)

    async def _find(self, batch: BatchRecord, found: Found) -> None:
        """A batch that may have been made is at the provider, or its questions go back."""
        try:
            provider = await self._open()
            status = await provider.search(batch.id, batch.file_id, batch.made_s)
        except AttemptFailed as failure:
            found.delayed = str(failure)
        except (TeacherRefused, RequestRefused) as refusal:
            found.stop = TeacherRefused(
                f"teachers.{self.name}: whether batch {batch.id} was made cannot be told:"
                f" {refusal}. See at the provider, then give it up with `synthkd batch cancel`"
            )
        else:
            if status is None:
                await self.outbox.end(batch, said="it was not made")
            else:
                await self._sent(batch, status)

    async def collect(self, batch: BatchRecord, found: Found) -> None:
        """Look at a batch that was sent, and settle it if it is over."""
        try:
            await self._look(batch, found)
        except AttemptFailed as failure:
            found.delayed = str(failure)
        except TeacherRefused as refusal:
            found.stop = found.stop or refusal
        except RequestRefused as refusal:
            found.stop = found.stop or TeacherRefused(
                f"teachers.{self.name}: {self.endpoint} refuses to tell of batch"
                f" {batch.batch_id}: {refusal}. Run again, or give it up with `synthkd batch"
                " cancel`"
            )

    async def cancel(self, batch: BatchRecord) -> str:
        """Give a batch up; says what became of it. What it has answered by now is kept.

        Raises:
            TeacherRefused, AttemptFailed: the provider says no, or nothing.
        """
        if batch.state == "made":
            await self.outbox.end(batch, said="it was given up")
            return "given up before it was sent: nothing is paid for it"
        provider = await self._open()
        if batch.state == "uploaded":
            there = await provider.search(batch.id, batch.file_id, batch.made_s)
            if there is None:
                await self.outbox.end(batch, said="it was given up")
                return "given up, the provider had not made it: nothing is paid for it"
            batch = await self._sent(batch, there)
        try:
            status = await provider.cancel(batch.batch_id or "")
        except RequestRefused:  # it is over
            status = await provider.look(batch.batch_id or "")
        if status is None:
            await self.outbox.end(batch, said="the provider knows no such batch", billed=True)
            return "the provider knows no such batch: what was held for it counts as paid"
        found = Found()
        try:
            await self._look(batch, found)
        except _AnswersGoneError:
            await self.outbox.end(batch, said="its answers are gone", billed=True)
            return "the provider has its answers no more: what was held for it counts as paid"
        if found.stop is not None:
            raise found.stop
        if found.collected:
            return "over: what it has answered is in the ledger, the rest can be asked again"
        return "the provider is cancelling it: collect it in some minutes"

    async def _look(self, batch: BatchRecord, found: Found) -> None:
        provider = await self._open()
        status = await provider.look(batch.batch_id or "")
        if status is None:
            raise TeacherRefused(
                f"teachers.{self.name}: {provider.label} knows no batch {batch.batch_id} (any"
                f" more), with {batch.questions} questions in it: look for it there, or give it up"
                f" with `synthkd batch cancel`, which counts it as paid"
            )
        batch = replace(batch, status=status.status, done=status.done, failed=status.failed)
        if not status.ended:
            await self.outbox.update(batch)
            return
        if status.status == "failed":
            await self._failed(batch, status, found)
        else:
            await self._settle(provider, batch, status, found)
        found.collected += 1

    async def _failed(self, batch: BatchRecord, status: BatchStatus, found: Found) -> None:
        """The provider did not take the file: nobody was asked."""
        provider = await self._open()
        faults = [
            f"{fault.code}{'' if fault.line is None else f' in line {fault.line}'}: "
            f"{provider.refusals.quoted(fault.message)}"
            for fault in status.faults
        ]
        said = "; ".join(faults[:3]) or "it does not say why"
        await self.outbox.end(replace(batch, said=said), said=f"the batch failed: {said}")
        if not any(fault.code == ENQUEUED for fault in status.faults):
            found.stop = found.stop or TeacherRefused(
                f"teachers.{self.name}: {provider.label} did not take batch {batch.batch_id} of"
                f" {batch.questions} questions: {said}. Nothing of it was asked or billed: mend the"
                " cause and run again, or write `mode: online`"
            )

    async def _settle(
        self, provider: BatchProvider, batch: BatchRecord, status: BatchStatus, found: Found
    ) -> None:
        # What another run bought is in that run's books.
        stats = self.stats if batch.run_id == self.sender.run_id else TeacherStats()
        collector = Collector(
            self.outbox,
            batch.id,
            label=provider.label,
            refusals=provider.refusals,
            price=self.price,
            refused_now=self.refused_now,
            stats=stats,
        )
        with tempfile.TemporaryDirectory(prefix="synthkd-") as folder:
            path = Path(folder) / "results.jsonl"
            for file_id in filter(None, (status.output_file_id, status.error_file_id)):
                if not await provider.download(file_id, path):
                    raise _AnswersGoneError(
                        f"teachers.{self.name}: {provider.label} has no file {file_id} with the"
                        f" answers of batch {batch.batch_id} (any more): look for it there, or give"
                        " the batch up with `synthkd batch cancel`, which counts it as paid"
                    )
                await collector.read(path)
        tally = collector.tally
        completed = status.status == "completed"
        notes = []
        if tally.unreadable:
            notes.append(f"{tally.unreadable} lines could not be read")
        if tally.strays:
            notes.append(f"{tally.strays} lines of no question that was still open")
        stats.attempts += await self.outbox.end(
            replace(batch, said="; ".join(notes)),
            said=f"the {status.status} batch has no line for it",
            counts=status.status != "cancelled",
            billed=completed or tally.unreadable > 0,
        )
        found.stop = found.stop or tally.stop


class _AnswersGoneError(TeacherRefused):
    """The provider knows the batch, and not the file with its answers."""
