"""An exam: a step asked about held-out rows, with somebody who listens to every teacher.

    exam = Exam(bound, desk, answer="label")
    ...carry out `exam.step` in place of the step...
    exam.answers(ids)

So prompt, parser, ledger and budget are those that made the dataset; what each teacher said, and
what that costs, is known apart.
"""

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from synthkd.desk import Desk
from synthkd.errors import Rejected, TeacherError
from synthkd.evaluate.compare import Answers, Role
from synthkd.kit import Kit
from synthkd.plan import BoundRowStep
from synthkd.rows import Fields, Json, Row
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.prices import FREE, nano_usd
from synthkd.teachers.request import Completion, Request, Teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """A contestant: whose answers are its."""

    role: Role
    teachers: tuple[str, ...]
    single: bool
    """Whether it is the first sample of one teacher, read from `answers`, and not the whole."""


@dataclass(slots=True, kw_only=True)
class _Heard:
    """What was heard while one row was asked about."""

    replies: list[tuple[str, int, Completion]] = field(default_factory=list)
    """Teacher, sample, reply."""
    error: TeacherError | None = None
    """The first one."""


class Exam:
    """The asked step as an exam: what each contestant said to each row, and what that costs.

    Args:
        bound: the asked step.
        desk: what its calls share.
        answer: the field with the step's answer.
        recorded: teachers whose answers come out of a file.
    """

    def __init__(
        self, bound: BoundRowStep, desk: Desk, answer: str, recorded: Collection[str] = ()
    ) -> None:
        self.step = replace(bound, step=replace(bound.step, run=self._examine))
        self.desk = desk
        self.settled: set[str] = set()
        """Rows on which nobody's asking failed."""
        self._bound = bound
        self._answer = answer
        self._recorded = recorded
        self._seats = _seats(bound)
        self._said: dict[str, dict[str, Json]] = {name: {} for name in self._seats}
        self._cost_nano_usd: dict[str, list[int | None]] = {name: [] for name in self._seats}
        self._bought = dict.fromkeys(bound.teachers, 0)

    async def _examine(self, row: Row, kit: Kit, config: Any, /) -> AsyncGenerator[Row, None]:
        """The step's own run, except that a row on which any teacher failed is a failed row."""
        heard = _Heard()
        kit.desk = replace(
            kit.desk,
            teachers={n: _listened_to(t, heard) for n, t in kit.desk.teachers.items()},
        )
        children: list[Row] = []
        rejected: Rejected | None = None
        try:
            async with aclosing(self._bound.step.run(row, kit, config)) as made:
                children = [child async for child in made]
        except Rejected as error:
            rejected = error
        for teacher, _, reply in heard.replies:
            self._bought[teacher] += not reply.hit
        if heard.error is not None:
            raise heard.error
        self._settle(row.id, children[0].fields if children else {}, heard)
        if rejected is not None:
            raise rejected
        for child in children:
            yield child

    def _settle(self, row_id: str, fields: Fields, heard: _Heard) -> None:
        self.settled.add(row_id)
        first = _first_samples(fields)
        for name, seat in self._seats.items():
            said = first.get(name) if seat.single else fields.get(self._answer)
            if said is not None:
                self._said[name][row_id] = said
            self._cost_nano_usd[name] += [
                cost_nano_usd(self.desk.teachers[teacher], reply)
                for teacher, sample, reply in heard.replies
                if teacher in seat.teachers and not (seat.single and sample)
            ]

    def answers(self, row_ids: Sequence[str]) -> dict[str, Answers]:
        """Every contestant, also one that never answered."""
        return {
            name: Answers(
                role=seat.role,
                given=[self._said[name].get(row_id) for row_id in row_ids],
                simulated=any(self.desk.teachers[t].simulated for t in seat.teachers),
                recorded=any(t in self._recorded for t in seat.teachers),
                ms_per_row=self._ms_per_row(seat),
                usd_per_1000=usd_per_1000(self._cost_nano_usd[name], len(row_ids)),
            )
            for name, seat in self._seats.items()
        }

    def _ms_per_row(self, seat: _Seat) -> float | None:
        """The median of what this exam bought: those attempts are the last that were timed."""
        bought = [self._bought[teacher] for teacher in seat.teachers]
        if seat.role != "teacher":
            return None
        return median_ms(self.desk.teachers[seat.teachers[0]], bought[0])


class _Listened:
    """A teacher's stack with somebody listening."""

    def __init__(self, inner: Teacher, name: str, heard: _Heard) -> None:
        self._inner = inner
        self._name = name
        self._heard = heard

    async def complete(self, request: Request) -> Completion:
        try:
            reply = await self._inner.complete(request)
        except TeacherError as error:
            self._heard.error = self._heard.error or error
            raise
        self._heard.replies.append((self._name, request.sample, reply))
        return reply


def _listened_to(teacher: OpenTeacher, heard: _Heard) -> OpenTeacher:
    return replace(teacher, stack=_Listened(teacher.stack, teacher.name, heard))


def _seats(bound: BoundRowStep) -> dict[str, _Seat]:
    """Whom the asked step makes a contestant: each teacher, where it keeps `answers`, and all."""
    teachers = bound.teachers
    whole = _Seat(
        role="teacher" if len(teachers) == 1 else "panel", teachers=teachers, single=False
    )
    # Who stops early does not hear every teacher about every row: only the whole can be judged.
    if "answers" not in bound.gives or getattr(bound.config, "until", None) is not None:
        return {" + ".join(teachers): whole}
    seats = {name: _Seat(role="teacher", teachers=(name,), single=True) for name in teachers}
    if len(teachers) * getattr(bound.config, "samples", 1) > 1:
        seats[f"{bound.label}: vote"] = replace(whole, role="panel")
    return seats


def _first_samples(fields: Fields) -> dict[str, Json]:
    """Teacher -> its first sample's label, out of the row's `answers`."""
    answers = fields.get("answers")
    return {
        str(one.get("teacher")): one.get("label")
        for one in (answers if isinstance(answers, list | tuple) else ())
        if isinstance(one, Mapping) and one.get("sample", 0) == 0
    }


def median_ms(teacher: OpenTeacher, bought: int) -> float | None:
    """The median of the last attempts; None = none was bought."""
    latencies_s = list(teacher.stats.latencies_s)[-bought:] if bought else []
    return 1000 * statistics.median(latencies_s) if latencies_s else None


def cost_nano_usd(teacher: OpenTeacher, reply: Completion) -> int | None:
    """What this reply costs, whether bought now or before; None = unknown."""
    prompt_tokens, completion_tokens = reply.usage.prompt_tokens, reply.usage.completion_tokens
    if teacher.price == FREE:
        return 0
    if teacher.price is None or prompt_tokens is None or completion_tokens is None:
        return None
    return nano_usd(
        teacher.price,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_prompt_tokens=reply.usage.cached_prompt_tokens or 0,
        batch=teacher.batch,
    )


def usd_per_1000(costs: Sequence[int | None], rows: int) -> float | None:
    """What 1,000 rows cost, from what these cost in nano-dollars; None = one of them is unknown."""
    known = [cost for cost in costs if cost is not None]
    return None if len(known) < len(costs) else 1000 * sum(known) / 1e9 / max(1, rows)
