"""`gate.constraints`: answers that keep to the constraints of their row.

The constraints are data, `[{kind, ...}]`, as `instruct.constraints` draws them or as a source has
them; each is checked by a pure function (`synthkd.recipes.instruct.checkers`). `strict` takes the
answer as it stands. `loose` also takes it without its first line, its last line and its asterisks,
as IFEval (2311.07911) does: it forgives a word of introduction, and for some kinds too much.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import orjson
from pydantic import ValidationError

from synthkd.curate.fields import excerpt, text_of, value_of
from synthkd.curate.gates.language import LanguageConfig, is_other
from synthkd.errors import Rejected, RowError
from synthkd.recipes.instruct.checkers import Language, read_constraint
from synthkd.recipes.instruct.constraint import Constraint, loose
from synthkd.recipes.instruct.constraints import kind_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step


class ConstraintsConfig(StepSettings):
    """Which answer, and how strictly."""

    field: str = "output"
    """The answer."""
    constraints: str = "constraints"
    """The field with the constraints as data."""
    measure: Literal["strict", "loose"] = "strict"
    """loose: the answer may have a first and a last line, and asterisks, that break them."""


@step("gate.constraints", needs=lambda config: [config.field, config.constraints])
async def constraints(row: Row, kit: Kit, config: ConstraintsConfig, /) -> AsyncIterator[Row]:
    """Rejects answers that break a constraint of their row (`constraint_broken`).

    A row whose constraints are no data of that kind fails. Figures: of each kind, how many were
    kept and broken.
    """
    answer = text_of(row, config.field)
    wanted = constraints_of(row, config.constraints)
    kept = [is_kept(answer, one, config.measure) for one in wanted]
    for one, holds in zip(wanted, kept, strict=True):
        kit.count(f"{kind_of(one)} {'kept' if holds else 'broken'}")
    if broken := [one for one, holds in zip(wanted, kept, strict=True) if not holds]:
        told = " ".join(one.sentence() for one in broken)
        raise Rejected("constraint_broken", f"{told} {config.field} begins with {excerpt(answer)}")
    yield row


def constraints_of(row: Row, field: str) -> list[Constraint]:
    """The constraints of a row.

    Raises:
        RowError: the field holds something else.
    """
    value = value_of(row, field)
    if isinstance(value, str):  # a dataset has them as JSON text
        with suppress(ValueError):
            value = orjson.loads(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise RowError(f"{field} must be a list of constraints {{kind: ...}}, got {value!r:.80}")
    return [_read(field, place, one) for place, one in enumerate(value)]


def is_kept(answer: str, constraint: Constraint, measure: Literal["strict", "loose"]) -> bool:
    """Whether an answer keeps to a constraint; a blank one keeps to none."""
    texts = loose(answer) if measure == "loose" else (answer,)
    return any(_holds(text, constraint) for text in texts)


def _holds(text: str, constraint: Constraint) -> bool:
    if not isinstance(constraint, Language):
        return constraint.holds(text)
    config = LanguageConfig(field="", languages=[constraint.code])
    return bool(text.strip()) and is_other(text, config) is None


def _read(field: str, place: int, value: Json) -> Constraint:
    # A source whose columns have one type for all rows fills the parameters of other kinds with
    # null.
    if isinstance(value, Mapping):
        value = {name: one for name, one in value.items() if one is not None}
    try:
        read = read_constraint(value)
        if isinstance(read, Language):
            LanguageConfig(field="", languages=[read.code])
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"][1:])) or "it"
        raise RowError(
            f"{field}[{place}] is no constraint that can be checked: {where}: {fault['msg']}, got"
            f" {value!r:.120}"
        ) from error
    return read
