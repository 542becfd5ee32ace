"""Agreement of raters: published worked examples, scikit-learn, and the cases without variation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from synthkd.evaluate.reliability import Scale, alpha, distances, kappa, ratio

_ = -1
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C and its continuations:
# four observers, twelve units, gaps; labels 1 to 5 as places 0 to 4.
WORKED = np.array(
    [
        [0, 1, 2, 2, 1, 0, 3, 0, 1, _, _, _],
        [0, 1, 2, 2, 1, 1, 3, 0, 1, 4, _, 2],
        [_, 2, 2, 2, 1, 2, 3, 1, 1, 4, 0, _],
        [0, 1, 2, 2, 1, 3, 3, 0, 1, 4, 0, _],
    ]
).T


def once(n: int) -> Any:
    return np.ones((1, n))


@pytest.mark.parametrize(
    ("scale", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_that_of_the_worked_example(scale: Scale, published: float) -> None:
    (found,) = alpha(WORKED, [1, 2, 3, 4, 5], scale, once(12))
    assert found == pytest.approx(published, abs=5e-4)


def test_alpha_of_two_observers_is_that_of_the_worked_example() -> None:
    # The same paper, section A: binary data of two observers, alpha 0.095.
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    two = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    (found,) = alpha(np.array([one, two]).T, [0, 1], "nominal", once(10))
    assert found == pytest.approx(0.095, abs=5e-4)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30),
    st.sampled_from([("nominal", None), ("ordinal", "quadratic")]),
)
@settings(deadline=None)
def test_kappa_is_that_of_scikit_learn(
    pairs: list[tuple[int, int]], how: tuple[Scale, str | None]
) -> None:
    scale, weights = how
    one, two = (np.array(side) for side in zip(*pairs, strict=True))
    (found,) = kappa(one, two, distances(range(4), scale), once(len(pairs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where it gives NaN
        expected = cohen_kappa_score(one, two, labels=range(4), weights=weights)
    assert found == pytest.approx(0.0 if np.isnan(expected) else expected)


def test_a_judge_that_always_says_the_same_has_kappa_0() -> None:
    always = np.zeros(6, dtype=int)
    truth = np.array([0, 0, 0, 1, 1, 2])
    apart = distances(range(3), "nominal")
    assert kappa(always, truth, apart, once(6)) == pytest.approx([0.0])
    assert kappa(always, always, apart, once(6)) == pytest.approx([0.0])
    assert alpha(np.stack([always, always], 1), range(3), "nominal", once(6)) == pytest.approx([0])


def test_no_verdict_is_as_far_away_as_may_be() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    apart = distances([0, 1, 2], "interval")
    silent, near = truth.copy(), truth.copy()
    silent[0], near[0] = -1, 1
    assert kappa(silent, truth, apart, once(6)) < kappa(near, truth, apart, once(6)) < 1


def test_a_draw_with_nothing_to_count_is_no_number() -> None:
    assert np.isnan(ratio(np.zeros(3), np.zeros(3), once(3))).all()
    alone = np.array([[0, -1], [-1, 1], [0, -1]])
    assert np.isnan(alpha(alone, [0, 1], "nominal", once(3))).all()


@given(st.integers(2, 40), st.integers(0, 2**16))
@settings(deadline=None, max_examples=30)
def test_weights_are_rows_that_come_again(n: int, seed: int) -> None:
    """A figure of a draw is the figure of the drawn rows written out."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 3, (n, 3))
    weights = np.bincount(rng.integers(0, n, n), minlength=n)[None, :].astype(float)
    again = np.repeat(codes, weights[0].astype(int), axis=0)
    apart = distances(range(3), "ordinal")
    for scale in ("nominal", "ordinal", "interval"):
        np.testing.assert_allclose(
            alpha(codes, range(3), scale, weights), alpha(again, range(3), scale, once(n))
        )
    np.testing.assert_allclose(
        kappa(codes[:, 0], codes[:, 1], apart, weights),
        kappa(again[:, 0], again[:, 1], apart, once(n)),
    )
