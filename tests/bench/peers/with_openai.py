"""The loop that most people write: the openai SDK, a semaphore, a line for each answer.

    python with_openai.py URL SOURCE OUT IN_FLIGHT

Started again it begins again: it keeps no record of what it asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import openai


async def main(url: str, rows: Sequence[dict[str, str]], file: IO[str], in_flight: int) -> None:
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=5, timeout=60)
    slots = asyncio.Semaphore(in_flight)

    async def ask(row: dict[str, str]) -> None:
        async with slots:
            try:
                reply = await client.chat.completions.create(
                    model="fake",
                    messages=[{"role": "user", "content": row["instruction"]}],
                    max_tokens=256,
                )
            except openai.OpenAIError as error:
                print(type(error).__name__, file=sys.stderr)
                return
        answer = {"id": row["id"], "response": reply.choices[0].message.content}
        file.write(json.dumps(answer) + "\n")

    async with asyncio.TaskGroup() as group:
        for row in rows:
            group.create_task(ask(row))
    await client.close()


if __name__ == "__main__":
    url, source, out, in_flight, *_ = sys.argv[1:]
    lines = Path(source).read_text(encoding="utf-8").splitlines()
    with Path(out).open("w", encoding="utf-8") as answers:
        asyncio.run(main(url, [json.loads(line) for line in lines], answers, int(in_flight)))
