"""The law of the audit: however often one looks, the truth is outside no more often than said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.evaluate.sequential import Prior, bounds_after, evidence_against, surely_above

PRIORS = [Prior(), Prior.above(0.9), Prior.above(0.99), Prior(good=0.5, bad=3)]


def ever_outside(k: int, n_all: int, risk: float, prior: Prior) -> float:
    """The exact probability that k good ones of n are ever refuted, over all orders of drawing."""
    chances = {0: 1.0}  # good ones so far -> probability, of the paths that never refuted k
    outside = 0.0
    for seen in range(n_all):
        following: dict[int, float] = {}
        for good, chance in chances.items():
            p_good = (k - good) / (n_all - seen)
            for label, p in ((1, p_good), (0, 1 - p_good)):
                if p > 1e-15:
                    there = good + label
                    following[there] = following.get(there, 0.0) + chance * p
        chances = {}
        for good, chance in following.items():
            if evidence_against(k, n_all, seen + 1, good, prior) >= -math.log(risk):
                outside += chance
            else:
                chances[good] = chance
    return outside


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("risk", [0.05, 0.2])
@pytest.mark.parametrize("n_all", [7, 40])
def test_coverage_is_at_least_nominal_exactly(n_all: int, risk: float, prior: Prior) -> None:
    worst = max(ever_outside(k, n_all, risk, prior) for k in range(n_all + 1))
    assert worst <= risk
    assert worst > 0 or n_all < 10  # the law is not kept by never saying anything


def test_coverage_of_many_is_at_least_nominal_exactly() -> None:
    prior = Prior.above(0.95)
    assert max(ever_outside(k, 300, 0.05, prior) for k in (285, 284, 270, 150)) <= 0.05


def test_a_fixed_interval_that_is_looked_at_again_and_again_is_not_valid() -> None:
    """The control: Clopper-Pearson after each of 400 labels claims what is false 4 times as often.

    Its lower end at 95 % is above 0.9 where so many good ones have a probability of at most 0.05.
    """
    import numpy as np
    from scipy.stats import binom

    enough = binom.isf(0.05, np.arange(1, 401), 0.9) + 1
    chances, false_claims = np.array([1.0]), 0.0
    for claim_from in enough.astype(int):
        chances = np.append(chances, 0) * 0.1 + np.insert(chances, 0, 0) * 0.9
        false_claims += chances[claim_from:].sum()
        chances[claim_from:] = 0
    assert false_claims > 0.2  # said: 0.05


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 40), st.sampled_from(PRIORS))
@settings(deadline=None)
def test_bounds_hold_what_was_seen_and_never_widen(
    labels: list[bool], more: int, prior: Prior
) -> None:
    n_all = len(labels) + more
    before = None
    for seen in range(len(labels) + 1):
        now = bounds_after(labels[:seen], n_all=n_all, risk=0.05, prior=prior)
        assert 0 <= now.least <= now.most <= n_all
        if before is not None:
            assert before.least <= now.least
            assert now.most <= before.most or now.most == now.least
        before = now
    if more == 0 and labels:
        final = bounds_after(labels, n_all=n_all, risk=0.05, prior=prior)
        assert final.least <= sum(labels) <= final.most or final.least == final.most


@given(
    st.lists(st.booleans(), min_size=1, max_size=25), st.integers(0, 10), st.sampled_from(PRIORS)
)
@settings(deadline=None)
def test_the_borders_are_those_of_trying_every_number(
    labels: list[bool], more: int, prior: Prior
) -> None:
    n_all, least, most = len(labels) + more, 0, len(labels) + more
    for seen in range(1, len(labels) + 1):
        good = sum(labels[:seen])
        stand = [
            k
            for k in range(good, n_all - (seen - good) + 1)
            if evidence_against(k, n_all, seen, good, prior) < -math.log(0.05)
        ]
        least, most = max(least, stand[0]), min(most, stand[-1])
    found = bounds_after(labels, n_all=n_all, risk=0.05, prior=prior)
    assert (found.least, found.most) == (least, max(least, most))


@pytest.mark.parametrize(
    ("share", "prior", "labels"),
    [
        (0.9, Prior.above(0.9), 40),
        (0.95, Prior.above(0.95), 81),
        (0.99, Prior.above(0.99), 410),
        (0.95, Prior(), 158),
    ],
)
def test_how_many_good_labels_in_a_row_show_a_precision(
    share: float, prior: Prior, labels: int
) -> None:
    def low(n: int) -> float:
        return bounds_after([True] * n, n_all=1_000_000, risk=0.05, prior=prior).low

    assert low(labels - 1) < share <= low(labels)


def test_nothing_seen_nothing_known() -> None:
    found = bounds_after([], n_all=10, risk=0.05, prior=Prior())
    assert (found.low, found.high) == (0.0, 1.0)
    empty = bounds_after([], n_all=0, risk=0.05, prior=Prior())
    assert (empty.low, empty.high) == (0.0, 1.0)


@given(st.integers(1, 500), st.floats(0, 0.99), st.data())
@settings(max_examples=60)
def test_losses_are_surely_too_many_only_above_the_share_and_stay_so(
    of: int, share: float, data: st.DataObject
) -> None:
    lost = data.draw(st.integers(0, of))
    if surely_above(lost, of, share):
        assert lost > share * of
        assert lost == of or surely_above(lost + 1, of, share)


def test_what_chance_may_do_is_not_sure() -> None:
    assert not surely_above(43, 100, 0.3)
    assert surely_above(50, 100, 0.3)
    assert surely_above(1, 5, 0)
    assert not surely_above(5, 5, 1)
