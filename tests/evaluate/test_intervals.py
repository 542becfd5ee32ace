"""Intervals cover what they say they do, also where everything agrees; seeded, so never by luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import pytest
from scipy.stats import beta, binom

from synthkd.evaluate.calibration import Calibration, calibrate
from synthkd.evaluate.intervals import figure_of, share_of
from synthkd.evaluate.judged import GOOD, Item, Pair, as_good, truth_of
from synthkd.evaluate.reliability import ratio
from synthkd.evaluate.thresholds import Wanted

PAIR = Pair(first="1", second="2", tie="0")
TIMES = 60
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
        found = calibrate(items, pair=PAIR, resamples=150, seed=seed)
        for name, figure in found.figures.items():
            true = world(right, rare).figures[name]
            if figure is not None and true is not None:
                covered.setdefault(name, []).append(figure.low <= true.value <= figure.high)
    assert len(covered) == 11
    _holds(covered)


def graded(seed: int, n: int) -> list[Item]:
    """Two people and a judge that grade from 1 to 5, each one off now and then; scores beside."""
    import numpy as np

    rng = np.random.default_rng(seed)
    truth = rng.choice(5, size=n, p=[0.05, 0.15, 0.3, 0.3, 0.2])

    def says(off: float) -> Sequence[int]:
        moved = truth + rng.choice([-1, 0, 1], size=n, p=[off / 2, 1 - off, off / 2])
        return [int(one) + 1 for one in np.clip(moved, 0, 4)]

    people, verdicts = [says(0.2), says(0.2)], says(0.3)
    silent = rng.random(n) < 0.03
    return [
        Item(
            id=f"{seed}-{place}",
            verdict=None if silent[place] else str(verdicts[place]),
            score=None if silent[place] else verdicts[place] / 5,
            labels={f"p{who}": str(said[place]) for who, said in enumerate(people)},
        )
        for place in range(n)
    ]


@cache
def graded_world() -> Calibration:
    return calibrate(graded(10**6, 30_000), scale="ordinal", resamples=2)


def test_intervals_of_an_ordinal_scale_cover_too() -> None:
    covered: dict[str, list[bool]] = {}
    for seed in range(TIMES):
        found = calibrate(graded(seed, 60), scale="ordinal", resamples=200, seed=seed)
        for name in ("accuracy", "kappa", "weighted_kappa", "alpha", "people_alpha"):
            figure, true = found.figures[name], graded_world().figures[name]
            assert figure is not None
            assert true is not None
            covered.setdefault(name, []).append(figure.low <= true.value <= figure.high)
    _holds(covered)


@cache
def precision_from(cut: float, wanted: Wanted) -> float:
    """What a threshold does to very many items."""
    many = as_good(graded(10**6, 10_000), wanted.good)
    truths = [truth_of(item, "nominal") for item in many if (item.score or 0) >= cut]
    known = [truth for truth in truths if truth is not None]
    return known.count(GOOD) / len(known)


def test_the_interval_of_a_precision_covers_what_the_chosen_threshold_does() -> None:
    """Each choice has a truth of its own: the precision of its threshold on very many items."""
    wanted = Wanted(precision=0.8, good=("4", "5"))
    covered = []
    for seed in range(TIMES):
        found = calibrate(graded(seed, 200), scale="ordinal", wanted=wanted, resamples=2)
        assert found.threshold is not None
        cut, precision = found.threshold.threshold, found.figures["precision"]
        if cut is not None and precision is not None:
            covered.append(precision.low <= precision_from(cut, wanted) <= precision.high)
    assert len(covered) > TIMES / 2
    _holds({"precision": covered})


def _holds(covered: Mapping[str, Sequence[bool]]) -> None:
    shares = {name: sum(times) / len(times) for name, times in covered.items()}
    assert min(shares.values()) >= LEAST, shares
