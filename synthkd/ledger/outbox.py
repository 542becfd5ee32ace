"""The outbox: questions that go out in batches, and the batches that they are in.

A letter is one question. It is posted, then either taken back or put into a batch; from that moment
on its worst cost is held, until the batch is collected. Everything is written down before the call
that needs it, so a kill between any two calls leaves what the next run has to know:

    made       its letters are chosen and their money is held; the file may be on its way
    uploaded   the file is at the provider; the batch may have been created
    sent       the provider has named the batch
    ended      every letter was answered, refused, or is back in the outbox
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from synthkd.ledger import Cost, Entry, Ledger, Question

State = Literal["made", "uploaded", "sent", "ended"]


class Letter(NamedTuple):
    """One question on its way out."""

    key: str
    max_tokens: int | None
    api: str
    """chat, completions or embeddings."""
    body: bytes
    """What goes over the wire."""
    worst: Cost
    """The most that one attempt costs."""
    question: Question


class Posted(NamedTuple):
    """What the outbox says of a question."""

    batch: str | None
    """The batch that it is in; None = it has not left."""
    attempts: int
    """How often it came back without an answer."""
    said: str
    """Why, the last time."""
    answered: bool = False
    """The ledger has an answer since a moment ago: nothing was posted."""


class Unsent(NamedTuple):
    """A letter that has not left."""

    id: int
    worst: Cost
    size: int
    """Bytes of its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who posts: a teacher in one pass of a run."""

    run_id: str
    """The run that pays."""
    passage: str
    """One pass of the rows through the steps: what an earlier one wanted is not sent any more."""
    teacher: str
    """Its name in the pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch, as the ledger has it."""

    id: str
    """Ours, 32 hex digits: it goes out with the batch, which is found again by it."""
    run_id: str
    """The run that pays."""
    teacher: str
    """Its name in the pipeline."""
    endpoint: str
    """The base URL that it was sent to."""
    api: str
    model: str
    state: State = "made"
    status: str = ""
    """As the provider calls it; empty = it has not said."""
    file_id: str | None = None
    """The provider's name of the file with the questions."""
    batch_id: str | None = None
    """The provider's name of the batch."""
    questions: int = 0
    prompt_tokens: int = 0
    """Estimated: what the batch takes of the tokens that may be enqueued."""
    done: int = 0
    """Questions that are answered by now, as the provider says."""
    failed: int = 0
    made_s: int = 0
    """Seconds since 1970."""
    sent_s: int | None = None
    ended_s: int | None = None
    said: str = ""
    """What went wrong, in the provider's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one letter."""

    key: str
    max_tokens: int | None
    cost: Cost
    entry: Entry | None = None
    """The answer, or the refusal; None = it goes back into the outbox."""
    said: str = ""
    """Why there is none."""
    counts: bool = True
    """Whether it was an attempt of the question's own."""


class Outbox(Protocol):
    """What waits to be sent and what is under way. Every `async` method returns once durable."""

    @property
    def is_empty(self) -> bool:
        """Whether no question is in it, sent or not."""
        ...

    def find(self, key: str, max_tokens: int | None) -> Posted | None:
        """What is known of this question; None = it was never posted, or is settled."""
        ...

    async def post(self, letter: Letter, sender: Sender) -> Posted:
        """Put a question in, or claim the one that is there and has not left."""
        ...

    async def take_back(self, key: str, max_tokens: int | None) -> Posted | None:
        """Take out a question that has not left; returns what is there in spite of it."""
        ...

    def unsent(self, sender: Sender, api: str, max_attempts: int) -> AsyncIterator[Unsent]:
        """The questions of this sender that have not left, oldest first."""
        ...

    async def make(self, batch: BatchRecord, letters: Sequence[int], sender: Sender) -> Cost:
        """Put letters into a new batch: from now on their worst cost is held.

        Returns:
            What is held for it; of no requests, if others have taken all of its letters.
        """
        ...

    async def update(self, batch: BatchRecord) -> None:
        """Write down what is known of a batch."""
        ...

    def letters(self, batch: str) -> AsyncIterator[tuple[str, int | None, bytes]]:
        """Key, max_tokens and body of each letter in a batch."""
        ...

    def worst(self, batch: str, key: str, max_tokens: int | None) -> tuple[str, Cost] | None:
        """The API and the hold of a letter in a batch; None = it is not in it, or was settled."""
        ...

    async def settle(self, batch: str, outcomes: Sequence[Outcome]) -> int:
        """Store answers, spend what they cost, and take the letters out: all of it or nothing.

        Returns:
            How many letters were still in the batch.
        """
        ...

    async def end(
        self, batch: BatchRecord, *, said: str, counts: bool = False, billed: bool = False
    ) -> int:
        """The batch is over: letters that are left in it go back into the outbox.

        Args:
            batch: with what the provider said last.
            said: why they have no answer.
            counts: whether that was an attempt of theirs.
            billed: whether they may have been charged for: then their hold is spent.

        Returns:
            How many letters were left.
        """
        ...

    async def forget(self, run_id: str) -> None:
        """Take out what a run has not sent: it is over, or wants other things now."""
        ...

    def batches(self, *, open_only: bool = True) -> list[BatchRecord]:
        """The batches of this ledger, oldest first."""
        ...

    def held(self, batch: str) -> Cost:
        """What is held for the letters that are in a batch still."""
        ...

    def unsent_of(self, run_id: str) -> int:
        """How many questions of a run have not left."""
        ...

    def books(self, run_id: str) -> tuple[Cost, Cost]:
        """What a run has spent, and what is held for its batches."""
        ...


class LedgerWithOutbox(Ledger, Protocol):
    """A ledger from which questions can go out in batches."""

    @property
    def outbox(self) -> Outbox:
        """What waits to be sent and what is under way."""
        ...

    def alone(self, run_id: str) -> AbstractContextManager[None]:
        """Be the only process that works for a run.

        Raises:
            BlockingIOError: another one does.
        """
        ...
