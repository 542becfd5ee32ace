"""Teachers that do as they are told, and a ledger in memory, for tests of the layers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from synthkd.ledger import Cost, Entry, Question
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.layers import Cached, InAir
from synthkd.teachers.request import Completion, Identity, Request, Usage
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.wire import chat_reply, parse_chat

ME = Identity(served_by="me")


def ask(text: str = "Why?", max_tokens: int | None = 50, **changes: Any) -> Request:
    body: Fields = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return Request(body=body, max_tokens=max_tokens, inputs={})._replace(**changes)


def said(text: str, prompt: int | None = 10, completion: int | None = 5) -> Completion:
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    return parse_chat(chat_reply(text, model="m", usage=usage))


class Acting:
    """A teacher that does what a function says."""

    def __init__(self, act: Callable[[Request], Awaitable[Completion]]) -> None:
        self.act = act
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        return await self.act(request)


class Playing(Acting):
    """A teacher that plays a list of outcomes, then answers."""

    def __init__(self, *outcomes: BaseException | Completion) -> None:
        self.outcomes = list(outcomes)
        super().__init__(self.play)

    async def play(self, request: Request) -> Completion:
        outcome = self.outcomes.pop(0) if self.outcomes else said("fine")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Noting:
    """A ledger in memory that notes what it was told, in order."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int | None], Entry] = {}
        self.held = Cost()
        self.spent = Cost()
        self.told: list[str] = []

    def find(self, key: str) -> Sequence[Entry]:
        return [entry for (stored, _), entry in self.entries.items() if stored == key]

    async def store(self, entry: Entry, question: Question | None = None) -> Entry:
        self.told.append("store")
        return self.entries.setdefault((entry.key, entry.max_tokens), entry)

    async def open_run(self, run_id: str) -> Cost:
        return self.spent

    async def hold(self, run_id: str, worst: Cost) -> None:
        await asyncio.sleep(0)
        self.held = self.held + worst
        self.told.append("hold")

    def settle(self, run_id: str, worst: Cost, cost: Cost) -> None:
        self.told.append("settle")
        self.held = self.held - worst
        self.spent = self.spent + cost

    def add_wall(self, run_id: str, seconds: float) -> None:
        raise AssertionError("no layer counts wall time")

    def note_folder(self, run_id: str, folder: str) -> None:
        raise AssertionError("no layer knows a folder")

    def knows(self, run_id: str) -> bool:
        return True

    def wall_s(self, run_id: str) -> float:
        return 0.0

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


def cached(
    inner: Acting, ledger: SqliteLedger | Noting, in_air: InAir | None = None, **options: Any
) -> Cached:
    stats = TeacherStats()
    in_air = {} if in_air is None else in_air
    return Cached(inner, ledger=ledger, identity=ME, stats=stats, in_air=in_air, **options)
