from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from synthkd.errors import UserError
from synthkd.evaluate.preference import win_rate


def drawn(
    t: float, b: float, tilt: float, n: int = 4000, seed: int = 7
) -> tuple[list[float], list[float]]:
    """Comparisons of a judge of that model; `tilt` = how much longer the first answers are."""
    rng = random.Random(seed)
    lengths = [rng.gauss(tilt, 100) for _ in range(n)]
    spread = math.sqrt(sum(d * d for d in lengths) / n)
    wins = [
        float(rng.random() < 1 / (1 + math.exp(-t - b * math.tanh(d / spread)))) for d in lengths
    ]
    return wins, lengths


@pytest.mark.parametrize("t", [-0.8, 0.0, 0.5])
def test_what_length_does_is_told_apart_from_what_is_better(t: float) -> None:
    wins, lengths = drawn(t, 2.0, tilt=80)
    found = win_rate(wins, lengths)
    assert found.at_equal_length.value == pytest.approx(1 / (1 + math.exp(-t)), abs=0.04)
    assert found.length_effect == pytest.approx(2.0, abs=0.35)
    assert found.raw.value > found.at_equal_length.value + 0.05


def test_a_judge_that_always_takes_the_longer_has_nothing_left() -> None:
    rng = random.Random(1)
    lengths = [rng.gauss(50, 100) for _ in range(1000)]
    found = win_rate([float(d > 0) for d in lengths], lengths)
    assert found.longer == 1.0
    assert found.raw.value > 0.65
    assert found.at_equal_length.value == pytest.approx(0.5, abs=0.07)


def test_equal_lengths_leave_the_raw_rate() -> None:
    found = win_rate([1.0] * 300 + [0.0] * 100, [0.0] * 400)
    assert found.at_equal_length.value == pytest.approx(0.75, abs=0.002)
    assert (found.raw.value, found.longer, found.length_effect) == (0.75, None, 0.0)


@pytest.mark.parametrize(("t", "tilt"), [(0.4, 80), (-0.2, -50)])
def test_95_of_100_intervals_hold_the_truth(t: float, tilt: float) -> None:
    raw_truth = win_rate(*drawn(t, 2.0, tilt, n=40_000, seed=0)).raw.value
    held = {"raw": 0, "at equal length": 0}
    for seed in range(200):
        found = win_rate(*drawn(t, 2.0, tilt, n=300, seed=seed + 1))
        held["raw"] += found.raw.low <= raw_truth <= found.raw.high
        truth = 1 / (1 + math.exp(-t))
        held["at equal length"] += found.at_equal_length.low <= truth <= found.at_equal_length.high
    assert all(183 <= times <= 199 for times in held.values()), held


@pytest.mark.parametrize("n", [5, 10, 40])
def test_intervals_hold_the_truth_also_for_few_comparisons_nearly_all_won(n: int) -> None:
    """At equal length both rates are the share of wins, so that the coverage can be added up."""
    found = [win_rate([1.0] * k + [0.0] * (n - k), [0.0] * n) for k in range(n + 1)]
    for share in (0.5, 0.7, 0.9, 0.96, 0.985, 0.995):
        chances = binom.pmf(range(n + 1), n, share)
        for name in ("raw", "at_equal_length"):
            rates = [getattr(one, name) for one in found]
            inside = [rate.low <= share <= rate.high for rate in rates]
            assert chances[inside].sum() >= 0.95, (name, share)


@pytest.mark.parametrize("n", [12, 40])
def test_intervals_hold_the_truth_where_length_matters_and_comparisons_are_few(n: int) -> None:
    t = 2.5
    raw_truth = win_rate(*drawn(t, 1.0, 50, n=40_000, seed=0)).raw.value
    held = {"raw": 0, "at equal length": 0}
    for seed in range(200):
        found = win_rate(*drawn(t, 1.0, 50, n=n, seed=seed + 1))
        held["raw"] += found.raw.low <= raw_truth <= found.raw.high
        rate, truth = found.at_equal_length, 1 / (1 + math.exp(-t))
        held["at equal length"] += rate.low <= truth <= rate.high
    assert all(times >= 184 for times in held.values()), held


COMPARISONS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-500, 500)), min_size=1, max_size=60
)


@settings(deadline=None)
@given(COMPARISONS)
def test_swapping_the_sides_mirrors_the_rates(comparisons: list[tuple[float, int]]) -> None:
    wins, lengths = [w for w, _ in comparisons], [float(d) for _, d in comparisons]
    here, there = win_rate(wins, lengths), win_rate([1 - w for w in wins], [-d for d in lengths])
    assert there.raw.value == pytest.approx(1 - here.raw.value)
    assert there.at_equal_length.value == pytest.approx(1 - here.at_equal_length.value, abs=1e-6)
    assert there.length_effect == pytest.approx(here.length_effect, abs=1e-5)
    for rate, mirrored in ((here.raw, there.raw), (here.at_equal_length, there.at_equal_length)):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
        assert mirrored.low == pytest.approx(1 - rate.high, abs=1e-6)
    assert 0 < here.at_equal_length.value < 1


@settings(deadline=None)
@given(COMPARISONS)
def test_a_comparison_that_stands_for_three_is_three(comparisons: list[tuple[float, int]]) -> None:
    wins, lengths = [w for w, _ in comparisons], [float(d) for _, d in comparisons]
    one, three = win_rate(wins, lengths, [3] * len(wins)), win_rate(wins * 3, lengths * 3)
    assert one.n == three.n == 3 * len(wins)
    assert one.raw.value == pytest.approx(three.raw.value)
    assert one.at_equal_length.low == pytest.approx(three.at_equal_length.low, abs=1e-6)
    assert one.longer == pytest.approx(three.longer) or one.longer is three.longer


@pytest.mark.parametrize(
    ("wins", "lengths"), [([], []), ([2.0], [1.0]), ([0.5], [math.inf]), ([1.0], [1.0, 2.0])]
)
def test_comparisons_that_are_none(wins: list[float], lengths: list[float]) -> None:
    with pytest.raises(UserError):
        win_rate(wins, lengths)
