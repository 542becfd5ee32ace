"""`cluster.balance` and its controls: how many rows each cluster keeps, and which.

    - use: cluster.balance
      with: {rows: 2000, budget: sqrt, compare: [quality]}

Whether a selection is worth anything shows only beside rows that chance would have selected, so the
figures of a selection are given for two controls of the same size as well: `random` of all rows,
and `cluster_uniform`, the same number from each cluster. `select.random` and
`select.cluster_uniform` keep the rows of a control, to train on.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from synthkd.io.spool import Table
from synthkd.recipes.quotas import largest_remainder
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step

Positive = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
LARGEST = 1e280
"""Beyond it a number is none: the sum over a table's rows could be infinite."""
Cluster = str
"""A cluster's value as text; `null` are the rows that are in none: they count as a cluster."""


class Size(StepSettings):
    """How many rows are kept."""

    rows: PositiveInt | None = None
    """So many (all, if there are fewer) ..."""
    share: float | None = Field(default=None, gt=0, le=1)
    """... or this share of those that come, rounded down, at least one."""

    @model_validator(mode="after")
    def _one(self) -> Size:
        if (self.rows is None) == (self.share is None):
            raise ValueError("must have exactly one of rows, share")
        return self

    def of(self, n: int) -> int:
        """How many of n rows."""
        if self.share is not None:
            return min(n, max(1, math.floor(self.share * n)))
        return min(n, self.rows or n)


class BalanceConfig(Size):
    """How many rows each cluster keeps, and which."""

    field: str = "cluster"
    """The cluster, as `cluster.assign` gives it; any text or number will do."""
    budget: Literal["equal", "proportional", "sqrt", "weights", "mean_score"] = "sqrt"
    """A cluster's weight: 1, its rows, the root of its rows, as `weights` says, or the mean of
    `score` over its rows (PASER's, where the score says how much there is to learn)."""
    weights: Mapping[str, Positive] = {}
    """Cluster -> weight; clusters that are not named have weight 0."""
    score: str | None = None
    """A field with a number: rows with the highest are kept; null = chance decides."""
    compare: list[str] = Field(default=[])
    """Fields (numbers, true or false) whose means are given for the selection and its controls."""

    @model_validator(mode="after")
    def _what_the_budget_needs(self) -> BalanceConfig:
        if (self.budget == "weights") != bool(self.weights):
            raise ValueError("budget: weights and `weights` go together")
        if self.budget == "mean_score" and self.score is None:
            raise ValueError("budget: mean_score needs `score`, the field with a row's score")
        return self

    @property
    def needs(self) -> list[str]:
        """The fields that are read."""
        return [self.field, *([self.score] if self.score else []), *self.compare]


class UniformConfig(Size):
    """The same number of rows from each cluster."""

    field: str = "cluster"
    """The cluster, as `cluster.assign` gives it."""


@table_step("select.random", needs=())
def select_random(table: Table, kit: TableKit, config: Size, /) -> Iterator[Row]:
    """Keeps rows by chance: the control that a selection must beat. Rejects `not_selected`."""
    n = len(table)
    chosen = set(kit.rng.sample(range(n), config.of(n)))
    yield from _kept(table, kit, chosen, lambda _: "chance did not select it")


@table_step("select.cluster_uniform", needs=lambda config: [config.field])
def cluster_uniform(table: Table, kit: TableKit, config: UniformConfig, /) -> Iterator[Row]:
    """Keeps the same number from each cluster, by chance. Rejects `not_selected`.

    The second control: what is won over it is not won by evening out the clusters.
    """
    clusters = _clusters(table, config.field)
    chosen = set(_uniform(clusters, config.of(len(table)), kit.rng))
    yield from _kept(table, kit, chosen, lambda _: "chance did not select it from its cluster")


@table_step("cluster.balance", needs=lambda config: config.needs)
def balance(table: Table, kit: TableKit, config: BalanceConfig, /) -> Iterator[Row]:
    """Keeps of each cluster what its budget allows. Rejects `over_budget`, `no_score`.

    Shares are rounded by largest remainder; what a cluster has too few rows for goes to the others.
    Memory: some 100 bytes a row.
    """
    scores = _scores(table, config.score)
    clusters = {
        cluster: [place for place in places if scores is None or scores[place] is not None]
        for cluster, places in _clusters(table, config.field).items()
    }
    names = list(clusters)
    weights = [_weight(config, name, clusters[name], scores) for name in names]
    candidates = sum(map(len, clusters.values()))
    shares = largest_remainder(config.of(candidates), weights, [len(clusters[n]) for n in names])
    budgets = dict(zip(names, shares, strict=True))
    chosen: set[int] = set()
    for name in names:
        chosen.update(_best(clusters[name], budgets[name], scores, kit.rng))
    _note(table, kit, config, clusters, chosen)
    cluster_of = {place: name for name, places in clusters.items() for place in places}

    def why(place: int) -> str:
        name = cluster_of[place]
        return f"cluster {name} keeps {budgets[name]} of its {len(clusters[name])} rows"

    if scores is None:
        yield from _kept(table, kit, chosen, why, "over_budget")
        return
    for place, row in enumerate(table):
        if scores[place] is None:
            found = row.fields.get(config.score or "")
            kit.reject(
                row,
                "no_score",
                f"{config.score} must be a number of at most {LARGEST:g}, got {found!r:.80}",
            )
        elif place in chosen:
            yield row
        else:
            kit.reject(row, "over_budget", why(place))


