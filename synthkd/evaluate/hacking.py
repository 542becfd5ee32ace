"""Teacher hacking: a student comes ever nearer to its teacher and goes away from what is right.

    readings = [Reading(at=100, proxy=-1.9, golden=[...]), Reading(at=200, ...), ...]
    alarms(readings, evals=3, ses=2.0)      # [Alarm(at=900, best=500, worse=0.12, se=0.04), ...]
    readings[best(readings)].at             # the checkpoint to keep

The proxy says how well the student does what its teacher does; the golden score says how right it
is, by answers or a judge that the teacher did not make (arXiv 2502.02671). Where the proxy still
improves and golden has turned, more training does harm, and the proxy will never say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a student in training: at a checkpoint, or after a round."""

    at: int
    """The step, or the round."""
    proxy: float
    """How near it is to the teacher; more is nearer."""
    golden: Sequence[float]
    """How right it is on each golden row; more is better, and the rows are always the same."""

    @property
    def mean(self) -> float:
        """The golden score."""
        return math.fsum(self.golden) / len(self.golden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A reading at which the student was being hacked."""

    at: int
    best: int
    """Where golden was best before."""
    worse: float
    """How far golden is below that."""
    se: float
    """The standard error of `worse`, from the differences row by row."""


def best(readings: Sequence[Reading]) -> int:
    """The place of the reading with the best golden score; of equal ones the first."""
    means = [reading.mean for reading in readings]
    return means.index(max(means))


def alarms(readings: Sequence[Reading], *, evals: int = 3, ses: float = 2.0) -> list[Alarm]:
    """Where the proxy improved over so many evaluations while golden got worse.

    An alarm needs that each of the last `evals` readings is worse than the best before them by more
    than `ses` standard errors, and that the proxy is better than it was at that best and better
    than `evals` readings ago. One bad reading is no alarm: with `ses` 1 a sixth of all readings
    would be, of noise alone.

    Args:
        readings: in the order of training.
        evals: readings in a row.
        ses: standard errors of the paired difference.
    """
    found = []
    for now in range(evals, len(readings)):
        turn = best(readings[: now - evals + 1])
        last = readings[now - evals + 1 : now + 1]
        falls = [_fall(readings[turn], reading) for reading in last]
        nearer = readings[now].proxy > max(readings[turn].proxy, readings[now - evals].proxy)
        if nearer and all(worse > ses * se for worse, se in falls):
            worse, se = falls[-1]
            found.append(Alarm(at=readings[now].at, best=readings[turn].at, worse=worse, se=se))
    return found


def _fall(before: Reading, after: Reading) -> tuple[float, float]:
    """How far golden fell, and the standard error of that."""
    n = len(before.golden)
    falls = [b - a for b, a in zip(before.golden, after.golden, strict=True)]
    mean = math.fsum(falls) / n
    if n < 2:
        return mean, math.inf
    variance = math.fsum((fall - mean) ** 2 for fall in falls) / (n - 1)
    return mean, math.sqrt(variance / n)
