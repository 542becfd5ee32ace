"""One step's line of the funnel, while it runs and of one round alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from synthkd.manifest import StepCounts


@dataclass(slots=True)
class Tally:
    """One step's line of the funnel while it runs."""

    entered: int = 0
    made: int = 0
    out: int = 0
    rejected: int = 0
    failed: int = 0
    merged: int = 0
    waiting: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    discarded: Counter[str] = field(default_factory=Counter)

    @property
    def balances(self) -> bool:
        """Whether every row that was in is somewhere now."""
        gone = self.rejected + self.failed + self.merged + self.waiting
        return self.entered + self.made == self.out + gone

    def counts(self) -> StepCounts:
        """The line as it stands."""
        return StepCounts(
            entered=self.entered,
            made=self.made,
            out=self.out,
            rejected=self.rejected,
            failed=self.failed,
            merged=self.merged,
            waiting=self.waiting,
            reasons=dict(sorted(self.reasons.items())),
            discarded=dict(sorted(self.discarded.items())),
        )


def since(now: StepCounts, before: StepCounts) -> StepCounts:
    """What was added to a line, of two readings of it."""
    told = now.model_dump()
    for name, value in before.model_dump().items():
        told[name] = _less(told[name], value) if isinstance(value, Mapping) else told[name] - value
    return StepCounts(**told)


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: more for name, n in now.items() if (more := n - before.get(name, 0))}
