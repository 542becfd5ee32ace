"""A teacher with `mode: batch`: the run stops, is run again, and ends as the online one does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkd.errors import WaitingForBatch
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline, read_stopped
from tests.runs import tree_bytes

ROWS = 12


class Clock:
    """The provider's: stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[FakeTeacher]:
    with in_thread(FakeTeacher(batch_delay_s=100, clock=clock)) as teacher:
        yield teacher


def pipeline(folder: Path, provider: FakeTeacher, out: str = "out", **teacher: Any) -> Pipeline:
    """Two steps that ask, with a table step between them."""
    block = {
        "endpoint": provider.url,
        "model": "fake",
        "served_by": "the-fake",
        "mode": "batch",
        "params": {"max_tokens": 50, "seed": 1},
        "price": {"prompt": 1.0, "completion": 4.0, "batch_discount": 0.5},
    }
    rows = [{"id": f"r{n}", "instruction": f"say {n % 9} about it"} for n in range(ROWS)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "again.md.j2").write_text(
        "---\ninputs: [response]\noutput: text\n---\n{# user #}\nAgain: {{ response }}\n",
        encoding="utf-8",
    )
    second = {"teacher": "main", "prompt": "again", "into": "second"}
    config = {
        "name": "batched",
        "teachers": {"main": block | teacher},
        "source": {"jsonl": "rows.jsonl", "id": ["id"]},
        "steps": [
            {"use": "generate", "with": {"teacher": "main", "samples": 3}},
            {"use": "dedup.exact", "with": {"field": "response"}},
            {"use": "generate", "name": "again", "with": second},
        ],
        "export": {
            "format": "messages",
            "prompt": "instruction",
            "completion": "response",
            "keep": ["second"],
        },
    }
    file = folder / "p.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Pipeline.load(file, out=folder / out, ledger=str(folder / f"{out}.sqlite"))


async def online(folder: Path, provider: FakeTeacher) -> tuple[Manifest, dict[str, bytes]]:
    manifest = await pipeline(folder, provider, "online", mode="online").run()
    return manifest, tree_bytes(folder / "online" / "dataset")


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
