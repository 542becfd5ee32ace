"""A teacher of the real server, through the whole stack with its ledger, as a pipeline has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.teachers.request import Request
from tests.vllm.server import MODEL

QUESTION = "Where is my parcel number 3?"


@asynccontextmanager
async def asking(
    url: str, folder: Path, *, model: str = MODEL, **settings: Any
) -> AsyncIterator[OpenTeacher]:
    """The teacher `main`: what is in `settings` stands in its block."""
    ledger = SqliteLedger(folder / "ledger.sqlite")
    block = TeacherConfig(endpoint=url, model=model, **settings)
    try:
        async with open_teachers(
            {"main": block}, base=folder, ledger=ledger, run_id="r", budget=BudgetConfig()
        ) as gateway:
            yield gateway.teachers["main"]
    finally:
        await ledger.close()


def chat(text: str = QUESTION, *, max_tokens: int = 40, sample: int = 0, **params: Any) -> Request:
    """A question as a step asks it: the teacher's parameters are in `params`."""
    said: Fields = {"role": "user", "content": text}
    body: Fields = {"model": MODEL, "messages": [said], **params}
    return Request(body=body, max_tokens=max_tokens, sample=sample, inputs={})


def raw(text: str = "Where is", *, max_tokens: int = 40, **params: Any) -> Request:
    """Raw text to go on with."""
    body: Fields = {"model": MODEL, "prompt": text, **params}
    return Request(body=body, max_tokens=max_tokens, inputs={}, api="completions")
