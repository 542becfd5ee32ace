"""More requests than a real vLLM server works on: they wait in it, and all are answered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from yarl import URL

from synthkd.teachers.concurrency import Load
from synthkd.teachers.load import metrics_url, read_load, watched
from tests.vllm.asking import asking, chat
from tests.vllm.server import Served

AT_ONCE = 120
"""The server works on 16."""


@pytest.mark.parametrize("concurrency", [AT_ONCE, "auto"])
async def test_all_are_answered_and_the_server_says_how_many_wait(
    vllm_server: Served, tmp_path: Path, concurrency: int | str
) -> None:
    seen: list[Load] = []
    urls = [URL(str(metrics_url(vllm_server.url)))]
    async with asking(vllm_server.url, tmp_path, concurrency=concurrency) as teacher:
        async with watched(lambda: urls, seen.append, every_s=0.05), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    teacher.complete(chat(f"item {n}", seed=n, min_tokens=30, max_tokens=30))
                )
                for n in range(AT_ONCE)
            ]
        assert all(task.result().usage.completion_tokens == 30 for task in tasks)
        assert len({task.result().key for task in tasks}) == AT_ONCE
        assert (teacher.stats.attempts, teacher.stats.failed) == (AT_ONCE, 0)
    assert max(load.running for load in seen) <= 16
    if concurrency == AT_ONCE:
        assert max(load.waiting for load in seen) > 16
    assert 0 < max(load.cache_use for load in seen) <= 1
    after = read_load(vllm_server.page("/metrics").encode())
    assert after is not None
    assert (after.running, after.waiting, after.cache_use) == (0, 0, 0)
    assert b"vllm:num_preemptions_total{" in vllm_server.page("/metrics").encode()
