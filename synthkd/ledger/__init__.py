"""The ledger: what was bought, what is held for attempts in the air, what each run has spent.

    ledger/__init__.py   the protocol and its values (this file)
    ledger/sqlite.py     the default: one file, `.synthkd/ledger.sqlite`, for all runs of a project
    ledger/outbox.py     questions that go out in batches; sqlite_outbox.py has them in that file
    ledger/schema.py     its tables, and how older ones become them
    ledger/codec.py      bodies made small
    ledger/place.py      where a ledger may lie, and who may read it
    ledger/faults.py     what went wrong, in words
    ledger/where.py      which entries: the conditions of the commands
    ledger/upkeep.py     looking into a ledger: stats, show, export, verify
    ledger/removal.py    taking entries out of it: prune, erase

An answer is found by the key of what was asked of whom (`synthkd.teachers.request.key_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One stored answer, or one refusal that would be a refusal again.

    A tuple, because a replay makes one for every answer: a frozen dataclass takes four times as
    long to make.
    """

    key: str
    """64 hex digits: the hash of what was asked of whom."""
    max_tokens: int | None
    """The length that was asked for, in tokens; None = no limit was given."""
    status: int
    """200, or the 4xx of a stored refusal."""
    finish: str
    """How the answer ended: `stop`, `length`, ...; empty for a refusal."""
    completion_tokens: int | None
    """What the provider says it wrote; None = it did not say."""
    reply: bytes
    """The body as it came over the wire."""

    def answers(self, max_tokens: int | None) -> bool:
        """Whether asking with this `max_tokens` today would give the same answer.

        An answer that ended by itself within the asked length would; one that was cut would only
        at the very length that cut it.
        """
        if self.max_tokens == max_tokens:
            return True
        if self.status != 200 or self.finish == "length":
            return False
        if max_tokens is None:
            return True
        return self.completion_tokens is not None and self.completion_tokens <= max_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked of whom: kept beside the answer for people, never read by a replay."""

    served_by: str
    """Who answers, as in the key."""
    model: str
    """The model that was asked for; empty = none was named."""
    asked: bytes
    """The canonical JSON whose SHA-256 is the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an attempt costs, or a run has spent."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    nano_usd: int = 0
    """Billionths of a US dollar, so that a token's price is whole; rounded up."""

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def usd(self) -> float:
        """For people; the accounts are kept in `nano_usd`."""
        return self.nano_usd / 1e9

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            nano_usd=self.nano_usd + other.nano_usd,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            requests=self.requests - other.requests,
            prompt_tokens=self.prompt_tokens - other.prompt_tokens,
            completion_tokens=self.completion_tokens - other.completion_tokens,
            nano_usd=self.nano_usd - other.nano_usd,
        )


class Ledger(Protocol):
    """What the teacher stack asks of a store. Every `async` method returns once it is durable.

    A store that fails in mid-run (a full disk, a lock, damage) raises `LedgerFailed`, and so does
    every call after it.

    Durable = survives a kill of the process. Writes are applied in the order of the calls, so a
    later one that is durable implies that the earlier ones are.
    """

    def find(self, key: str) -> Sequence[Entry]:
        """Every stored answer to this question, oldest first, at whatever lengths it was asked.

        What was stored a moment ago may be missing from the first look, never from a second.
        """
        ...

    async def store(self, entry: Entry, question: Question | None = None) -> Entry:
        """Keep an answer, unless there is one already that would be found in its place.

        The first answer stays, because rows may have been made of it; a refusal gives way.

        Args:
            entry: the answer.
            question: what it answers; without it, it can be found again by its key alone.

        Returns:
            What a replay will find: `entry` itself, or the answer that was there before.
        """
        ...

    async def open_run(self, run_id: str) -> Cost:
        """What this run has spent. Holds that a killed process left count as spent, for good."""
        ...

    async def hold(self, run_id: str, worst: Cost) -> None:
        """Set aside the worst cost of an attempt; cancelled, nothing is set aside."""
        ...

    def settle(self, run_id: str, worst: Cost, cost: Cost) -> None:
        """Release what was held for an attempt and spend what it cost.

        Queued, not awaited: it becomes durable together with the next write or at `flush`. Until
        then the hold stands, which errs on the safe side.
        """
        ...

    def add_wall(self, run_id: str, seconds: float) -> None:
        """Add to the run's wall time, so that `budget.wall_s` survives a restart; queued."""
        ...

    def note_folder(self, run_id: str, folder: str) -> None:
        """Remember where the run writes, so that its dataset can be named; queued."""
        ...

    def knows(self, run_id: str) -> bool:
        """Whether the run was ever opened here."""
        ...

    def wall_s(self, run_id: str) -> float:
        """Seconds that the run has taken over all its restarts, as far as they are durable."""
        ...

    async def flush(self) -> None:
        """Return once everything queued is durable."""
        ...

    async def close(self) -> None:
        """Flush, and release the store."""
        ...
