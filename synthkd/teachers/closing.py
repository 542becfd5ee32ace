"""How the asking of a run ends, whatever ends it: what has left is paid for, so it is awaited."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from synthkd.errors import RunStopped
from synthkd.ledger import Ledger
from synthkd.teachers.limits import Limits
from synthkd.teachers.request import Completion, Request, Teacher

GRACE_S = 10.0
"""How long answers in the air are waited for when the run ends early."""


class Closing:
    """Ends the asking of a run gently: nothing leaves any more, what is in the air is awaited."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._ledger = ledger
        self.limits: list[Limits] = []

    @property
    def in_air(self) -> int:
        """Attempts that have left and are not answered."""
        return sum(limits.in_use for limits in self.limits)

    async def drain(self, reason: RunStopped | None = None) -> None:
        """Return when nothing is in the air and every answer is stored, or after `GRACE_S`.

        Args:
            reason: raised to whoever asks from now on; None = they wait until they are cancelled.
        """
        emptied = [limits.close(reason) for limits in self.limits]
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                for event in emptied:
                    await event.wait()
        if self._ledger is not None:
            await self._ledger.flush()


class Draining:
    """The outermost layer: what stops the run is raised when what is in the air has come in."""

    def __init__(self, inner: Teacher, closing: Closing) -> None:
        self._inner = inner
        self._closing = closing

    async def complete(self, request: Request) -> Completion:
        """Answer."""
        try:
            return await self._inner.complete(request)
        except RunStopped as stop:
            # Raising cancels everything else, and what is in the air is paid for.
            await self._closing.drain(stop)
            raise
