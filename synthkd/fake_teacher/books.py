"""The books of a fake teacher: what came in, and what was billed.

They tell what a client cannot know, such as answers that were billed and lost on the way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

REMEMBERED = 100
"""So many of the last bodies and headers are kept for tests to look at."""


class Books:
    """Counts of one teacher, all from 0 at its start."""

    def __init__(self) -> None:
        self.requests = 0
        """Asked for answers, whatever came of it."""
        self.batched = 0
        """Lines of batches that were worked on; they are not among `requests`."""
        self.batch_calls = 0
        """Calls to files, batches and fine-tuning jobs."""
        self.billed_requests = 0
        self.prompt_tokens = 0
        """Billed."""
        self.completion_tokens = 0
        """Billed, reasoning included."""
        self.in_flight = 0
        self.most_in_flight = 0
        self.bodies: Counter[bytes] = Counter()
        """SHA-256 of a body -> how often it was asked."""
        self.statuses: Counter[str] = Counter()
        """Status -> replies; `none` counts those that never arrived whole."""
        self.faults: Counter[str] = Counter()
        """Fault -> attempts that met it."""
        self.seen: deque[Mapping[str, Any]] = deque(maxlen=REMEMBERED)
        """The last bodies, parsed."""
        self.headers: deque[Mapping[str, str]] = deque(maxlen=REMEMBERED)
        """The headers that came with the last bodies."""
        self._milestones: list[tuple[int, asyncio.Event]] = []

    @property
    def billed_tokens(self) -> int:
        """Prompts and answers."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def stats(self) -> dict[str, Any]:
        """What /stats says."""
        return {
            "requests": self.requests,
            "batched": self.batched,
            "batch_calls": self.batch_calls,
            "billed_requests": self.billed_requests,
            "billed_tokens": self.billed_tokens,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "statuses": dict(self.statuses),
            "faults": dict(self.faults),
            "bodies": {digest.hex(): count for digest, count in dict(self.bodies).items()},
        }

    async def reached(self, requests: int) -> None:
        """Wait until so many requests came in; in the event loop that serves."""
        event = asyncio.Event()
        self._milestones.append((requests, event))
        self._mark()
        await event.wait()

    def arrived(self, digest: bytes, headers: Mapping[str, str]) -> int:
        """Count a request, which is in flight from now on, until `left`.

        Returns how often its body was asked before.
        """
        before = self.bodies[digest]
        self.requests += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.bodies[digest] = before + 1
        self.headers.append(headers)
        if self._milestones:
            self._mark()
        return before

    def left(self, status: str) -> None:
        """Count what became of a request."""
        self.in_flight -= 1
        self.statuses[status] += 1

    def bill(self, usage: Mapping[str, Any]) -> None:
        """Charge for one answer."""
        self.billed_requests += 1
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage.get("completion_tokens", 0)

    def _mark(self) -> None:
        for requests, event in self._milestones:
            if self.requests >= requests:
                event.set()
        self._milestones = [each for each in self._milestones if not each[1].is_set()]
