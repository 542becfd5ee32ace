from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from synthkd.config import EvaluateConfig
from synthkd.evaluate.scored import share_right
from synthkd.evaluate.wording import cochran, over_wordings, spread, worst
from synthkd.manifest import Wordings

GOLD = ["a", "b"] * 20


def found(**answers: list[str | None]) -> Wordings:
    config = EvaluateConfig(bootstrap=100, metrics=["accuracy"])
    return over_wordings("main", GOLD, answers, evaluate=config, seed=0)


def test_wordings_that_make_no_difference() -> None:
    one = found(first=[*GOLD], second=[*GOLD], third=[label.upper() for label in GOLD])
    assert one.mean.value == one.worst.value == one.agreement.value == 1
    assert one.spread.value == 0
    assert one.mean.low < 1  # forty rows are forty rows
    assert one.p is None


def test_a_wording_that_fails_is_the_worst_and_the_spread_is_no_chance() -> None:
    one = found(first=[*GOLD], second=["a"] * 40)
    assert (one.mean.value, one.worst.value, one.spread.value) == (0.75, 0.5, 0.5)
    assert one.agreement.value == 0.5
    assert one.spread.low > 0
    assert one.p is not None
    assert one.p < 1e-4


def test_no_answer_agrees_with_nothing() -> None:
    one = found(first=[None] * 40, second=[None] * 40)
    assert one.agreement.value == 0
    assert one.mean.value == 0


def test_right_by_chance_in_other_rows_is_no_spread() -> None:
    wrong = ["b", "a"]
    one = found(first=[*GOLD[:20], *wrong * 10], second=[*wrong * 10, *GOLD[20:]])
    assert one.spread.value == 0
    assert one.agreement.value == 0
    assert one.p == 1


def test_the_spread_of_equally_good_wordings_holds_zero() -> None:
    # A bootstrap of the spread itself holds it in seven of ten.
    held = 0
    for trial in range(30):
        rng = random.Random(trial)
        ease = [rng.gauss(0, 1) for _ in range(30)]
        scored = [share_right([one + rng.gauss(0, 1) < 1 for one in ease]) for _ in range(3)]
        held += spread(scored, resamples=100, seed=trial).low == 0
        lowest = worst(scored, resamples=100, seed=trial)
        assert lowest.low <= lowest.value <= lowest.high
    assert held >= 27


@pytest.mark.parametrize("rights", [(0.9, 0.8, 0.7), (0.95, 0.95, 0.9)])
def test_worst_and_spread_hold_the_truth_as_often_as_they_say(rights: tuple[float, ...]) -> None:
    """Each row has an ease that each wording feels, or not, as a coin falls."""
    held = {"worst": 0, "spread": 0}
    for trial in range(60):
        rng = random.Random(trial)
        rows = [rng.random() for _ in range(40)]
        scored = [
            share_right([(ease if rng.random() < 0.5 else rng.random()) < right for ease in rows])
            for right in rights
        ]
        lowest = worst(scored, resamples=60, seed=trial)
        apart = spread(scored, resamples=60, seed=trial)
        held["worst"] += lowest.low <= min(rights) <= lowest.high
        held["spread"] += apart.low <= max(rights) - min(rights) + 1e-9 <= apart.high + 2e-9
    assert min(held.values()) >= 57, held  # 95 %


def test_cochran_is_that_of_the_textbook() -> None:
    # Three treatments: 5, 4 and 1 of 6 right; Q = 3 * 2 * (sum of squares) / sum u (k - u).
    table = [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    q = 6 * ((5 - 10 / 3) ** 2 + (4 - 10 / 3) ** 2 + (1 - 10 / 3) ** 2) / (0 + 2 + 2 + 2 + 2 + 0)
    assert cochran([share_right(row) for row in table]) == pytest.approx(chi2.sf(q, 2))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", None]), min_size=40, max_size=40),
        min_size=2,
        max_size=4,
    )
)
def test_worst_is_below_mean_and_every_interval_holds_its_figure(
    given_: list[list[str | None]],
) -> None:
    one = found(**{f"w{n}": answers for n, answers in enumerate(given_)})
    assert one.worst.value <= one.mean.value + 1e-12
    assert one.spread.value <= 1 - one.worst.value + 1e-12
    for interval in (one.mean, one.worst, one.spread, one.agreement):
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
