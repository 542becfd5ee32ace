"""A teacher with `mode: batch`: the run stops, is run again, and ends as the online one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkd.errors import WaitingForBatch
from synthkd.fake_teacher import FakeTeacher
from synthkd.pipeline import read_stopped
from tests.runs import tree_bytes
from tests.teachers.batches.driving import ROWS, Clock, online, pipeline


async def test_run_again_until_it_is_done_gives_the_same_as_online(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    batched = pipeline(tmp_path, provider)
    first = {"generate": 12, "dedup.exact": 0, "again": 0}
    second = {"generate": 0, "dedup.exact": 0, "again": 27}
    for asking, waiting in ((27, first), (54, second)):
        with pytest.raises(WaitingForBatch, match="1 batch:"):
            await batched.run()
        stopped = read_stopped(tmp_path / "out")
        assert stopped is not None
        assert (stopped.exit_code, stopped.counts.read) == (6, ROWS)
        assert stopped.counts.waiting == ROWS - stopped.counts.rejected
        assert {name: step.waiting for name, step in stopped.funnel.items()} == waiting
        with pytest.raises(WaitingForBatch):
            await batched.run()  # nothing is sent twice
        clock.now += 100
        assert provider.batched == asking - 27
    manifest = await batched.run()
    assert provider.batched == 54
    spent = provider.billed_requests
    _, wanted = await online(tmp_path, provider)
    assert provider.billed_requests == 2 * spent
    assert tree_bytes(tmp_path / "out" / "dataset") == wanted
    assert (manifest.spend.requests, manifest.counts.waiting) == (54, 0)
    assert not (tmp_path / "out" / "stopped").exists()


async def test_wait_stays_until_it_is_done(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    manifest = await pipeline(tmp_path, provider).run(wait=True, sleep=clock.sleep)
    complete, wanted = await online(tmp_path, provider)
    assert tree_bytes(tmp_path / "out" / "dataset") == wanted
    assert manifest.counts == complete.counts
    assert manifest.spend.usd is not None
    assert complete.spend.usd is not None
    assert manifest.spend.usd == pytest.approx(complete.spend.usd / 2)
    assert clock.now == 1_000 + 4 * 60  # two rounds of 100 s, looked at every minute
