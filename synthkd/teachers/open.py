"""The one place where the layers of a teacher are stacked, and what a step sees of a teacher."""

from __future__ import annotations

from dataclasses import dataclass

from synthkd.rows import Fields
from synthkd.teachers.request import Completion, Request, Teacher


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

    async def complete(self, request: Request) -> Completion:
        """Ask through every layer."""
        return await self.stack.complete(request)
