from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from yarl import URL

from synthkd.teachers.concurrency import Load
from synthkd.teachers.load import metrics_url, read_load, together, watched

PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="qwen"} 60.0
vllm:num_requests_running{engine="1",model_name="qwen"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="qwen"} 1.2e+01
vllm:num_requests_waiting_by_reason{engine="0"} 99.0
"""
CACHE = """# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="qwen"} 9.6e-01
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="qwen"} 2.0
vllm:num_preemptions_total{engine="1",model_name="qwen"} 3.0
vllm:num_preemptions_created{engine="1",model_name="qwen"} 1.7e+09
vllm:request_num_preemptions_count{engine="1",model_name="qwen"} 77.0
"""


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/metrics"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/metrics"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/metrics"),
        ("https://lab.example/qwen/v1?key=1", "https://lab.example/qwen/metrics"),
    ],
)
def test_where_the_load_is_told(base: str, url: str) -> None:
    assert metrics_url(base) == URL(url)


def test_the_load_over_all_engines() -> None:
    assert read_load(PAGE.encode()) == Load(running=64, waiting=12)


@pytest.mark.parametrize("name", ["kv_cache_usage_perc", "gpu_cache_usage_perc"])
def test_the_cache_of_the_fullest_engine_and_all_preemptions(name: str) -> None:
    page = PAGE + CACHE.replace("kv_cache_usage_perc", name)
    assert read_load(page.encode()) == Load(running=64, waiting=12, cache_use=0.96, preempted=5)


def test_several_servers_together() -> None:
    loads = [
        Load(running=3, waiting=1, cache_use=0.4, preempted=2),
        Load(running=5, waiting=0, cache_use=0.7),
    ]
    assert together(loads) == Load(running=8, waiting=1, cache_use=0.7, preempted=2)


@pytest.mark.parametrize(
    "page",
    ["", "<html>no metrics</html>", "vllm:num_requests_running 3\n", "python_gc_objects 12\n"],
)
def test_another_page_tells_no_load(page: str) -> None:
    assert read_load(page.encode()) is None


@asynccontextmanager
async def telling(pages: Iterable[tuple[int, str]], seen: list[web.Request]) -> AsyncIterator[URL]:
    """A server whose /metrics answers so, one after the other."""
    left = iter(pages)

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        status, text = next(left)
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield URL(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics")
    finally:
        await runner.cleanup()


async def test_it_is_told_again_and_again_without_a_key() -> None:
    seen: list[web.Request] = []
    told: list[Load] = []
    enough = asyncio.Event()

    def tell(load: Load) -> None:
        told.append(load)
        if len(told) == 3:
            enough.set()

    async with telling([(200, PAGE)] * 9, seen) as url, watched(lambda: [url], tell, every_s=0.01):
        await enough.wait()
    assert set(told) == {Load(running=64, waiting=12)}
    assert not any("Authorization" in request.headers for request in seen)


@pytest.mark.parametrize("reply", [(404, "not found"), (200, "another page"), (401, "no")])
async def test_a_server_without_the_page_is_asked_once(reply: tuple[int, str]) -> None:
    seen: list[web.Request] = []
    told: list[Load] = []
    async with (
        telling([reply] * 9, seen) as url,
        watched(lambda: [url], told.append, every_s=0.001),
    ):
        await asyncio.sleep(0.1)
    assert (len(seen), told) == (1, [])


async def test_a_server_that_is_away_is_no_fault() -> None:
    told: list[Load] = []
    nowhere = URL("http://127.0.0.1:1/metrics")
    async with watched(lambda: [nowhere], told.append, every_s=0.001):
        await asyncio.sleep(0.05)
    assert told == []


async def test_preemptions_are_told_once_and_not_those_before_or_of_a_new_start() -> None:
    def page(count: int) -> tuple[int, str]:
        return 200, f"{PAGE}vllm:num_preemptions_total {count}.0\n"

    told: list[float] = []
    enough = asyncio.Event()

    def tell(load: Load) -> None:
        told.append(load.preempted)
        if len(told) == 6:
            enough.set()

    pages = [page(count) for count in (7, 7, 10, 10, 2, 3, *[3] * 9)]
    async with telling(pages, []) as url, watched(lambda: [url], tell, every_s=0.01):
        await enough.wait()
    assert told[:6] == [0, 0, 3, 0, 0, 1]


async def test_servers_that_move_are_followed() -> None:
    told: list[Load] = []
    enough = asyncio.Event()

    def tell(load: Load) -> None:
        told.append(load)
        enough.set()

    async with telling([(404, "")], []) as before, telling([(200, PAGE)] * 9, []) as after:
        now = [before]
        async with watched(lambda: now, tell, every_s=0.001):
            await asyncio.sleep(0.05)
            assert told == []
            now[:] = [after]
            await enough.wait()
    assert told[0] == Load(running=64, waiting=12)
