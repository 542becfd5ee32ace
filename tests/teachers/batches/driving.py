"""What the tests of batches share: a pipeline of two steps that ask, a provider, and its clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from synthkd.errors import SynthkdError, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher
from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline
from tests.runs import tree_bytes

ROWS = 12
PRICE = {"prompt": 1.0, "completion": 4.0, "batch_discount": 0.5}
DELAY_S = 100.0
"""What a batch takes."""


class Clock:
    """The provider's: stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def config(provider: FakeTeacher, rows: int = ROWS, **teacher: Any) -> dict[str, Any]:
    """Two steps that ask, with a table step between them."""
    block = {
        "endpoint": provider.url,
        "model": "fake",
        "served_by": "the-fake",
        "mode": "batch",
        "params": {"max_tokens": 50, "seed": 1},
        "price": PRICE,
    }
    second = {"teacher": "main", "prompt": "again", "into": "second"}
    return {
        "name": "batched",
        "teachers": {"main": block | teacher},
        "source": {"jsonl": "rows.jsonl", "id": ["id"], "limit": rows},
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


def written(folder: Path, config: dict[str, Any]) -> Path:
    """The pipeline file, with its source and its prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"r{n}", "instruction": f"say {n % 9} about it"} for n in range(ROWS)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "again.md.j2").write_text(
        "---\ninputs: [response]\noutput: text\n---\n{# user #}\nAgain: {{ response }}\n",
        encoding="utf-8",
    )
    file = folder / "p.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def pipeline(
    folder: Path,
    provider: FakeTeacher,
    out: str = "out",
    *,
    ledger: str | None = None,
    rows: int = ROWS,
    more: dict[str, Any] | None = None,
    **teacher: Any,
) -> Pipeline:
    """The pipeline; by default each folder of results has a ledger of its own."""
    file = written(folder, config(provider, rows, **teacher) | (more or {}))
    return Pipeline.load(file, out=folder / out, ledger=str(folder / (ledger or f"{out}.sqlite")))


async def online(
    folder: Path, provider: FakeTeacher, **options: Any
) -> tuple[Manifest, dict[str, bytes]]:
    """What the online twin makes of it."""
    manifest = await pipeline(folder, provider, "online", mode="online", **options).run()
    return manifest, tree_bytes(folder / "online" / "dataset")


async def until_done(
    batched: Pipeline, clock: Clock, *, tries: int = 30
) -> tuple[Manifest, list[SynthkdError]]:
    """Run again and again as a person would; what stopped it each time."""
    stops: list[SynthkdError] = []
    for _ in range(tries):
        try:
            return await batched.run(), stops
        except SynthkdError as stop:
            stops.append(stop)
            clock.now += DELAY_S
    raise AssertionError(f"never done: {stops[-1]}")


def only_waited(stops: list[SynthkdError]) -> bool:
    """Whether nothing but batches stopped it."""
    return all(isinstance(stop, WaitingForBatch) for stop in stops)
