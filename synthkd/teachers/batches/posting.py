"""What stands below Cached where questions go out in batches, and where some are under way.

    Cached( Posting )                        mode: batch
    Cached( UnlessUnderWay( Retrying( ... )))    mode: online

Neither buys anything: `Posting` puts the question into the outbox, from where `Dispatch` sends it,
and raises `Waiting`; `UnlessUnderWay` lets through what is not under way in a batch that was sent
before the teacher became an online one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from synthkd.config import Price
from synthkd.errors import Unanswered, Waiting
from synthkd.ledger import Question
from synthkd.ledger.outbox import LedgerWithOutbox, Letter, Outbox, Posted, Sender
from synthkd.teachers.budget import worst_cost
from synthkd.teachers.request import Completion, Identity, Request, Teacher, asked_of, key_of
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.wire import parse_reply, wire_body


@dataclass(slots=True)
class Awaited:
    """What one pass waits for, over all teachers."""

    batches: set[str] = field(default_factory=set)
    """Our ids of batches that are under way."""
    unsent: int = 0
    """Questions that have not left."""


class Posting:
    """Put the question into the outbox; the row comes back when it is answered.

    Args:
        ledger: where questions are put.
        sender: who posts.
        identity: who answers, for the key.
        price: for the worst cost; None = unknown.
        length: how the provider names the longest answer.
        max_attempts: what came back so often without an answer is given up.
        stats: counts what waits.
        awaited: shared by all teachers of the run.
    """

    def __init__(
        self,
        ledger: LedgerWithOutbox,
        *,
        sender: Sender,
        identity: Identity,
        price: Price | None,
        length: str,
        max_attempts: int,
        stats: TeacherStats,
        awaited: Awaited,
    ) -> None:
        self.ledger = ledger
        self.outbox = ledger.outbox
        self.sender = sender
        self.identity = identity
        self.price = price
        self.length = length
        self.max_attempts = max_attempts
        self.stats = stats
        self.awaited = awaited

    async def complete(self, request: Request) -> Completion:
        """Answer only if another run's batch has come in since Cached looked.

        Raises:
            Waiting: the question is in the outbox, or under way.
            Unanswered: it came back too often without an answer.
        """
        key = key_of(request, self.identity)
        posted = self.outbox.find(key, request.max_tokens)
        if posted is None or posted.batch is None:
            if posted is not None and posted.attempts >= self.max_attempts:
                raise Unanswered(
                    f"no answer after {posted.attempts} attempts in batches; the last failed: "
                    f"{posted.said}. Running again asks again"
                )
            posted = await self.outbox.post(self._letter(key, request), self.sender)
        if not posted.answered:
            raise _waiting(posted, self.stats, self.awaited)
        limit = request.max_tokens
        kept = next(e for e in self.ledger.find(key) if e.status == 200 and e.answers(limit))
        return parse_reply(request.api, kept.reply)

    def _letter(self, key: str, request: Request) -> Letter:
        model = request.body.get("model")
        return Letter(
            key=key,
            max_tokens=request.max_tokens,
            api=request.api,
            body=wire_body(request, length=self.length),
            worst=worst_cost(request, self.price, batch=True),
            question=Question(
                served_by=self.identity.served_by,
                model=model if isinstance(model, str) else "",
                asked=asked_of(request, self.identity),
            ),
        )


class UnlessUnderWay:
    """Ask, unless the same question is under way in a batch: it would be paid for twice.

    Args:
        inner: is asked.
        outbox: the ledger's.
        identity: who answers, for the key.
        stats: counts what waits.
        awaited: shared by all teachers of the run.
    """

    def __init__(
        self,
        inner: Teacher,
        outbox: Outbox,
        *,
        identity: Identity,
        stats: TeacherStats,
        awaited: Awaited,
    ) -> None:
        self.inner = inner
        self.outbox = outbox
        self.identity = identity
        self.stats = stats
        self.awaited = awaited

    async def complete(self, request: Request) -> Completion:
        """Answer.

        Raises:
            Waiting: the question is under way.
        """
        if not self.outbox.is_empty:
            key = key_of(request, self.identity)
            if self.outbox.find(key, request.max_tokens) is not None:
                posted = await self.outbox.take_back(key, request.max_tokens)
                if posted is not None:
                    raise _waiting(posted, self.stats, self.awaited)
        return await self.inner.complete(request)


def _waiting(posted: Posted, stats: TeacherStats, awaited: Awaited) -> Waiting:
    stats.waiting += 1
    if posted.batch is None:
        awaited.unsent += 1
        return Waiting("the question has not been sent yet")
    awaited.batches.add(posted.batch)
    return Waiting(f"the question is under way in batch {posted.batch[:12]}")
