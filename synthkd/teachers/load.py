"""How busy a vLLM server says it is: the requests that it works on, and those that wait in it.

vLLM never says 429: what is too much waits, so answers alone tell late. Its /metrics tell at once:

    vllm:num_requests_running{engine="0",model_name="qwen3-32b"} 64.0
    vllm:num_requests_waiting{engine="0",model_name="qwen3-32b"} 12.0

It is looked at now and then, without the API key. A server without such a page is not asked again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp
from yarl import URL

from synthkd.teachers.concurrency import Load

POLL_S = 5.0
"""Seconds between two looks; the page takes vLLM some milliseconds."""
TIMEOUT_S = 2.0
LARGEST_PAGE = 4 * 2**20

GAUGE = re.compile(rb"^vllm:num_requests_(running|waiting)(?:\{[^\n]*\})?\s+([0-9.eE+]+)", re.M)


def metrics_url(base: str) -> URL:
    """Where a vLLM server tells its load, given its base URL."""
    url = URL(base).with_query(None)
    return url.with_path(url.path.rstrip("/").removesuffix("/v1") + "/metrics")


def read_load(page: bytes) -> Load | None:
    """The load in a page of metrics, over all engines; None = it is not vLLM's."""
    found = {"running": 0.0, "waiting": 0.0}
    seen = set()
    for name, value in GAUGE.findall(page):
        with suppress(ValueError):
            found[name.decode()] += float(value)
            seen.add(name)
    return Load(**found) if len(seen) == 2 else None


@asynccontextmanager
async def watched(
    urls: Sequence[URL], tell: Callable[[Load], None], every_s: float = POLL_S
) -> AsyncIterator[None]:
    """While the body runs, tell the load of the servers together, as long as any says it."""
    if not urls:
        yield
        return
    task = asyncio.create_task(_follow(list(urls), tell, every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _follow(urls: list[URL], tell: Callable[[Load], None], every_s: float) -> None:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while urls:
            await asyncio.sleep(every_s)
            loads: list[Load] = []
            for url in list(urls):
                try:
                    load = await load_of(session, url)
                except (aiohttp.ClientError, OSError):  # away or slow; a timeout is an OSError
                    continue
                if load is None:
                    urls.remove(url)
                else:
                    loads.append(load)
            if loads:
                running = sum(load.running for load in loads)
                tell(Load(running=running, waiting=sum(load.waiting for load in loads)))


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
