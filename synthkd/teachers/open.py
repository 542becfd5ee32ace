"""The one place where the layers of a teacher are stacked, and what a step sees of a teacher.

In short, for whoever wants to ask:

    async with open_teachers(config.teachers, base=folder, ...) as gateway:
        await gateway.teachers["main"].complete(request)
"""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from synthkd.config import BudgetConfig, LocalConfig, Price, TeacherConfig
from synthkd.errors import UserError
from synthkd.ledger.outbox import LedgerWithOutbox, Sender
from synthkd.rows import Fields
from synthkd.teachers.batches.dispatch import Dispatch
from synthkd.teachers.batches.posting import Awaited, Posting, UnlessUnderWay
from synthkd.teachers.batches.run import Batches
from synthkd.teachers.budget import Budget, Budgeted, Purse
from synthkd.teachers.checks import check_teachers, recorded_file
from synthkd.teachers.closing import Closing, Draining
from synthkd.teachers.concurrency import CEILING, Adaptive, Concurrency, Fixed
from synthkd.teachers.embeddings import Embedding, Gathering
from synthkd.teachers.endpoint import http_identity
from synthkd.teachers.layers import Cached, InAir, Limited, Retrying, Sleep
from synthkd.teachers.limits import Limits
from synthkd.teachers.patience import Patience
from synthkd.teachers.prices import price_for
from synthkd.teachers.request import Completion, Identity, Request, Teacher
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.students import (
    InProcess,
    NobodyYet,
    OpenStudent,
    find_student,
    is_simulated,
    with_student_of,
)
from synthkd.teachers.weights import identities_of_weights

