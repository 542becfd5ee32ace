"""Intervals cover what they say, also for few rows and at the ends of the scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import binomtest

from synthkd.evaluate import intervals
from synthkd.evaluate.classification import macro_f1
from synthkd.evaluate.intervals import drawn_weights
from synthkd.evaluate.paired import figure, lead, lead_by_seed, lead_of_means, mcnemar
from synthkd.evaluate.scored import Scored, f1_of, mean_of, share_right
from synthkd.manifest import Interval

RESAMPLES = 150
LUCK = 0.03
"""Two standard errors of a coverage of 0.95 that 200 samples measure."""

Sample = Callable[[Generator], tuple[Interval, float]]
"""An interval of a new sample, and the truth."""


def of_share(n: int, truth: float) -> Sample:
    def sample(rng: Generator) -> tuple[Interval, float]:
        return sure([share_right(rng.random(n) < truth)]), truth

    return sample


def of_mean(n: int, a: float, b: float) -> Sample:
    """Scores between 0 and 1, such as ROUGE's."""

    def sample(rng: Generator) -> tuple[Interval, float]:
        return sure([mean_of(rng.beta(a, b, n))]), a / (a + b)

    return sample


def labels(rng: Generator, n: int, n_labels: int, accuracy: float) -> Callable[[float], Scored]:
    gold = rng.integers(0, n_labels, n)

    def answered(right: float) -> Scored:
        wrong = (gold + rng.integers(1, n_labels, n)) % n_labels
        said = np.where(rng.random(n) < right, gold, wrong)
        return macro_f1([str(one) for one in gold], [str(one) for one in said])

    return answered


def of_macro_f1(n: int, n_labels: int, truth: float) -> Sample:
    """Labels alike: the F1 of each is the accuracy."""

    def sample(rng: Generator) -> tuple[Interval, float]:
        return sure([labels(rng, n, n_labels, truth)(truth)]), truth

    return sample


def of_macro_f1_lead(n: int, n_labels: int, one: float, other: float) -> Sample:
    def sample(rng: Generator) -> tuple[Interval, float]:
        answered = labels(rng, n, n_labels, one)
        found = lead([answered(one)], answered(other), resamples=RESAMPLES, seed=0)
        return found, one - other

    return sample


def of_spans(n: int, found: float) -> Sample:
    """Two spans a row on average, and 0.4 that are none."""

    def sample(rng: Generator) -> tuple[Interval, float]:
        wanted = rng.poisson(2, n)
        hits = rng.binomial(wanted, found)
        scored = f1_of(hits, hits + rng.poisson(0.4, n), wanted)
        return sure([scored]), 4 * found / (2 * found + 2.4)

    return sample


def of_lead(n: int, one: float, other: float, shared: float) -> Sample:
    """Rows have a difficulty that both feel, as far as `shared` says."""

    def sample(rng: Generator) -> tuple[Interval, float]:
        hard = rng.random(n)
        ours, theirs = (
            np.where(rng.random(n) < shared, hard, rng.random(n)) < right for right in (one, other)
        )
        found = lead([share_right(ours)], share_right(theirs), resamples=RESAMPLES, seed=0)
        return found, one - other

    return sample


def of_seeds(n: int, n_seeds: int, spread: float) -> Sample:
    """Accuracies of seeds around 0.7; rows have a difficulty."""

    truth = truth_of_seeds(spread)

    def sample(rng: Generator) -> tuple[Interval, float]:
        hard = rng.random(n)
        seeds = [
            share_right(0.5 * hard + 0.5 * rng.random(n) < 0.6 + rng.normal(0, spread))
            for _ in range(n_seeds)
        ]
        return sure(seeds), truth

    return sample


def of_means(n: int, n_ours: int, n_theirs: int, spread: float) -> Sample:
    """Two ways that are equally good; their seeds have nothing to do with each other."""

    def sample(rng: Generator) -> tuple[Interval, float]:
        hard = rng.random(n)

        def way(n_seeds: int) -> list[Scored]:
            return [
                share_right(0.5 * hard + 0.5 * rng.random(n) < 0.6 + rng.normal(0, spread))
                for _ in range(n_seeds)
            ]

        found = lead_of_means(way(n_ours), way(n_theirs), resamples=RESAMPLES, seed=0)
        return found, 0.0

    return sample


def of_lead_by_seed(n: int, n_seeds: int, spread: float) -> Sample:
    """Two ways that are equally good, compared seed by seed on the same rows."""

    def sample(rng: Generator) -> tuple[Interval, float]:
        hard = rng.random(n)

        def way() -> list[Scored]:
            return [
                share_right(0.5 * hard + 0.5 * rng.random(n) < 0.6 + rng.normal(0, spread))
                for _ in range(n_seeds)
            ]

        return lead_by_seed(way(), way(), resamples=RESAMPLES, seed=0), 0.0

    return sample


def truth_of_seeds(spread: float) -> float:
    rng = np.random.default_rng(1)
    mixed = 0.5 * rng.random(200_000) + 0.5 * rng.random(200_000)
    return float((mixed < 0.6 + rng.normal(0, spread, 200_000)).mean())


