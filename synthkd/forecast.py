"""The forecast: rows x calls x tokens x price, before anything is spent, and what is unknown.

Calls and prompt lengths are not declared but observed: every asking step is run on a few rows of
the source with a teacher that notes each request and never answers. A step whose inputs are made by
earlier steps cannot be tried; its calls are counted from its settings and its prompts are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from synthkd.config import TeacherConfig
from synthkd.errors import MissingField, NotInLedger, RowError
from synthkd.evaluation import asked_step
from synthkd.flow import run_loop
from synthkd.io.sources import SourceRow, open_source
from synthkd.plan import BoundRowStep, BoundTableStep, Plan, check_wiring
from synthkd.rows import Row
from synthkd.steps import Desk, Kit
from synthkd.survey import survey
from synthkd.teachers.layers import prompt_bound
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.prices import nano_usd, price_of
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.stats import TeacherStats

TRIED_ROWS = 50
"""Rows on which each step is tried: enough for a mean length, and it takes milliseconds."""
BYTES_PER_TOKEN = 4
"""Of English text in the usual vocabularies, roughly; the budget's bound counts 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What one step will ask of one teacher, if every row gets that far."""

    step: str
    teacher: str
    rows: int
    calls: int
    prompt_tokens: int | None
    """Estimated from the length of prompts in bytes; None = the prompt is not known yet."""
    max_completion_tokens: int | None
    """At most; None = `max_tokens` is not set."""
    max_usd: float | None
    """At most; None = a length or the price is unknown. 0 for teachers that charge nothing."""

    def in_words(self) -> str:
        """One line for people."""
        return (
            f"{self.step} asks {self.teacher}: {self.calls} calls,"
            f" about {_number(self.prompt_tokens)} prompt tokens,"
            f" at most {_number(self.max_completion_tokens)} completion tokens,"
            f" at most {_usd(self.max_usd)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would ask and cost at most; answers that the ledger has cost nothing."""

    rows: int
    held_out: Mapping[str, int]
    unreadable: int
    calls: Sequence[Calls]
    unknown: Sequence[str]
    """What could not be told, in words."""
    budget: Mapping[str, float | int]

    @property
    def max_usd(self) -> float | None:
        """The sum; None where any part is unknown."""
        parts = [call.max_usd for call in self.calls]
        return None if None in parts else sum(part for part in parts if part is not None)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "max_usd": self.max_usd}

    def table(self) -> str:
        """For people."""
        held_out = "".join(f", {n} held out for {side}" for side, n in self.held_out.items())
        unreadable = f", {self.unreadable} unreadable" if self.unreadable else ""
        lines = [f"{self.rows} rows{held_out}{unreadable}"]
        lines += [f"  {call.in_words()}" for call in self.calls]
        lines.append(f"altogether at most {_usd(self.max_usd)}; what the ledger has costs nothing")
        if self.budget:
            limits = ", ".join(f"{name} {limit:g}" for name, limit in self.budget.items())
            lines.append(f"the budget stops the run at {limits}")
        lines += [f"unknown: {what}" for what in self.unknown]
        return "\n".join(lines)


def forecast(plan: Plan) -> Forecast:
    """Survey the source and try every asking step on a few rows; asks and writes nothing."""
    config = plan.config
    source = open_source(config.source, base=plan.folder)
    found = survey(source, config.source)
    check_wiring(plan, found.columns)
    records = (record for record in source.read() if isinstance(record, SourceRow))
    tried = [record.row for record in islice(records, TRIED_ROWS)]
    asking: list[tuple[BoundRowStep | BoundTableStep, str, int]] = [
        (bound, bound.label, found.sides.get("train", 0)) for bound in plan.steps if bound.teachers
    ]
    if config.evaluate is not None and config.evaluate.ask is not None:
        asked = asked_step(plan, config.evaluate)
        held_out = found.sides.get(config.evaluate.on, 0)
        asking.append((asked, f"{asked.label} (evaluation)", held_out))
    calls: list[Calls] = []
    unknown: list[str] = []
    for bound, label, rows in asking:
        noted = run_loop(_try(plan, bound, tried)) if isinstance(bound, BoundRowStep) else None
        calls += [_calls(plan, bound, label, name, rows, noted, unknown) for name in bound.teachers]
    return Forecast(
        rows=found.read,
        held_out=found.held_out,
        unreadable=found.unreadable,
        calls=calls,
        unknown=list(dict.fromkeys(unknown)),
        budget=config.budget.model_dump(exclude_none=True),
    )


