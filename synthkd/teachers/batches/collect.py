"""The files of a batch that has ended, line by line: what became of each question.

    answered                               stored, spent at what it cost
    400, 413, 422                          stored as a refusal; `--retry-failed` asks again
    429, 5xx, expired, no answer in it     back into the outbox, counted as an attempt
    401, 404, no quota, unknown model      back into the outbox; the run stops
    a line that is no JSON, or none        back; if it may have been answered, its hold is spent
    a question that is not in the batch,   left alone: it was settled before, or is not ours
      or a second line for one

The first line of a question counts. Lines are settled some hundred at a time, each lot in one
transaction; a kill in between leaves the rest for the next time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from synthkd.config import Price
from synthkd.errors import AttemptFailed, RequestRefused, TeacherRefused, Unanswered
from synthkd.ledger import Cost, Entry
from synthkd.ledger.outbox import Outbox, Outcome
from synthkd.teachers.budget import NOTHING, cost_of
from synthkd.teachers.embeddings import split
from synthkd.teachers.refusals import Refusals
from synthkd.teachers.request import Api, Completion
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.wire import parse_reply, read_json

DIGITS = re.compile("[0-9]{1,18}")
"""Of a `max_tokens`; more do not fit into the ledger, so they are of no question of ours."""
LOT = 200
"""Lines that are settled in one transaction."""


def custom_id(key: str, max_tokens: int | None) -> str:
    """Names a question in the files of a batch."""
    return key if max_tokens is None else f"{key}.{max_tokens}"


def question_of(name: object) -> tuple[str, int | None] | None:
    """The question that a custom id names; None = it is none of ours."""
    if not isinstance(name, str):
        return None
    key, dot, limit = name.partition(".")
    is_key = len(key) == 64 and all(digit in "0123456789abcdef" for digit in key)
    if not is_key or (dot and not DIGITS.fullmatch(limit)):
        return None
    return key, int(limit) if dot else None


@dataclass(slots=True)
class Tally:
    """What was found in the files of one batch."""

    answered: int = 0
    refused: int = 0
    returned: int = 0
    """Questions that go back into the outbox."""
    unreadable: int = 0
    """Lines that are no JSON, such as one that was cut."""
    strays: int = 0
    """Lines of questions that are not in the batch (any more), or that had a line before."""
    stop: TeacherRefused | None = None
    """The first fault that every question would have."""


class Collector:
    """Settles the questions of one batch.

    Args:
        outbox: the ledger's.
        batch: our id of it.
        label: names the endpoint in messages.
        refusals: reads what is no answer.
        price: None = unknown.
        refused_now: keys whose refusals are new: `--retry-failed` has asked for them already.
        stats: counts answers, tokens and dollars.
    """

    def __init__(
        self,
        outbox: Outbox,
        batch: str,
        *,
        label: str,
        refusals: Refusals,
        price: Price | None,
        refused_now: set[str],
        stats: TeacherStats,
    ) -> None:
        self.tally = Tally()
        self._outbox = outbox
        self._batch = batch
        self._label = label
        self._refusals = refusals
        self._price = price
        self._refused_now = refused_now
        self._stats = stats

    async def read(self, path: Path) -> None:
        """Settle what a file says."""
        with path.open("rb") as lines:
            while lot := self._lot(lines):
                outcomes = [outcome for outcome in lot if outcome is not None]
                await self._outbox.settle(self._batch, outcomes)

    def _lot(self, lines: Iterator[bytes]) -> list[Outcome | None]:
        """What the next lines say, at most one outcome a question; empty at the end of the file."""
        lot: list[Outcome | None] = []
        seen: set[tuple[str, int | None]] = set()
        for line in lines:
            outcome = self._outcome(line)
            if outcome is not None:
                question = outcome.key, outcome.max_tokens
                if question in seen:
                    self.tally.strays += 1
                    outcome = None
                else:
                    seen.add(question)
                    self._count(outcome)
            lot.append(outcome)
            if len(lot) == LOT:
                break
        return lot

    def _outcome(self, line: bytes) -> Outcome | None:
        if not line.strip():
            return None
        try:
            told = read_json(line)
        except AttemptFailed:
            told = None
        if not isinstance(told, dict):
            self.tally.unreadable += 1
            return None
        question = question_of(told.get("custom_id"))
        held = question and self._outbox.worst(self._batch, *question)
        if question is None or held is None:
            self.tally.strays += 1
            return None
        return self._read(told, *question, *held)

    def _read(
        self, told: dict[str, Any], key: str, max_tokens: int | None, api: str, worst: Cost
    ) -> Outcome:
        response, error = told.get("response"), told.get("error")
        if not isinstance(response, dict):
            code = error.get("code") if isinstance(error, dict) else None
            message = error.get("message") if isinstance(error, dict) else None
            said = self._refusals.quoted(str(message or code or "it says nothing"))
            return Outcome(
                key=key,
                max_tokens=max_tokens,
                cost=NOTHING,
                said=f"the batch has no answer: {said}",
                counts=code != "batch_cancelled",
            )
        body = response.get("body")
        reply = body.encode() if isinstance(body, str) else orjson.dumps(body)
        status = response.get("status_code")
        if status != 200:
            return self._refusal(status, reply, key, max_tokens)
        try:
            answer = _parsed(api, reply)
        except (AttemptFailed, Unanswered) as failed:
            said = self._refusals.quoted(str(failed))
            return Outcome(key=key, max_tokens=max_tokens, cost=worst, said=said)
        entry = Entry(
            key,
            max_tokens,
            200,
            answer.finish,
            answer.usage.completion_tokens,
            answer.reply,
        )
        cost = cost_of(answer.usage, worst, self._price, batch=True)
        return Outcome(key=key, max_tokens=max_tokens, cost=cost, entry=entry)

    def _refusal(self, status: object, reply: bytes, key: str, max_tokens: int | None) -> Outcome:
        code = status if isinstance(status, int) else 500
        failed = self._refusals.of(self._label, code, {}, reply)
        if isinstance(failed, RequestRefused):
            self._refused_now.add(key)
            entry = Entry(key, max_tokens, failed.status, "", None, failed.message.encode())
            return Outcome(key=key, max_tokens=max_tokens, cost=NOTHING, entry=entry)
        if isinstance(failed, TeacherRefused):
            self.tally.stop = self.tally.stop or failed
        return Outcome(
            key=key,
            max_tokens=max_tokens,
            cost=NOTHING,
            said=str(failed),
            counts=not isinstance(failed, TeacherRefused),
        )

    def _count(self, outcome: Outcome) -> None:
        tally, stats, cost = self.tally, self._stats, outcome.cost
        stats.attempts += 1
        if outcome.entry is None:
            tally.returned += 1
        elif outcome.entry.status == 200:
            tally.answered += 1
        else:
            tally.refused += 1
        stats.prompt_tokens += cost.prompt_tokens
        stats.completion_tokens += cost.completion_tokens
        if stats.nano_usd is not None:
            stats.nano_usd += cost.nano_usd


def _parsed(api: str, reply: bytes) -> Completion:
    """The answer, as it is stored.

    Raises:
        AttemptFailed, Unanswered: it is none.
    """
    if api == "embeddings":
        return split(reply, 1)[0]
    known: Api = "completions" if api == "completions" else "chat"
    return parse_reply(known, reply)
