"""`curriculum.quotas`: how many rows each class of task has.

    - use: curriculum.quotas
      with: {rows: 2000, by: generate}

By default the shares are TAPIR's (arXiv 2405.13448, as its code has them), of those classes that
occur: a sixth for mathematics, a sixth for reasoning, a sixth for code.

    resample    a class with too many rows loses some by chance, one with too few gets copies
    generate    the same, but rows are told how many new ones to write like them: the field
                `wanted`, which `curriculum.expand` obeys
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from synthkd.curate.curriculum.rows import Places, copies, times_each
from synthkd.curate.curriculum.shares import quotas as quotas_of
from synthkd.io.spool import Table
from synthkd.recipes.tasks import OTHERS, TasksSetting, spelling
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step

OTHER = "rows of no class here"
Ratio = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class QuotasSettings(StepSettings):
    """Settings of `curriculum.quotas`."""

    field: str = "task"
    """The field with the class."""
    ratios: Mapping[str, Ratio] | None = None
    """Class -> its share; they need not sum to 1. null = as `tasks` says."""
    tasks: TasksSetting = Field(default="tag/tasks", validate_default=True)
    """The classes with their shares: the name of a file of them, a list of names, or the whole of
    it. The default has TAPIR's 32 classes."""
    other: str = OTHERS
    """What rows of another class count as, where that has a share; else they are rejected."""
    rows: PositiveInt | None = None
    """Rows that shall come of it; null = as many as come in."""
    by: Literal["resample", "generate"] = "resample"
    """Where the rows come from that a class lacks."""
    warm_up: Annotated[int, Field(ge=0, le=100)] = 0
    """Rounds in which all rows pass as they are."""

    @model_validator(mode="after")
    def _some_ratio(self) -> QuotasSettings:
        if self.ratios is not None and not any(self.ratios.values()):
            raise ValueError("ratios: at least one must be above 0")
        return self

    @property
    def shares(self) -> Mapping[str, float]:
        """Class -> its share, 0 where none of it is wanted."""
        return self.tasks.shares if self.ratios is None else self.ratios


def _makes(config: QuotasSettings, rows: int) -> int:
    """Copies, or rows that are to be written by a later step."""
    return 0 if config.rows is None else max(0, config.rows - rows)


@table_step(
    "curriculum.quotas",
    needs=lambda config: [config.field],
    gives=lambda config: ["wanted"] * (config.by == "generate"),
    makes=_makes,
)
def quotas(table: Table, kit: TableKit, config: QuotasSettings, /) -> Iterator[Row]:
    """Give each class that occurs its quota of rows, exactly.

    Rejects `over_quota`, `unknown_class`. Figures: rows, quota, lost and copied or wanted by class.
    Memory: some 100 bytes a row.
    """
    generates = config.by == "generate"
    if kit.desk.round < config.warm_up:
        yield from (row.with_fields(wanted=0) if generates else row for row in table)
        return
    classes, other = _classes(table, config)
    sizes = {name: len(places) for name, places in classes.items()}
    wanted = sum(sizes.values()) if config.rows is None else config.rows
    given = quotas_of(wanted, config.shares, sizes) if sizes else {}
    times: dict[int, int] = {}
    for name, places in classes.items():
        times |= times_each(places, given.get(name, 0), kit.rng)
    kit.note({**_figures(sizes, given, config), OTHER: other})
    class_of = {place: name for name, places in classes.items() for place in places}
    for place, row in enumerate(table):
        if place not in class_of:
            found = row.fields.get(config.field)
            kit.reject(row, "unknown_class", f"{config.field}: {found!r:.80} has no share")
            continue
        count = times.get(place, 0)
        if not count:
            name = class_of[place]
            said = f"{name} has {sizes[name]} rows, and its quota is {given.get(name, 0)}"
            kit.reject(row, "over_quota", said)
        elif generates:
            yield row.with_fields(wanted=count - 1)
        else:
            yield row
            yield from copies(row, count - 1, kit)


def _classes(table: Table, config: QuotasSettings) -> tuple[dict[str, list[int]], int]:
    """Class -> the places of its rows, and how many count as `other`.

    Only classes with a ratio above 0. One that is spelled otherwise than its ratio is the same.
    """
    known = config.shares
    spelled = {spelling(name): name for name in reversed(list(known))}  # the first of several
    classes: dict[str, list[int]] = {}
    of_other = 0
    for found, places in Places(table, config.field).of.items():
        name = found if found in known else spelled.get(spelling(found or ""))
        if name is None and config.other in known:
            name = config.other
            of_other += len(places)
        if name is not None and known[name] > 0:
            classes.setdefault(name, []).extend(places)
    return {name: sorted(places) for name, places in classes.items()}, of_other


def _figures(
    sizes: Mapping[str, int], given: Mapping[str, int], config: QuotasSettings
) -> dict[str, Json]:
    more = "wanted" if config.by == "generate" else "copied"
    told: dict[str, Json] = {
        name: {
            "rows": sizes[name],
            "quota": given[name],
            "lost": max(0, sizes[name] - given[name]),
            more: max(0, given[name] - sizes[name]),
        }
        for name in given
    }
    absent = sum(share > 0 and name not in sizes for name, share in config.shares.items())
    return {**told, "rows": sum(given.values()), "classes without rows": absent}
