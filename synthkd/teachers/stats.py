"""What one teacher was asked and what it cost, as plain counters that the layers add to."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

from synthkd.manifest import TeacherCounts
from synthkd.teachers.concurrency import Concurrency

LATENCY_SAMPLES = 1000
"""The median of the last thousand says how the teacher is now, in 8 kB."""
MOST_SERVED = 20
"""Names that are kept of who answered: who sees so many knows that there are many."""


@dataclass(slots=True, kw_only=True)
class TeacherStats:
    """Counts since the teacher was opened; see `TeacherCounts` for what each one means."""

    asked: int = 0
    hits: int = 0
    attempts: int = 0
    rate_limited: int = 0
    failed: int = 0
    waiting: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    reasoning_tokens: int = 0
    nano_usd: int | None = None
    """None = the price is unknown."""
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCY_SAMPLES))
    simulated: bool = False
    served: dict[tuple[str, str | None], None] = field(default_factory=dict)
    """Model and fingerprint of whoever answered, in the order in which they appeared."""

    concurrency: Concurrency | None = None
    """What adapts how many are in the air; None = that is fixed."""

    def saw(self, model: str, fingerprint: str | None) -> None:
        """Note who answered."""
        who = (model, fingerprint)
        if who not in self.served and len(self.served) < MOST_SERVED:
            self.served[who] = None

    def counts(self) -> TeacherCounts:
        """A snapshot for displays and the manifest."""
        return TeacherCounts(
            asked=self.asked,
            hits=self.hits,
            attempts=self.attempts,
            rate_limited=self.rate_limited,
            failed=self.failed,
            waiting=self.waiting,
            in_flight=self.in_flight,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_prompt_tokens=self.cached_prompt_tokens,
            reasoning_tokens=self.reasoning_tokens,
            usd=None if self.nano_usd is None else self.nano_usd / 1e9,
            latency_s=statistics.median(self.latencies_s) if self.latencies_s else None,
            simulated=self.simulated,
            served=[f"{model} ({state})" if state else model for model, state in self.served],
            concurrency=None if self.concurrency is None else self.concurrency.limit,
        )
