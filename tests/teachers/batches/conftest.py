"""A provider whose batches take 100 s of a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from synthkd.fake_teacher import FakeTeacher, in_thread
from tests.teachers.batches.driving import DELAY_S, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[FakeTeacher]:
    with in_thread(FakeTeacher(batch_delay_s=DELAY_S, clock=clock)) as teacher:
        yield teacher


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own retries wait half a second and more."""
    monkeypatch.setattr("synthkd.teachers.sdk.RETRIES", 0)
