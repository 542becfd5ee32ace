"""A provider whose jobs take 100 s of a clock that waiting moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from synthkd.fake_teacher import FakeTeacher
from tests.teachers.batches.driving import DELAY_S, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(clock: Clock) -> AsyncIterator[FakeTeacher]:
    async with FakeTeacher(job_delay_s=DELAY_S, clock=clock).serve() as teacher:
        yield teacher


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own retries wait half a second and more."""
    monkeypatch.setattr("synthkd.teachers.sdk.RETRIES", 0)
