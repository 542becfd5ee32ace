"""The forecast: rows x calls x tokens x price, before anything is spent, and what is unknown.

Calls and prompt lengths are not declared but observed: every asking step is run on a few rows of
the source with a teacher that notes each request and never answers. A step whose inputs are made by
earlier steps cannot be tried; its calls are counted from its settings and its prompts are unknown.

The counts are of questions as if every row got that far and every child of a row were made. That is
a bound where synthkd's own steps ask, which ask each question once; what a step of a third party
asks after an answer, or makes of a row, is not seen. Retries are questions asked again: they can
cost more, and no figure in dollars is a bound. The budget is. The ledger is not looked into:
each of several rounds counts in full, though it buys nothing again that an earlier one has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

from synthkd.config import Price, TeacherConfig
from synthkd.desk import Desk
from synthkd.errors import NotInLedger, RowError, UserError
from synthkd.flow import run_loop
from synthkd.io.sources import SourceRow, open_source
from synthkd.kit import Kit
from synthkd.manifest import Manifest, PriceRecord
from synthkd.outflow import Outflow, lines_of, outflows
from synthkd.paraphrases import wordings_of_step
from synthkd.plan import (
    BoundRowStep,
    BoundTableStep,
    Plan,
    asked_step,
    vector_teachers,
    wordless_teachers,
    writing_teachers,
)
from synthkd.routes import Asked, Route, compare, measured
from synthkd.rows import Row
from synthkd.steps import BUILTIN
from synthkd.students.ready import check_cost, ready
from synthkd.survey import Survey, survey
from synthkd.teachers.budget import prompt_bound
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.prices import FREE, nano_usd, price_for, price_record
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.stats import TeacherStats
from synthkd.wiring import check_held_out, check_wiring

TRIED_ROWS = 50
"""Rows on which each step is tried: enough for a mean length, and it takes milliseconds."""
N = TypeVar("N", int, float)
BYTES_PER_TOKEN = 4
"""Of English text in the usual vocabularies, roughly; the budget's bound counts 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What one step will ask of one teacher, if every row gets that far."""

    step: str
    teacher: str
    rows: int
    """Rows that reach the step if none is lost; earlier steps may multiply them."""
    calls: int
    is_bound: bool
    """Whether there cannot be more calls; else it is an estimate."""
    prompt_tokens: int | None
    """Estimated from the length of prompts in bytes; None = the prompt is not known yet."""
    completion_tokens: int | None
    """If every answer is as long as `max_tokens` allows; None = that is not set."""
    usd: float | None
    """Estimate, rather high: a token for every byte of the prompts, and answers of `max_tokens`.
    None = a length or the price is unknown. 0 for teachers that charge nothing."""
    usd_online: float | None
    """The same without the discount of `mode: batch`."""

    def in_words(self) -> str:
        """One line for people."""
        how = "at most" if self.is_bound else "about"
        return (
            f"{self.step} asks {self.teacher}: {how} {self.calls:,} calls,"
            f" about {_number(self.prompt_tokens)} prompt tokens,"
            f" {how} {_number(self.completion_tokens)} completion tokens,"
            f" about {_usd(self.usd)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would ask and cost; answers that the ledger has cost nothing."""

    rows: int
    rounds: int
    """How many rounds the figures are of."""
    held_out: Mapping[str, int]
    unreadable: int
    calls: Sequence[Calls]
    unknown: Sequence[str]
    """What could not be told, in words."""
    warnings: Sequence[str]
    """What would stop the run, or is hardly meant, in words."""
    budget: Mapping[str, float | int]
    prices: Mapping[str, PriceRecord | None]
    """Of the teachers that are asked; None = unknown."""
    routes: Sequence[Route]
    """The same questions online, in batches and from a server of one's own; none where no teacher
    could be asked in another way."""
    outflows: Sequence[Outflow]
    """Which fields each teacher would see, and on which host."""

    @property
    def usd(self) -> float | None:
        """The sum; None where any part is unknown."""
        return _sum([call.usd for call in self.calls])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        prices = {
            name: None if price is None else price.model_dump(mode="json")
            for name, price in self.prices.items()
        }
        return {**asdict(self), "prices": prices, "usd": self.usd}

    def table(self) -> str:
        """For people."""
        held_out = "".join(f", {n} held out for {side}" for side, n in self.held_out.items())
        unreadable = f", {self.unreadable} unreadable" if self.unreadable else ""
        lines = [f"{self.rows} rows{held_out}{unreadable}"]
        lines += [f"  {call.in_words()}" for call in self.calls]
        rounds = f", of {self.rounds} rounds as if each bought all anew" * (self.rounds > 1)
        lines.append(
            f"altogether about {_usd(self.usd)}{rounds}; what is asked again (retries, repairs of"
            " JSON, `longer`) adds to it, what the ledger has does not"
        )
        lines += [
            f"  {name} costs {'an unknown price' if price is None else price.in_words()}"
            for name, price in self.prices.items()
        ]
        if self.routes:
            lines.append("three routes to these answers, which the ledger keeps for one another")
            lines += [f"  {route.in_words()}" for route in self.routes]
        lines += lines_of(self.outflows)
        if self.budget:
            limits = ", ".join(f"{name} {limit:g}" for name, limit in self.budget.items())
            lines.append(f"the budget stops the run at {limits}")
        lines += [f"unknown: {what}" for what in self.unknown]
        lines += [f"warning: {what}" for what in self.warnings]
        return "\n".join(lines)


def forecast(plan: Plan, before: Manifest | None = None, unread: Sequence[str] = ()) -> Forecast:
    """Survey the source and try every asking step on a few rows; asks and writes nothing.

    Args:
        plan: what is to be run.
        before: an earlier run of it, which says how fast its teachers were; None = there is none.
        unread: what of an earlier run could not be read, in words.
    """
    config = plan.config
    source = open_source(config.source, base=plan.folder)
    found = survey(source, config.source, check=lambda row, side: check_held_out(plan, row, side))
    check_wiring(plan, found.columns)
    records = (record for record in source.read() if isinstance(record, SourceRow))
    tried = [record.row for record in islice(records, TRIED_ROWS)]
    calls: list[Calls] = []
    unknown: list[str] = list(unread)
    for asking in _all_asking(plan, found):
        noted = None
        if isinstance(asking.bound, BoundRowStep) and asking.on_source:
            noted = run_loop(_try(plan, asking.bound, tried))
        else:
            table = isinstance(asking.bound, BoundTableStep)
            why = "it asks about all rows together" if table else "earlier steps make their inputs"
            unknown.append(f"the length of the prompts of {asking.label}: {why}")
        if not asking.is_bound:
            unknown.append(f"how many calls of {asking.label}: a third party's step decides it")
        for teacher in asking.bound.teachers:
            note = None if noted is None else noted[teacher]
            calls.append(_calls(plan, asking, teacher, note, unknown))
    return Forecast(
        rows=found.read,
        rounds=config.rounds.count,
        held_out=found.held_out,
        unreadable=found.unreadable,
        calls=calls,
        unknown=list(dict.fromkeys(unknown)),
        warnings=list(_warnings(plan)),
        budget=config.budget.model_dump(exclude_none=True),
        prices={call.teacher: price_record(config.teachers[call.teacher]) for call in calls},
        routes=_routes(plan, calls, before),
        outflows=outflows(plan),
    )


def _routes(plan: Plan, calls: Sequence[Calls], before: Manifest | None) -> list[Route]:
    """The comparison, over all steps."""
    teachers = plan.config.teachers
    speeds = {} if before is None else measured(before, teachers)
    asked: list[Asked] = []
    for name in dict.fromkeys(call.teacher for call in calls):
        own = [call for call in calls if call.teacher == name]
        asked.append(
            Asked(
                name=name,
                config=teachers[name],
                calls=sum(call.calls for call in own),
                tokens=_sum(
                    [n for call in own for n in (call.prompt_tokens, call.completion_tokens)]
                ),
                usd=_sum([call.usd_online for call in own]),
                prompt_tokens={call.step: call.prompt_tokens for call in own},
                measured=speeds.get(name),
            )
        )
    return compare(asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """A step that asks, and the rows that it asks about."""

    bound: BoundRowStep | BoundTableStep
    label: str
    rows: int
    is_bound: bool
    """Whether no more rows can come, and it asks once for each of its samples."""
    on_source: bool
    """Whether everything it reads is as in the source."""
    rounds: int = 1
    """How often it does so."""


def _all_asking(plan: Plan, found: Survey) -> Iterator[_Asking]:
    """Every step that asks, and the evaluation's turn of it."""
    rows, own, made = found.sides.get("train", 0), True, set[str]()
    for bound in plan.steps:
        own = own and bound.step.name in BUILTIN
        if bound.teachers:
            yield _Asking(
                bound=bound,
                label=bound.label,
                rows=rows,
                is_bound=own,
                on_source=made.isdisjoint(bound.needs),
                rounds=plan.config.rounds.count,
            )
        made.update(bound.gives)
        if isinstance(bound, BoundRowStep) and bound.step.fans_out:
            rows *= _rows_a_row(bound)
        if isinstance(bound, BoundTableStep) and bound.step.makes is not None:
            rows += bound.step.makes(bound.config, rows)
    evaluate = plan.config.evaluate
    if evaluate is not None and evaluate.ask is not None:
        others = [other for _, other in wordings_of_step(plan)]
        for asked in (asked_step(plan, evaluate.ask), *others):
            yield _Asking(
                bound=asked,
                label=f"{asked.label} (evaluation)",
                rows=found.sides.get(evaluate.on, 0),
                is_bound=asked.step.name in BUILTIN,
                on_source=True,
            )


def _samples(bound: BoundRowStep | BoundTableStep) -> int:
    return int(getattr(bound.config, "samples", 1))


def _calls_a_row(bound: BoundRowStep | BoundTableStep) -> int:
    """Of each teacher, at most: a step that asks several questions of a row says how many."""
    return int(getattr(bound.config, "calls_a_row", _samples(bound)))


def _rows_a_row(bound: BoundRowStep) -> int:
    """At most, of a step that fans out: one that makes several of a sample says how many."""
    return int(getattr(bound.config, "rows_a_row", _samples(bound)))


def _warnings(plan: Plan) -> Iterator[str]:
    config, wordless = plan.config, wordless_teachers(plan)
    for name, teacher in config.teachers.items():
        try:
            check_teachers(
                {name: teacher},
                base=plan.folder,
                budget=config.budget,
                offline=False,
                wordless=wordless,
            )
        except UserError as error:
            yield f"a run would not start: {error}"
    if config.student is not None:
        try:
            check_cost(config.student, config)
            ready(config.student, plan.folder, offline=False)
        except UserError as error:
            yield f"a run would not start: {error}"
    for bound in plan.steps:
        for name in bound.teachers:
            teacher = config.teachers[name]
            same = teacher.kind != "recorded" and teacher.params.get("temperature") == 0
            if same and _samples(bound) > 1:
                yield (
                    f"{bound.label} asks {name} for {_samples(bound)} samples at temperature 0:"
                    " they are paid for and will hardly differ; set params.temperature above 0"
                )


@dataclass(slots=True, kw_only=True)
class _Note:
    """What one teacher was asked while a step was tried."""

    calls: int = 0
    most_calls: int = 0
    """For one row."""
    prompt_bytes: int = 0


class _NotingTeacher:
    """Notes every request and never answers."""

    def __init__(self, note: _Note) -> None:
        self._note = note

    async def complete(self, request: Request) -> Completion:
        self._note.calls += 1
        self._note.prompt_bytes += prompt_bound(request.body)
        raise NotInLedger("a forecast asks nobody")


async def _try(plan: Plan, bound: BoundRowStep, rows: Sequence[Row]) -> dict[str, _Note]:
    """What the step asks for these rows."""
    notes = {name: _Note() for name in bound.teachers}
    desk = Desk(
        step=bound.label,
        seed=plan.config.seed,
        prompts=bound.prompts,
        teachers={name: _opened(plan, name, note) for name, note in notes.items()},
    )
    for row in rows:
        before = {name: note.calls for name, note in notes.items()}
        # A RowError: this row would be lost before anything is asked for it.
        with suppress(NotInLedger, RowError):
            async with aclosing(bound.step.run(row, Kit(desk, row.id), bound.config)) as made:
                async for _ in made:
                    pass
        for name, note in notes.items():
            note.most_calls = max(note.most_calls, note.calls - before[name])
    return notes


def _opened(plan: Plan, name: str, note: _Note) -> OpenTeacher:
    config = plan.config.teachers[name]
    noting = _NotingTeacher(note)
    return OpenTeacher(
        name=name,
        model=config.model or "",
        params=config.sampling,
        max_tokens=config.max_tokens,
        simulated=config.simulated is not None,
        stack=noting,
        embedding=noting,
        stats=TeacherStats(),
    )


def _questions(asking: _Asking, note: _Note | None) -> int:
    """What the step asks of each of its teachers, beside vectors."""
    bound = asking.bound
    if isinstance(bound, BoundTableStep) and bound.step.asks is not None:
        return bound.step.asks(bound.config, asking.rows)
    return asking.rows * max(_calls_a_row(bound), 0 if note is None else note.most_calls)


def _calls(
    plan: Plan, asking: _Asking, teacher: str, note: _Note | None, unknown: list[str]
) -> Calls:
    config = plan.config.teachers[teacher]
    writes = teacher in writing_teachers(asking.bound.config)
    texts = asking.rows if teacher in vector_teachers(asking.bound.config) else 0
    questions = _questions(asking, note) if writes or not texts else 0
    questions, texts = questions * asking.rounds, texts * asking.rounds
    calls = questions + texts
    prompt_bytes = None
    if note is not None and note.calls:
        prompt_bytes = round(calls * note.prompt_bytes / note.calls)
    elif note is not None:
        unknown.append(f"the length of the prompts of {asking.label}: no row tried got that far")
    max_tokens: int | None = config.max_tokens
    if not writes:
        max_tokens = 0  # neither a vector nor a reward has tokens
    elif not isinstance(max_tokens, int):
        max_tokens = None
        if config.kind in {"http", "vllm", "student"}:
            unknown.append(f"the length of answers of {teacher}: params.max_tokens is not set")
    completion_tokens = None if max_tokens is None else questions * max_tokens
    price = _known_price(teacher, config, unknown)
    online, as_it_is = (
        _expected_usd(price, prompt_bytes, completion_tokens, batch=batch)
        for batch in (False, config.mode == "batch")
    )
    return Calls(
        step=asking.label,
        teacher=teacher,
        rows=asking.rows,
        calls=calls,
        is_bound=asking.is_bound,
        prompt_tokens=None if prompt_bytes is None else round(prompt_bytes / BYTES_PER_TOKEN),
        completion_tokens=completion_tokens,
        usd=as_it_is,
        usd_online=online,
    )


def _known_price(teacher: str, config: TeacherConfig, unknown: list[str]) -> Price | None:
    price = price_for(config)
    if price is None:
        unknown.append(f"the price of {config.model}: set teachers.{teacher}.price")
    return price


def _expected_usd(
    price: Price | None, prompt_bytes: int | None, completion_tokens: int | None, *, batch: bool
) -> float | None:
    if price == FREE:
        return 0.0
    if price is None or prompt_bytes is None or completion_tokens is None:
        return None
    # As the budget holds it: no tokenizer makes more tokens than bytes.
    nano = nano_usd(
        price, prompt_tokens=prompt_bytes, completion_tokens=completion_tokens, batch=batch
    )
    return nano / 1e9


def _sum(parts: Sequence[N | None]) -> N | None:
    return None if None in parts else sum(part for part in parts if part is not None)


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


def _usd(value: float | None) -> str:
    return "an unknown cost" if value is None else f"{value:.2f} USD"
