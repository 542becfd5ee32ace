"""The floor: aiohttp and orjson, a pool of workers, each reply written as it comes; nothing else.

python floor.py URL prompts.jsonl out.jsonl [IN_FLIGHT]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
import orjson

IN_FLIGHT = int(sys.argv[4]) if len(sys.argv) > 4 else 256


async def main(url: str, source: Path, out: Path) -> None:
    with source.open("rb") as lines, out.open("wb", buffering=0) as file:
        rows = map(orjson.loads, lines)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def worker() -> None:
                for row in rows:
                    message = {"role": "user", "content": row["instruction"]}
                    body = {"model": "fake", "messages": [message], "max_tokens": 256}
                    headers = {"content-type": "application/json"}
                    async with session.post(
                        f"{url}/chat/completions", data=orjson.dumps(body), headers=headers
                    ) as reply:
                        said = orjson.loads(await reply.read())
                    row["response"] = said["choices"][0]["message"]["content"]
                    file.write(orjson.dumps(row) + b"\n")

            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(worker())


if __name__ == "__main__":
    url, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    try:
        import uvloop
    except ImportError:
        asyncio.run(main(url, source, out))
    else:
        uvloop.run(main(url, source, out))