def sure(seeds: list[Scored]) -> Interval:
    return figure(seeds, resamples=RESAMPLES, seed=0)


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(of_share(10, 0.9), id="accuracy-10"),
        pytest.param(of_share(30, 0.99), id="accuracy-30"),
        pytest.param(of_mean(10, 2, 3), id="mean-10"),
        pytest.param(of_mean(10, 0.3, 0.2), id="mean-at-the-ends-10"),
        pytest.param(of_mean(30, 5, 0.2), id="mean-near-one-30"),
        pytest.param(of_macro_f1(30, 3, 0.8), id="macro-f1-30-3"),
        pytest.param(of_macro_f1(30, 3, 0.97), id="macro-f1-30-3-near-one"),
        pytest.param(of_macro_f1(100, 20, 0.6), id="macro-f1-100-20"),
        pytest.param(of_macro_f1_lead(60, 10, 0.9, 0.6), id="macro-f1-lead-60-10"),
        pytest.param(of_spans(10, 0.8), id="spans-10"),
        pytest.param(of_spans(30, 0.97), id="spans-30"),
        pytest.param(of_lead(10, 0.9, 0.8, 0.5), id="lead-10"),
        pytest.param(of_lead(30, 0.9, 0.8, 0.9), id="lead-30-alike"),
        pytest.param(of_lead(100, 0.9, 0.8, 0.5), id="lead-100"),
        pytest.param(of_seeds(40, 3, 0.1), id="3-seeds-far-apart"),
        pytest.param(of_seeds(40, 3, 0.0), id="3-seeds-alike"),
        pytest.param(of_seeds(100, 5, 0.05), id="5-seeds"),
        pytest.param(of_means(40, 3, 4, 0.1), id="3-seeds-against-4-others"),
        pytest.param(of_lead_by_seed(40, 3, 0.1), id="3-seeds-each-against-its-like"),
        pytest.param(of_lead_by_seed(100, 5, 0.05), id="5-seeds-each-against-its-like"),
    ],
)
def test_intervals_cover_at_least_what_they_say(sample: Sample) -> None:
    rng = np.random.default_rng(20261130)
    inside = 0
    for _ in range(200):
        found, truth = sample(rng)
        assert found.low <= found.value <= found.high
        inside += found.low <= truth <= found.high
    assert inside / 200 >= 0.95 - LUCK


def test_a_share_at_the_end_of_the_scale_has_the_exact_interval() -> None:
    found = sure([share_right([True] * 10)])
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(binomtest(10, 10).proportion_ci(0.95).low)


def test_equal_answers_are_equal_as_far_as_so_many_rows_can_tell() -> None:
    twin = share_right([True, False] * 50)
    found = lead([twin], twin, resamples=1000, seed=0)
    assert (found.value, found.p, found.only_student) == (0, 1, 0)
    assert found.low == pytest.approx(-found.high, abs=0.01)
    assert 0.02 < found.high < 0.06  # a hundred rows do not show a difference of three in a hundred


def test_large_samples_have_the_interval_of_the_normal_law() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(4000) < 0.8, rng.random(4000) < 0.7
    found = lead([share_right(ours)], share_right(theirs), resamples=2000, seed=0)
    apart = ours.astype(float) - theirs
    arm = 1.96 * apart.std() / 4000**0.5
    assert found.value == pytest.approx(apart.mean())
    assert found.low == pytest.approx(apart.mean() - arm, abs=0.1 * arm)
    assert found.high == pytest.approx(apart.mean() + arm, abs=0.1 * arm)


def test_mcnemar_looks_only_at_the_rows_on_which_they_differ() -> None:
    ours = share_right([True] * 8 + [False] * 2 + [True] * 90)
    theirs = share_right([False] * 8 + [True] * 2 + [True] * 90)
    found = lead([ours], theirs, resamples=50, seed=0)
    assert (found.only_student, found.only_other) == (8, 2)
    assert found.p == pytest.approx(2 * sum([1, 10, 45]) / 2**10)
    assert mcnemar(0, 0) == 1


def test_a_mean_has_no_test_of_right_and_wrong() -> None:
    found = lead([mean_of([0.5, 1.0])], mean_of([0.2, 0.0]), resamples=50, seed=0)
    assert found.value == pytest.approx(0.65)
    assert (found.p, found.only_student) == (None, None)


def test_seeds_far_apart_say_less_than_seeds_alike() -> None:
    alike = [share_right([True] * 30 + [False] * 20)] * 3
    apart = [share_right([True] * k + [False] * (50 - k)) for k in (20, 30, 40)]
    narrow, wide = sure(alike), sure(apart)
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    other = share_right([True, False] * 25)
    assert lead(apart, other, resamples=50, seed=0).value == pytest.approx(0.1)


def test_what_a_seed_does_to_both_ways_is_no_part_of_their_difference() -> None:
    """Two ways whose seeds are far apart, the first always a tenth ahead."""
    ranks = np.random.default_rng(0).permuted(np.tile(np.linspace(0, 1, 400), (3, 1)), axis=1)
    theirs = [share_right(ranks[seed] < share) for seed, share in enumerate((0.3, 0.5, 0.7))]
    ours = [share_right(ranks[seed] < share + 0.1) for seed, share in enumerate((0.3, 0.5, 0.7))]
    found = lead_by_seed(ours, theirs, resamples=150, seed=0)
    assert found.value == pytest.approx(0.1, abs=0.005)
    assert 0.05 < found.low < 0.1 < found.high < 0.15
    turned = lead_by_seed(ours, theirs[::-1], resamples=150, seed=0)
    assert turned.low < -0.5
    with pytest.raises(ValueError, match="zip"):
        lead_by_seed(ours, theirs[:2], resamples=150, seed=0)


def test_the_same_seed_gives_the_same_interval() -> None:
    scored = mean_of(np.linspace(0, 1, 20))
    again = [figure([scored], resamples=50, seed=s) for s in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_draws_do_not_depend_on_the_piece_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.vstack([*drawn_weights(30, 50, 3)])
    monkeypatch.setattr(intervals, "CELLS", 70)
    np.testing.assert_allclose(whole, np.vstack([*drawn_weights(30, 50, 3)]))
    assert not np.allclose(whole, np.vstack([*drawn_weights(30, 50, 4)]))
