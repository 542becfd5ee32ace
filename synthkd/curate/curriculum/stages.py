"""`curriculum.stages`: which rows are learnt first.

    - use: curriculum.stages
      with: {first: easy, stages: 3}

Training goes through the stages one after the other, in each epoch, and shuffles within a stage;
with `order` it goes through the rows themselves from the first to the last.

    easy        the least difficult first
    hard        the most difficult first (TAPIR and IFD choose these at all)
    confident   those first that the teacher was surest of (arXiv 2409.11282)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthkd.curate.curriculum.rows import LARGEST, number_of
from synthkd.curate.curriculum.shares import equal_stages, in_order, stages_between
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step

Edge = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class StagesSettings(StepSettings):
    """Settings of `curriculum.stages`."""

    first: Literal["easy", "hard", "confident"] = "easy"
    """What is learnt first."""
    by: str | None = None
    """The field with the number; by default `difficulty`, and of `confident` `confidence`."""
    stages: Annotated[int, Field(ge=1, le=1000)] | None = None
    """So many stages of equal size (3 where nothing is said) ..."""
    thresholds: list[Edge] = Field(default=[])
    """... or one more than there are numbers here, ascending: rows on a number belong above it."""
    order: bool = False
    """Also write `order`: no row is shuffled, rows of a stage come in the order of the number."""

    @model_validator(mode="after")
    def _one_way(self) -> StagesSettings:
        if self.stages is not None and self.thresholds:
            raise ValueError("has both `stages` and `thresholds`: set one of them")
        if self.thresholds != sorted(set(self.thresholds)):
            raise ValueError("thresholds must ascend")
        return self

    @property
    def field(self) -> str:
        """The field with the number."""
        return self.by or ("confidence" if self.first == "confident" else "difficulty")


EARLIER = "rows of earlier rounds"


def _warns(figures: Mapping[str, Json]) -> Iterator[str]:
    if earlier := figures.get(EARLIER):
        yield (
            f"rows of earlier rounds keep the stages that their own round gave them: {earlier};"
            " to number all together, write stages in a pipeline without rounds, of `rows/`"
        )


@table_step(
    "curriculum.stages",
    needs=lambda config: [config.field],
    gives=lambda config: ["stage", *(["order"] * config.order)],
    warns=_warns,
)
def stages(table: Table, kit: TableKit, config: StagesSettings, /) -> Iterator[Row]:
    """Write `stage`, and with `order` the place in it, by a number of each row.

    Of several rounds each numbers its own rows. Rejects `no_difficulty`. Figures: rows and range of
    each stage. Memory: some 100 bytes a row.
    """
    found = [number_of(row.fields.get(config.field)) for row in table]
    places = [place for place, value in enumerate(found) if value is not None]
    values = [value for value in found if value is not None]
    descending = config.first != "easy"
    if config.thresholds:
        numbers = stages_between(values, config.thresholds, descending=descending)
    else:
        numbers = equal_stages(values, config.stages or 3, descending=descending)
    stage_of = dict(zip(places, numbers, strict=True))
    seen: Counter[int] = Counter()
    order_of: dict[int, int] = {}
    for at in in_order(values, descending=descending) if config.order else ():
        order_of[places[at]] = seen[numbers[at]]
        seen[numbers[at]] += 1
    told = _figures(values, numbers, config.field)
    ours = {row.id for row in table}
    if earlier := sum(row.id not in ours for row in table.kept):
        told[EARLIER] = earlier
    kit.note(told)
    for place, row in enumerate(table):
        if place not in stage_of:
            value = row.fields.get(config.field)
            kit.reject(row, "no_difficulty", f"{config.field} must be a number, got {value!r:.80}")
            continue
        written: dict[str, Json] = {"stage": stage_of[place]}
        if config.order:
            written["order"] = order_of[place]
        yield row.with_fields(**written)


def _figures(values: list[float], numbers: list[int], field: str) -> dict[str, Json]:
    """Rows and range of each stage."""
    told: dict[str, Json] = {"by": field}
    for stage in sorted(set(numbers)):
        inside = [value for value, number in zip(values, numbers, strict=True) if number == stage]
        told[f"stage {stage}"] = {"rows": len(inside), "least": min(inside), "most": max(inside)}
    return told