if TYPE_CHECKING:
    from synthkd.teachers.vllm.fleet import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTeacher:
    """A teacher that can be asked: the whole stack, and what every request to it carries."""

    name: str
    model: str
    params: Fields
    """Sampling parameters, without `max_tokens`."""
    max_tokens: int | None
    simulated: bool
    stack: Teacher
    embedding: Teacher | None = None
    """The stack for texts that become vectors or scores; None = this teacher makes none."""
    stats: TeacherStats = field(default_factory=TeacherStats)
    price: Price | None = None
    """None = unknown."""
    batch: bool = False
    """Whether its questions go out in batches, at the price of those."""
    concurrency: int = CEILING
    """Requests in the air at once, at most."""
    is_there: bool = True
    """False of the student of the round before, while there is none."""

    async def complete(self, request: Request) -> Completion:
        """Ask through every layer."""
        return await self.stack.complete(request)

    def embedder(self, rank: int = 0) -> Embedding:
        """Who turns texts into vectors, through every layer.

        Raises:
            UserError: it is recorded or simulated, and makes none.
        """
        if self.embedding is None:
            raise UserError(
                f"teachers.{self.name} makes no vectors: only one with an `endpoint` does"
            )
        return Embedding(self.embedding, model=self.model, params=self.params, rank=rank)

    async def score(self, request: Request) -> Completion:
        """What a reward model makes of it, through every layer.

        Raises:
            UserError: it is recorded or simulated, or asked in batches, and scores nothing.
        """
        if self.embedding is None or self.batch:
            raise UserError(
                f"teachers.{self.name} is no reward model: only one with an `endpoint`, and without"
                f" `mode: batch`, is asked for scores"
            )
        return await self.embedding.complete(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """All teachers of a run, and the budget that they share."""

    teachers: Mapping[str, OpenTeacher]
    budget: Budget
    closing: Closing
    batches: Batches
    purse: Purse
    """Pays from the same budget for what is no request to a teacher."""
    open_more: Callable[[str, TeacherConfig], OpenTeacher]
    """Another teacher, such as a student that a provider has trained; it joins `teachers`."""
    take_up: Callable[[Path], Awaitable[None]]
    """Have the student in a folder answer for all teachers with `student: {round: previous}`."""
    fleets: Mapping[str, Fleet] = field(default_factory=dict)
    """The vLLM servers of the run, by what they serve."""
    students: Sequence[InProcess] = ()
    """The teachers that answer in this process."""

    @property
    def starting(self) -> list[str]:
        """How the start of each server that is not up goes, in words."""
        return [said for fleet in self.fleets.values() if (said := fleet.said)]

    async def release(self) -> None:
        """Stop the run's own servers and models, so that a GPU and memory are free.

        A later question starts them again.
        """
        for fleet in self.fleets.values():
            await fleet.stop()
        for student in self.students:
            await student.free()


@asynccontextmanager
async def open_teachers(
    configs: Mapping[str, TeacherConfig],
    *,
    base: Path,
    ledger: LedgerWithOutbox,
    run_id: str,
    budget: BudgetConfig,
    wordless: Collection[str] = (),
    offline: bool = False,
    retry_failed: bool = False,
    refused_now: set[str] | None = None,
    sleep: Sleep = asyncio.sleep,
    open_student: OpenStudent | None = None,
) -> AsyncIterator[Gateway]:
    """Open every teacher of a pipeline; the ledger stays the caller's to close.

    Args:
        configs: the pipeline's `teachers`.
        base: the pipeline file's folder, where its paths are looked up.
        ledger: what was bought, and by whom.
        run_id: the run that pays.
        budget: the run's limits, over all its restarts.
        wordless: those that give vectors or scores alone, and no tokens.
        offline: answer from the ledger alone; no endpoint is reached and no key is needed.
        retry_failed: ask again what was refused for good.
        refused_now: keys that were refused since the command began: for these that was done.
        sleep: how waiting for a retry is done.
        open_student: opens a teacher that is a student; needed where one is.

    Raises:
        UserError: a teacher that cannot be opened, or that the budget cannot be kept for.
    """
    check_teachers(configs, base=base, budget=budget, offline=offline, wordless=wordless)
    answering = await identities_of_weights(configs, base, offline)
    shared = _Shared(
        run_id=run_id,
        ledger=ledger,
        budget=Budget(budget, await ledger.open_run(run_id)),
        closing=Closing(ledger),
        offline=offline,
        retry_failed=retry_failed,
        refused_now=set() if refused_now is None else refused_now,
        sleep=sleep,
        identities=answering,
        open_student=open_student,
    )
    async with AsyncExitStack() as stack:
        teachers = {
            name: shared.stacked(name, config, base, stack) for name, config in configs.items()
        }

        async def take_up(folder: Path) -> None:
            """The weights are who answers, for the ledger; counters go on."""
            for name, config in with_student_of(folder, configs).items():
                shared.identities.update(await identities_of_weights({name: config}, base, offline))
                stats = teachers[name].stats
                teachers[name] = shared.stacked(name, config, base, stack, stats)

        try:
            yield Gateway(
                teachers=teachers,
                budget=shared.budget,
                closing=shared.closing,
                batches=Batches(ledger, run_id, shared.dispatches, shared.budget, shared.awaited),
                purse=Purse(shared.budget, ledger, run_id),
                open_more=lambda n, c: teachers.setdefault(n, shared.stacked(n, c, base, stack)),
                fleets=shared.fleets,
                students=shared.students,
                take_up=take_up,
            )
        finally:
            await ledger.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What the teachers of one run share."""

    run_id: str
    ledger: LedgerWithOutbox
    budget: Budget
    closing: Closing
    offline: bool
    retry_failed: bool
    refused_now: set[str]
    sleep: Sleep
    identities: dict[str, Identity]
    """Who answers, of the teachers whose weights are here."""
    open_student: OpenStudent | None
    students: list[InProcess] = field(default_factory=list)
    fleets: dict[str, Fleet] = field(default_factory=dict)
    """The run's own servers, by what they serve."""
    in_air: InAir = field(default_factory=dict)
    awaited: Awaited = field(default_factory=Awaited)
    dispatches: list[Dispatch] = field(default_factory=list)
    passage: str = field(default_factory=lambda: uuid.uuid4().hex)

    def stacked(
        self,
        name: str,
        config: TeacherConfig,
        base: Path,
        stack: AsyncExitStack,
        stats: TeacherStats | None = None,
    ) -> OpenTeacher:
        """One teacher, all its layers on each other; `stats` of whom it takes the place of."""
        price = price_for(config)
        stats = stats or TeacherStats(nano_usd=None if price is None else 0)
        stats.simulated = is_simulated(config, base)
        if config.student is not None and config.student.folder is None:
            return _nobody_yet(name, config, stats)
        retrying, identity = self._asking(name, config, stats, base, stack)
        asked: Teacher = retrying
        embedded: Teacher | None = None
        if config.kind == "http":
            asked, embedded = self._with_batches(name, config, identity, retrying, stats, stack)
        return OpenTeacher(
            name=name,
            model=config.asked_model,
            params=config.sampling,
            max_tokens=config.max_tokens,
            simulated=stats.simulated,
            stack=self._kept(asked, identity, stats),
            embedding=None if embedded is None else self._kept(embedded, identity, stats),
            stats=stats,
            price=price,
            batch=config.mode == "batch",
            concurrency=_slots(config),
        )

    def _asking(
        self,
        name: str,
        config: TeacherConfig,
        stats: TeacherStats,
        base: Path,
        stack: AsyncExitStack,
    ) -> tuple[Teacher, Identity]:
        """Who asks until there is an answer, within budget and limits; and who answers."""
        concurrency: Concurrency
        if config.concurrency == "auto" and config.student is None:
            concurrency = stats.concurrency = Adaptive(CEILING)
        else:
            concurrency = Fixed(_slots(config))
        limits = Limits(concurrency, config.requests_per_minute, config.tokens_per_minute)
        self.closing.limits.append(limits)
        fleet = self.fleet(name, config, base, stack)
        attempt: Teacher
        if config.student is not None:
            attempt, identity = self.student(name, config.student, base, stack)
        elif fleet is None:
            attempt, identity = _open_attempt(name, config, base, stack, stats.concurrency)
        else:
            tell = None if stats.concurrency is None else stats.concurrency.told_load
            attempt = _Late(functools.partial(fleet.opened, config, tell), stack)
            identity = self.identities[name]
        budgeted = Budgeted(
            attempt,
            budget=self.budget,
            price=price_for(config),
            ledger=self.ledger,
            run_id=self.run_id,
            stats=stats,
        )
        limited: Teacher = Limited(budgeted, limits)
        patience_s = config.patience_s
        if fleet is not None:
            limited = fleet.awaited_by(limited)
            patience_s = patience_s or fleet.patience_s
        retrying = Retrying(
            limited,
            max_attempts=config.max_attempts,
            patience=Patience(patience_s),
            sleep=self.sleep,
        )
        return retrying, identity

    def _kept(self, asked: Teacher, identity: Identity, stats: TeacherStats) -> Teacher:
        """Whatever it answers is in the ledger, also if the run ends meanwhile."""
        cached = Cached(
            asked,
            ledger=self.ledger,
            identity=identity,
            stats=stats,
            in_air=self.in_air,
            offline=self.offline,
            retry_failed=self.retry_failed,
            refused_now=self.refused_now,
        )
        return Draining(cached, self.closing)

    def _with_batches(
        self,
        name: str,
        config: TeacherConfig,
        identity: Identity,
        retrying: Teacher,
        stats: TeacherStats,
        stack: AsyncExitStack,
    ) -> tuple[Teacher, Teacher]:
        """Who is asked on a miss, and who makes vectors on one."""
        sender = Sender(run_id=self.run_id, passage=self.passage, teacher=name)
        self.dispatches.append(
            Dispatch(
                name=name,
                config=config,
                price=price_for(config),
                outbox=self.ledger.outbox,
                sender=sender,
                stats=stats,
                refused_now=self.refused_now,
                stack=stack,
            )
        )
        if config.mode == "batch":
            posting = Posting(
                self.ledger,
                sender=sender,
                identity=identity,
                price=price_for(config),
                length=config.length_param,
                max_attempts=config.max_attempts,
                stats=stats,
                awaited=self.awaited,
            )
            return posting, posting
        unless = functools.partial(
            UnlessUnderWay,
            outbox=self.ledger.outbox,
            identity=identity,
            stats=stats,
            awaited=self.awaited,
        )
        return unless(retrying), unless(Gathering(retrying))

    def student(
        self, name: str, config: LocalConfig, base: Path, stack: AsyncExitStack
    ) -> tuple[Teacher, Identity]:
        """A model of this process."""
        assert self.open_student is not None  # noqa: S101  whoever has students says how
        opened = self.open_student(config, find_student(name, config, base))
        self.students.append(opened)
        stack.push_async_callback(opened.free)
        return opened, self.identities[name]

    def fleet(
        self, name: str, config: TeacherConfig, base: Path, stack: AsyncExitStack
    ) -> Fleet | None:
        """The servers of the teacher's `vllm` block, one set for all with the same block."""
        if config.vllm is None:
            return None
        from synthkd.teachers.vllm.fleet import Fleet, block_of

        same = config.vllm.model_dump_json()
        if same not in self.fleets:
            block = block_of(name, config.vllm, base, offline=self.offline)
            fleet = self.fleets[same] = Fleet(block, self.run_id)
            stack.push_async_callback(fleet.stop)
        return self.fleets[same]


def _nobody_yet(name: str, config: TeacherConfig, stats: TeacherStats) -> OpenTeacher:
    """The student of the round before, in round 0."""
    return OpenTeacher(
        name=name,
        model=config.asked_model,
        params=config.sampling,
        max_tokens=config.max_tokens,
        simulated=stats.simulated,
        stack=NobodyYet(name),
        stats=stats,
        price=price_for(config),
        concurrency=_slots(config),
        is_there=False,
    )


def _slots(config: TeacherConfig) -> int:
    """Requests in the air at once, at most."""
    if config.concurrency != "auto":
        return config.concurrency
    # Of a student one batch is answered while another gathers.
    return CEILING if config.student is None else 2 * config.student.batch_size


def _open_attempt(
    name: str,
    config: TeacherConfig,
    base: Path,
    stack: AsyncExitStack,
    concurrency: Concurrency | None,
) -> tuple[Teacher, Identity]:
    """Whoever makes one attempt, and who that is for the ledger."""
    if config.recorded is not None:
        from synthkd.teachers.recorded import RecordedTeacher

        recorded = RecordedTeacher(config.recorded, recorded_file(config.recorded, base))
        return recorded, recorded.identity
    if config.simulated is not None:
        from synthkd.teachers.simulated import open_world

        world = open_world(config.simulated, base)
        return world, world.identity

    def opened() -> AbstractAsyncContextManager[Teacher]:
        from synthkd.teachers.http import open_http

        tell = None if concurrency is None else concurrency.told_load
        return open_http(name, config, tell)

    return _Late(opened, stack), http_identity(config)


class _Late:
    """A teacher that is opened by its first request: a replay never makes one."""

    def __init__(
        self, opened: Callable[[], AbstractAsyncContextManager[Teacher]], stack: AsyncExitStack
    ) -> None:
        self._opened = opened
        self._stack = stack
        self._opening = asyncio.Lock()
        self._teacher: Teacher | None = None

    async def complete(self, request: Request) -> Completion:
        if self._teacher is None:
            await self._open()
        assert self._teacher is not None  # noqa: S101  just opened
        return await self._teacher.complete(request)

    async def _open(self) -> None:
        async with self._opening:
            if self._teacher is None:
                self._teacher = await self._stack.enter_async_context(self._opened())
