"""How busy a vLLM server says it is: requests that it works on, those that wait, its cache.

vLLM never says 429: what is too much waits, so answers alone tell late. Its /metrics tell at once:

    vllm:num_requests_running{engine="0",model_name="qwen3-32b"} 64.0
    vllm:num_requests_waiting{engine="0",model_name="qwen3-32b"} 12.0
    vllm:kv_cache_usage_perc{engine="0",model_name="qwen3-32b"} 0.87
    vllm:num_preemptions_total{engine="0",model_name="qwen3-32b"} 3.0

The last two may be missing. The share is of 1, whatever its name says; older servers call it
`gpu_cache_usage_perc`. A preempted request lost its place in a full cache, and is worked on again.

It is looked at now and then, without the API key. A server without such a page is not asked again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import aiohttp
from yarl import URL

from synthkd.teachers.concurrency import Load

POLL_S = 5.0
"""Seconds between two looks; the page takes vLLM some milliseconds."""
TIMEOUT_S = 2.0
LARGEST_PAGE = 4 * 2**20

GAUGE = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|gpu_cache_usage_perc"
    rb"|num_preemptions)(?:_total)?(?:\{[^\n]*\})?\s+([0-9.eE+-]+)",
    re.M,
)


def metrics_url(base: str) -> URL:
    """Where a vLLM server tells its load, given its base URL."""
    url = URL(base).with_query(None)
    return url.with_path(url.path.rstrip("/").removesuffix("/v1") + "/metrics")


def read_load(page: bytes) -> Load | None:
    """The load in a page of metrics, over all engines; None = it is not vLLM's."""
    found: dict[str, list[float]] = {}
    for name, value in GAUGE.findall(page):
        with suppress(ValueError):
            found.setdefault(name.decode(), []).append(float(value))
    if not {"num_requests_running", "num_requests_waiting"} <= found.keys():
        return None
    used = found.get("kv_cache_usage_perc") or found.get("gpu_cache_usage_perc") or [0.0]
    return Load(
        running=sum(found["num_requests_running"]),
        waiting=sum(found["num_requests_waiting"]),
        cache_use=max(used),
        preempted=sum(found.get("num_preemptions", ())),
    )


def together(loads: Sequence[Load]) -> Load:
    """Of several servers: the requests of all, and the cache of the fullest, which overflows."""
    return Load(
        running=sum(load.running for load in loads),
        waiting=sum(load.waiting for load in loads),
        cache_use=max(load.cache_use for load in loads),
        preempted=sum(load.preempted for load in loads),
    )


@asynccontextmanager
async def watched(
    urls: Callable[[], Sequence[URL]], tell: Callable[[Load], None], every_s: float = POLL_S
) -> AsyncIterator[None]:
    """While the body runs, tell the load of the servers together, as long as any says it.

    Args:
        urls: where each of them tells it now; servers of ours change their ports.
        tell: told it; of preemptions, those since the last time.
        every_s: seconds between two looks.
    """
    task = asyncio.create_task(_follow(urls, tell, every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _follow(
    urls: Callable[[], Sequence[URL]], tell: Callable[[Load], None], every_s: float
) -> None:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    silent: set[URL] = set()
    preempted: dict[URL, float] = {}
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            await asyncio.sleep(every_s)
            loads: list[Load] = []
            for url in urls():
                if url in silent:
                    continue
                try:
                    load = await load_of(session, url)
                except (aiohttp.ClientError, OSError):  # away or slow; a timeout is an OSError
                    continue
                if load is None:
                    silent.add(url)
                    continue
                before = preempted.get(url, load.preempted)
                preempted[url] = load.preempted
                # Fewer than before: it was started again.
                loads.append(replace(load, preempted=max(0.0, load.preempted - before)))
            if loads:
                tell(together(loads))


async def load_of(session: aiohttp.ClientSession, url: URL) -> Load | None:
    """What one server says; None = nothing that vLLM would."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            return None
        page = b""
        async for block in response.content.iter_any():
            page += block
            if len(page) > LARGEST_PAGE:
                return None
        return read_load(page)
