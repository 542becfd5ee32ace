"""Whether answers belong to their rows: agreement with gold against what chance would give. Pure.

    found = alignment(answers, gold, random.Random(0))
    found.agreement, found.chance, found.p_chance

Chance is what comes of the same answers dealt out to the rows at random: answers of three labels
agree with gold in a third of the rows whatever they belong to. The number of agreements of such a
deal has a known mean and variance (Hoeffding 1951, for sums over random permutations); how unusual
the number found is, is counted over deals.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEALS = 999
"""Random deals: the smallest probability that can be told is 1 / (1 + DEALS)."""
MOST_DEALT = 5_000
"""Rows that are dealt out, drawn evenly: more would only take longer."""
FARTHEST = 1000
"""Rows by which a shift is looked for, either way: a lost shard of the usual size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What the agreement of answers with gold shows."""

    n: int
    """Rows with both an answer and gold."""
    agreeing: int
    chance: float
    """The share that would agree if the answers were dealt out at random."""
    sd: float
    """The standard deviation of that share."""
    p_chance: float
    """How often a random deal agrees as much or more, 1/1000 at least."""

    @property
    def agreement(self) -> float:
        """The share that agrees."""
        return self.agreeing / self.n if self.n else 0.0

    def p_below(self, share: float) -> float:
        """How probable so many agreements would be, were the true share this one."""
        return _binomial(self.agreeing, self.n, share, "greater")

    def p_above(self, share: float) -> float:
        """How probable so few agreements would be, were the true share this one."""
        return _binomial(self.agreeing, self.n, share, "less")


def alignment(answers: Sequence[str], gold: Sequence[str], rng: random.Random) -> Alignment:
    """The agreement of answers with gold, and of random deals of them.

    Args:
        answers: in one spelling, as long as `gold`.
        gold: in the same spelling.
        rng: the source of chance.
    """
    n = len(answers)
    agreeing = sum(one == other for one, other in zip(answers, gold, strict=True))
    mean, sd = dealt(answers, gold)
    places = range(n) if n <= MOST_DEALT else sorted(rng.sample(range(n), MOST_DEALT))
    said, right = codes([answers[i] for i in places], [gold[i] for i in places])
    found, deals = int((said == right).sum()), _generator(rng)
    as_good = sum(int((deals.permutation(said) == right).sum()) >= found for _ in range(DEALS))
    return Alignment(
        n=n,
        agreeing=agreeing,
        chance=mean / n if n else 0.0,
        sd=sd / n if n else 0.0,
        p_chance=(1 + as_good) / (1 + DEALS),
    )


def dealt(answers: Sequence[str], gold: Sequence[str]) -> tuple[float, float]:
    """Mean and standard deviation of the number of agreements of a random deal."""
    n = len(answers)
    if n < 2:
        return float(sum(map(str.__eq__, answers, gold))), 0.0
    said, right = Counter(answers), Counter(gold)
    pairs = [(said[label], right[label]) for label in said if label in right]
    hits = sum(a * g for a, g in pairs)
    # The sum of the squares of the table of agreements after its rows', columns' and own mean.
    squares = (
        hits
        - sum(a * g * g for a, g in pairs) / n
        - sum(a * a * g for a, g in pairs) / n
        + hits * hits / (n * n)
    )
    return hits / n, math.sqrt(max(0.0, squares) / (n - 1))


def so_few(agreeing: int, of: int, agreeing_in_all: int, n: int) -> float:
    """How probable so few agreements are in so many rows, were these drawn from all by chance."""
    from scipy.stats import hypergeom

    return float(hypergeom.cdf(agreeing, n, agreeing_in_all, of))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Answers that would agree better some rows further on."""

    rows: int
    """Answer k is one to row k + rows."""
    agreement: float


def best_shift(answers: Sequence[str], gold: Sequence[str]) -> Shift | None:
    """The shift at which most answers agree with gold; None = it is none, or too few rows overlap.

    Args:
        answers: of all rows in their order, "" where there is none: it agrees with nothing.
        gold: the same.
    """
    said, right = codes(answers, gold)
    said[[not one for one in answers]] = -1
    right[[not one for one in gold]] = -2
    far = min(FARTHEST, len(said) // 2)
    best = (float((said == right).mean()) if len(said) else 0.0, 0)
    for rows in range(1, far + 1):
        ahead = float((said[:-rows] == right[rows:]).mean())
        behind = float((said[rows:] == right[:-rows]).mean())
        best = max(best, (ahead, rows), (behind, -rows), key=lambda one: (one[0], -abs(one[1])))
    return Shift(rows=best[1], agreement=best[0]) if best[1] else None


def codes(
    answers: Sequence[str], gold: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as numbers: equal where the texts are equal."""
    import numpy as np

    number: dict[str, int] = {}
    for text in (*answers, *gold):
        number.setdefault(text, len(number))
    return (
        np.array([number[text] for text in answers], dtype=np.int64),
        np.array([number[text] for text in gold], dtype=np.int64),
    )


def _binomial(agreeing: int, n: int, share: float, side: str) -> float:
    from scipy.stats import binomtest

    return float(binomtest(agreeing, n, share, alternative=side).pvalue) if n else 1.0


def _generator(rng: random.Random) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(rng.getrandbits(64))
