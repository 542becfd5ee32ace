"""What one teacher was asked and what it cost, as plain counters that the layers add to."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

from synthkd.config import Price
from synthkd.manifest import TeacherCounts
from synthkd.teachers.prices import FREE, nano_usd
from synthkd.teachers.request import Usage

LATENCY_SAMPLES = 1000
"""The median of the last thousand says how the teacher is now, in 8 kB."""


@dataclass(slots=True, kw_only=True)
class TeacherStats:
    """Counts since the teacher was opened; see `TeacherCounts` for what each one means."""

    asked: int = 0
    hits: int = 0
    attempts: int = 0
    rate_limited: int = 0
    failed: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    nano_usd: int | None = None
    """None = the price is unknown."""
    answered_prompt_tokens: int = 0
    """Tokens of all answers, those from the ledger included: what the answers are worth."""
    answered_completion_tokens: int = 0
    answered_without_usage: int = 0
    """Answers of which the provider did not say how many tokens they are."""
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCY_SAMPLES))
    simulated: bool = False

    def count_answer(self, usage: Usage) -> None:
        """Add an answer, bought or found, to what the answers are worth."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        self.answered_prompt_tokens += prompt or 0
        self.answered_completion_tokens += completion or 0
        self.answered_without_usage += prompt is None or completion is None

    def worth_nano_usd(self, price: Price | None) -> int | None:
        """What all answers would cost if they were bought now.

        None = unknown: the price is, or the tokens of an answer that has one.
        """
        if price is None or (self.answered_without_usage and price != FREE):
            return None
        return nano_usd(
            price,
            prompt_tokens=self.answered_prompt_tokens,
            completion_tokens=self.answered_completion_tokens,
        )

    def counts(self) -> TeacherCounts:
        """A snapshot for displays and the manifest."""
        return TeacherCounts(
            asked=self.asked,
            hits=self.hits,
            attempts=self.attempts,
            rate_limited=self.rate_limited,
            failed=self.failed,
            in_flight=self.in_flight,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=None if self.nano_usd is None else self.nano_usd / 1e9,
            latency_s=statistics.median(self.latencies_s) if self.latencies_s else None,
            simulated=self.simulated,
        )
