"""Intervals cover what they say they do, also where everything agrees; seeded, so never by luck."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from scipy.stats import beta, binom

from synthkd.evaluate.calibration import Calibration, calibrate
from synthkd.evaluate.intervals import figure_of, share_of
from synthkd.evaluate.judged import Item, Pair
from synthkd.evaluate.reliability import ratio

PAIR = Pair(first="1", second="2", tie="0")
TIMES = 80
LEAST = float(binom.ppf(0.001, TIMES, 0.95)) / TIMES
"""What an interval that covers 95 % falls below in one of a thousand such tests."""


def test_ten_of_ten_is_not_certain() -> None:
    found = calibrate(
        [Item(id=str(n), verdict="12"[n % 2], labels={"p": "12"[n % 2]}) for n in range(10)]
    )
    accuracy, kappa = found.figures["accuracy"], found.figures["kappa"]
    assert accuracy is not None
    assert kappa is not None
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.6915, abs=1e-4)
    assert kappa.value == 1.0
    assert kappa.low < 0.75


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 9), (70, 100), (12, 12)])
def test_the_general_interval_of_a_share_is_the_exact_one(hits: int, n: int) -> None:
    import numpy as np

    part = np.array([1.0] * hits + [0.0] * (n - hits) + [0.0, 1.0])
    whole = np.ones(n + 2)
    drawn = figure_of(lambda w: ratio(part, whole, w), n, resamples=20_000, seed=0)
    exact = share_of(hits, n)
    assert (drawn.value, exact.value) == (hits / n, hits / n)
    assert drawn.low == pytest.approx(exact.low, abs=0.01)
    assert drawn.high == pytest.approx(exact.high, abs=0.01)
    assert exact.low == pytest.approx(beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0)


# --- how often the truth lies inside: worlds with a known truth, calibrated again and again


def people_and_judge(seed: int, n: int, right: float, rare: float) -> list[Item]:
    """Three people and a judge of pairs; `rare` of the truth is the second answer, some of it ties.

    The judge is right with probability `right`, people with 0.9, and 3 % of verdicts are none.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    truth = rng.choice(3, size=n, p=[0.1 * rare, 1 - 1.1 * rare, rare])

    def says(probability: float) -> Sequence[str]:
        wrong = (truth + rng.integers(1, 3, n)) % 3
        return [str(one) for one in np.where(rng.random(n) < probability, truth, wrong)]

    people = [says(0.9) for _ in range(3)]
    verdicts, swapped = says(right), says(right)
    silent = rng.random(n) < 0.03
    longer = rng.random(n) < 0.6
    return [
        Item(
            id=str(place),
            verdict=None if silent[place] else verdicts[place],
            swapped=swapped[place],
            chars=(9, 5) if longer[place] else (5, 9),
            labels={f"p{who}": said[place] for who, said in enumerate(people)},
        )
        for place in range(n)
    ]


@cache
def world(right: float, rare: float) -> Calibration:
    """Figures of so many items that they are the truth."""
    return calibrate(people_and_judge(10**6, 30_000, right, rare), pair=PAIR, resamples=2)


@pytest.mark.parametrize(("n", "right", "rare"), [(30, 0.7, 0.4), (100, 0.97, 0.15)])
def test_every_interval_covers_at_least_what_it_says(n: int, right: float, rare: float) -> None:
    covered: dict[str, list[bool]] = {}
    for seed in range(TIMES):
        items = people_and_judge(seed, n, right, rare)
        found = calibrate(items, pair=PAIR, resamples=200, seed=seed)
        for name, figure in found.figures.items():
            true = world(right, rare).figures[name]
            if figure is not None and true is not None:
                covered.setdefault(name, []).append(figure.low <= true.value <= figure.high)
    assert len(covered) == 11
    shares = {name: sum(times) / len(times) for name, times in covered.items()}
    assert min(shares.values()) >= LEAST, shares