@dataclass(slots=True, kw_only=True)
class _Note:
    """What one teacher was asked while a step was tried."""

    rows: int = 0
    calls: int = 0
    prompt_bytes: int = 0


class _NotingTeacher:
    """Notes every request and never answers."""

    def __init__(self, note: _Note) -> None:
        self._note = note

    async def complete(self, request: Request) -> Completion:
        self._note.calls += 1
        self._note.prompt_bytes += prompt_bound(request.body)
        raise NotInLedger("a forecast asks nobody")


async def _try(plan: Plan, bound: BoundRowStep, rows: Sequence[Row]) -> dict[str, _Note] | None:
    """What the step asks for these rows; None when it needs what earlier steps make."""
    notes = {name: _Note() for name in bound.teachers}
    desk = Desk(
        step=bound.label,
        seed=plan.config.seed,
        prompts=bound.prompts,
        teachers={name: _opened(plan, name, note) for name, note in notes.items()},
    )
    for row in rows:
        for note in notes.values():
            note.rows += 1
        try:
            with suppress(NotInLedger):
                async with aclosing(bound.step.run(row, Kit(desk, row.id), bound.config)) as made:
                    async for _ in made:
                        pass
        except MissingField:
            return None
        except RowError:
            continue  # this row would be lost before anything is asked for it
    return notes


def _opened(plan: Plan, name: str, note: _Note) -> OpenTeacher:
    config = plan.config.teachers[name]
    return OpenTeacher(
        name=name,
        model=config.model or "",
        params={},
        max_tokens=config.params.get("max_tokens"),
        simulated=config.simulated is not None,
        stack=_NotingTeacher(note),
        stats=TeacherStats(),
    )


def _calls(
    plan: Plan,
    bound: BoundRowStep | BoundTableStep,
    label: str,
    teacher: str,
    rows: int,
    noted: Mapping[str, _Note] | None,
    unknown: list[str],
) -> Calls:
    config = plan.config.teachers[teacher]
    note = None if noted is None else noted[teacher]
    max_tokens: int | None = config.params.get("max_tokens")
    if note is None or note.rows == 0:
        calls = rows * int(getattr(bound.config, "samples", 1))
        prompt_bytes = None
        unknown.append(f"the length of the prompts of {label}: earlier steps make their inputs")
    else:
        calls = round(rows * note.calls / note.rows)
        prompt_bytes = round(rows * note.prompt_bytes / note.rows)
    if max_tokens is None and config.kind == "http":
        unknown.append(f"the length of answers of {teacher}: params.max_tokens is not set")
    completion_tokens = None if max_tokens is None else calls * max_tokens
    return Calls(
        step=label,
        teacher=teacher,
        rows=rows,
        calls=calls,
        prompt_tokens=None if prompt_bytes is None else round(prompt_bytes / BYTES_PER_TOKEN),
        max_completion_tokens=completion_tokens,
        max_usd=_max_usd(teacher, config, prompt_bytes, completion_tokens, unknown),
    )


def _max_usd(
    teacher: str,
    config: TeacherConfig,
    prompt_bytes: int | None,
    completion_tokens: int | None,
    unknown: list[str],
) -> float | None:
    if config.kind != "http":
        return 0.0
    price = config.price or price_of(config.model or "")
    if price is None:
        unknown.append(f"the price of {config.model}: set teachers.{teacher}.price")
        return None
    if prompt_bytes is None or completion_tokens is None:
        return None
    # A token is at least one byte, so this is a bound where BYTES_PER_TOKEN is an estimate.
    return nano_usd(price, prompt_tokens=prompt_bytes, completion_tokens=completion_tokens) / 1e9


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


def _usd(value: float | None) -> str:
    return "an unknown cost" if value is None else f"{value:.2f} USD"
