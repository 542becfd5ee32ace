from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.optimize import linprog

from synthkd.curate.robust import capped, drawn, robust_shares


def worst_case(shares: np.ndarray, gains: np.ndarray, wrong: int) -> float:
    """What is gained if the teacher is wrong where it hurts most."""
    return float(np.sort(shares * gains)[: len(gains) - wrong].sum())


def optimum(gains: np.ndarray, wrong: int) -> float:
    """By linear programming. The m largest of v_i sum to min of m t + sum of max(0, v_i - t)."""
    n = len(gains)
    cost = np.concatenate([-gains, [wrong], np.ones(n)])
    above = np.hstack([np.diag(gains), -np.ones((n, 1)), -np.eye(n)])
    solved = linprog(
        cost,
        A_ub=above,
        b_ub=np.zeros(n),
        A_eq=[[1.0] * n + [0.0] * (n + 1)],
        b_eq=[1.0],
        bounds=[(0, None)] * (2 * n + 1),
    )
    return -float(solved.fun)


@pytest.mark.parametrize("seed", range(60))
def test_no_other_way_to_draw_gains_more_in_the_worst_case(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 13))
    gains, wrong = rng.random(n) ** 3, int(rng.integers(0, n))
    shares = robust_shares(list(gains), wrong)
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    assert worst_case(shares, gains, wrong) == pytest.approx(optimum(gains, wrong), abs=1e-7)


def test_without_wrong_rows_the_best_row_is_asked_and_gains_of_0_are_no_fault() -> None:
    assert robust_shares([0.2, 0.9, 0.0], 0).tolist() == [0, 1, 0]
    assert robust_shares([0.0, 0.0], 1) == pytest.approx([0.5, 0.5])
    assert robust_shares([0.0, 0.5, 0.5], 1) == pytest.approx([0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("gains", "wrong"), [([], 0), ([1.2], 0), ([float("nan")], 0), ([0.5], 1), ([0.5], -1)]
)
def test_what_has_no_answer_is_refused(gains: list[float], wrong: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        robust_shares(gains, wrong)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_rows_are_drawn_as_are_wanted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    wanted = int(rng.integers(1, n + 1))
    shares = robust_shares(list(rng.random(n)), int(rng.integers(0, n)))
    chances = capped(shares, wanted)
    assert chances.sum() == pytest.approx(wanted)
    assert ((chances >= 0) & (chances <= 1 + 1e-12)).all()
    chosen = drawn(chances, random.Random(seed))
    assert len(chosen) == len(set(chosen)) == wanted


def test_rows_are_drawn_with_the_chances_that_they_have() -> None:
    chances = np.array([1.0, 0.75, 0.75, 0.25, 0.25, 0.0])
    times = np.zeros(6)
    for seed in range(4000):
        times[drawn(chances, random.Random(seed))] += 1
    assert times / 4000 == pytest.approx(chances, abs=0.03)