def _kept(
    table: Table,
    kit: TableKit,
    chosen: set[int],
    why: Callable[[int], str],
    reason: str = "not_selected",
) -> Iterator[Row]:
    for place, row in enumerate(table):
        if place in chosen:
            yield row
        else:
            kit.reject(row, reason, why(place))


def _clusters(table: Table, field: str) -> dict[Cluster, list[int]]:
    """Cluster -> the places of its rows, clusters in first-seen order."""
    clusters: defaultdict[Cluster, list[int]] = defaultdict(list)
    for place, row in enumerate(table):
        value = row.fields.get(field)
        clusters["null" if value is None else str(value)].append(place)
    return dict(clusters)


def _scores(table: Table, field: str | None) -> list[float | None] | None:
    if field is None:
        return None
    return [_number(row.fields.get(field)) for row in table]


def _number(value: Json) -> float | None:
    """Also of true and false, so that a flag has a mean."""
    return float(value) if isinstance(value, int | float) and abs(value) <= LARGEST else None


def _weight(
    config: BalanceConfig,
    name: Cluster,
    places: Sequence[int],
    scores: Sequence[float | None] | None,
) -> float:
    size = len(places)
    if config.budget == "equal":
        return 1.0
    if config.budget == "proportional":
        return float(size)
    if config.budget == "sqrt":
        return math.sqrt(size)
    if config.budget == "weights":
        return config.weights.get(name, 0.0)
    known = [scores[place] or 0.0 for place in places] if scores is not None else []
    return max(0.0, sum(known) / size) if size else 0.0


def _best(
    places: Sequence[int], count: int, scores: Sequence[float | None] | None, rng: random.Random
) -> Iterable[int]:
    """The places with the highest scores, of equal ones by chance."""
    shuffled = rng.sample(places, len(places))
    if scores is not None:
        shuffled.sort(key=lambda place: -(scores[place] or 0.0))
    return shuffled[:count]


def _uniform(
    clusters: Mapping[Cluster, Sequence[int]], count: int, rng: random.Random
) -> Iterator[int]:
    sizes = [len(places) for places in clusters.values()]
    shares = largest_remainder(count, [1.0] * len(sizes), sizes)
    for places, share in zip(clusters.values(), shares, strict=True):
        yield from rng.sample(places, share)


# --- the selection beside its controls


def _note(
    table: Table,
    kit: TableKit,
    config: BalanceConfig,
    clusters: Mapping[Cluster, Sequence[int]],
    chosen: set[int],
) -> None:
    everything = [place for places in clusters.values() for place in places]
    sets = {
        "before": set(everything),
        "selected": chosen,
        "control random": set(kit.rng.sample(everything, len(chosen))),
        "control cluster_uniform": set(_uniform(clusters, len(chosen), kit.rng)),
    }
    means = _means(table, config.compare, sets)
    for name, places in sets.items():
        filled = sum(not places.isdisjoint(members) for members in clusters.values())
        figures: dict[str, Json] = {"rows": len(places), "clusters_filled": filled}
        kit.note({name: {**figures, **means[name]}})


def _means(
    table: Table, fields: Sequence[str], sets: Mapping[str, set[int]]
) -> dict[str, dict[str, Json]]:
    """For each set the mean of each field over the rows that have a number in it."""
    sums: dict[tuple[str, str], list[float]] = {(s, f): [0.0, 0] for s in sets for f in fields}
    for place, row in enumerate(table) if fields else ():
        values = {field: _number(row.fields.get(field)) for field in fields}
        for name, places in sets.items():
            for field, value in values.items():
                if value is not None and place in places:
                    sums[name, field][0] += value
                    sums[name, field][1] += 1
    return {
        name: {
            f"mean {field}": round(sums[name, field][0] / sums[name, field][1], 6)
            for field in fields
            if sums[name, field][1]
        }
        for name in sets
    }
