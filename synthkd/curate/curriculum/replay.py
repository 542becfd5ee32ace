"""`curriculum.replay`: special skills first, then general ones and a few of the special (DMT).

    - use: curriculum.replay
      with: {field: domain, specialised: [math, code]}

DMT (arXiv 2310.05492): stage 1 is all specialised rows; stage 2 is all general ones and a small
fraction of the specialised, so that what was learnt first is not forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil

from pydantic import Field

from synthkd.config import Share
from synthkd.curate.curriculum.rows import class_of, copies
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step


class ReplaySettings(StepSettings):
    """Settings of `curriculum.replay`."""

    field: str = "domain"
    """The field with the domain."""
    specialised: list[str] = Field(min_length=1)
    """Domains that are learnt in stage 1; all other rows are general."""
    fraction: Share = 1 / 256
    """Of the specialised rows, how many come again in stage 2, as copies: rounded up, so that a
    fraction above 0 is at least one row."""


def _makes(config: ReplaySettings, rows: int) -> int:
    return ceil(Fraction(str(config.fraction)) * rows)


def _warns(figures: Mapping[str, Json]) -> Iterator[str]:
    for kind in ("specialised", "general"):
        if figures.get(kind) == 0:
            yield f"no row is {kind}, so all are in one stage: look at `field` and `specialised`"


@table_step(
    "curriculum.replay",
    needs=lambda config: [config.field],
    gives=["stage"],
    makes=_makes,
    warns=_warns,
)
def replay(table: Table, kit: TableKit, config: ReplaySettings, /) -> Iterator[Row]:
    """Write `stage`: specialised rows 1, general ones 2, and copies of some specialised ones 2.

    Where there are rows of one kind alone, all are in stage 1. Figures: rows of each kind.
    """
    named = set(config.specialised)
    special = [
        place for place, row in enumerate(table) if class_of(row.fields.get(config.field)) in named
    ]
    general = len(table) - len(special)
    again = ceil(Fraction(str(config.fraction)) * len(special)) if general else 0
    chosen = set(kit.rng.sample(special, again))
    kit.note({"specialised": len(special), "general": general, "replayed": again})
    first = set(special)
    for place, row in enumerate(table):
        yield row.with_fields(stage=1 if place in first or not special else 2)
        if place in chosen:
            yield from (copy.with_fields(stage=2) for copy in copies(row, 1, kit))
