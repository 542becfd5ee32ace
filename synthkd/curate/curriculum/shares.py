"""The arithmetic of curricula: stages, mixtures, quotas, weights; pure, exact to the row."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from synthkd.recipes.quotas import largest_remainder


def equal_stages(values: Sequence[float], stages: int, *, descending: bool = False) -> list[int]:
    """The stage of each value, from 1: stages of equal size, of which the first are one larger.

    Equal values stand in the order in which they come. With fewer values than stages there are as
    many stages as values: none is empty.

    Args:
        values: finite.
        stages: at least 1.
        descending: whether the first stage has the largest.
    """
    places = in_order(values, descending=descending)
    count = min(stages, len(values))
    found = [0] * len(values)
    for rank, place in enumerate(places):
        found[place] = 1 + rank * count // len(places)
    return found


def stages_between(
    values: Sequence[float], edges: Sequence[float], *, descending: bool = False
) -> list[int]:
    """The stage of each value, from 1: a value on an edge belongs to what is above it.

    Stages in which nothing falls are not counted, so that none is empty.

    Args:
        values: finite.
        edges: ascending.
        descending: whether the first stage has the largest.
    """
    sign = -1 if descending else 1
    between = [sign * bisect_right(edges, value) for value in values]
    number = {found: place for place, found in enumerate(sorted(set(between)), 1)}
    return [number[found] for found in between]


def in_order(values: Sequence[float], *, descending: bool = False) -> list[int]:
    """The places of the values from the first to the last; of equal ones in the order they come."""
    sign = -1 if descending else 1
    return sorted(range(len(values)), key=lambda place: sign * values[place])


class Mixture(NamedTuple):
    """How many rows are taken of each kind."""

    hard: int
    seeds: int
    is_exact: bool
    """Whether the share is met to the row."""


def mixture(
    share: float,
    *,
    hard: int,
    seeds: int,
    fixed_hard: int = 0,
    fixed_seeds: int = 0,
    most: int | None = None,
) -> Mixture:
    """The largest mixture in which round(share x rows) rows are hard, half up.

    Where the fixed rows leave none, what comes nearest: all new rows of the kind that is missing.

    Args:
        share: of hard rows, 0 to 1; taken as the decimal number that it is written as.
        hard: new hard rows that could be taken.
        seeds: new other rows that could be taken.
        fixed_hard: hard rows that are in it anyway.
        fixed_seeds: other rows that are in it anyway.
        most: rows in all, the fixed ones too; None = as many as there are.

    Returns:
        How many new rows of each kind.
    """
    wanted = Fraction(str(share))
    over, under = wanted.as_integer_ratio()
    fixed = fixed_hard + fixed_seeds
    largest = fixed + hard + seeds
    for rows in range(largest if most is None else min(most, largest), fixed - 1, -1):
        of_hard = (2 * over * rows + under) // (2 * under)
        take_hard, take_seeds = of_hard - fixed_hard, rows - of_hard - fixed_seeds
        if 0 <= take_hard <= hard and 0 <= take_seeds <= seeds:
            return Mixture(take_hard, take_seeds, True)
    room = max(0, (largest if most is None else most) - fixed)
    if fixed_hard * under > over * fixed:
        return Mixture(0, min(seeds, room), False)
    return Mixture(min(hard, room), 0, False)


def quotas(rows: int, ratios: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """How many rows each class that occurs shall have: their sum is `rows`, exactly.

    The ratios of the classes that occur are made to sum to 1 first: to share out what the others
    leave afterwards, at most one row a class, would lose most of it.

    Args:
        rows: in all.
        ratios: class -> its share, at least 0; need not sum to 1.
        sizes: class -> rows that there are.

    Raises:
        ValueError: no class that occurs has a ratio above 0.
    """
    names = [name for name in ratios if ratios[name] > 0 and sizes.get(name, 0) > 0]
    if not names:
        raise ValueError("no class that occurs has a ratio above 0")
    shares = largest_remainder(rows, [ratios[name] for name in names], [rows] * len(names))
    return dict(zip(names, shares, strict=True))


def spread_out(total: int, among: int) -> list[int]:
    """A whole number for each; they sum to `total` and differ by one at most, larger ones first."""
    whole, rest = divmod(total, among)
    return [whole + (place < rest) for place in range(among)]


def gap(student: float, teacher: float, epsilon: float) -> float:
    """How far a student is behind: (1 - student + epsilon) / (1 - teacher + epsilon).

    In place of DDK's ratio of perplexities (arXiv 2407.16154, eq. 1), which a teacher that can only
    be talked to does not tell. 1 = they err alike.

    Args:
        student: its accuracy, 0 to 1.
        teacher: as well.
        epsilon: above 0; how much the ratio of two that hardly err is drawn towards 1.
    """
    return (1 - student + epsilon) / (1 - teacher + epsilon)


def domain_weights(gaps: Sequence[float], *, alpha: float, cap: float) -> list[float]:
    """The share of each domain by DDK (arXiv 2407.16154, eq. 2, of its first step), smoothed.

        psi[i] = exp(min(gap[i], cap))
        share[i] = alpha psi[i] / sum(psi) + (1 - alpha) / N

    Args:
        gaps: one a domain, as `gap` gives it; at least one.
        alpha: 0 to 1; 0 = all domains alike.
        cap: of the exponent, which without it lets one domain have all.

    Returns:
        Shares that sum to 1; none is below (1 - alpha) / N.
    """
    n = len(gaps)
    capped = [min(each, cap) for each in gaps]
    most = max(capped)
    psi = [math.exp(each - most) for each in capped]
    total = math.fsum(psi)
    return [alpha * each / total + (1 - alpha) / n for each in psi]
