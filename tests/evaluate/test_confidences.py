from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.evaluate.confidences import confidences_of


def test_a_hand_made_calibration_error() -> None:
    sure = [0.9] * 20 + [0.6] * 20
    right = [True] * 16 + [False] * 4 + [True] * 12 + [False] * 8
    found = confidences_of(right, sure)
    assert (found.rows, found.bins) == (40, 2)
    assert found.ece == pytest.approx(0.5 * (0.9 - 0.8) + 0)
    assert found.trust == pytest.approx(0.7 - 0.05)


def test_true_confidences_have_the_error_that_chance_makes_and_false_ones_more() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 1, 2000)
    true = confidences_of((rng.random(2000) < sure).tolist(), sure.tolist())
    bold = confidences_of((rng.random(2000) < sure - 0.2).tolist(), sure.tolist())
    assert true.bins == bold.bins == 15
    assert true.ece == pytest.approx(true.ece_if_calibrated, abs=0.015)
    assert bold.ece == pytest.approx(0.2, abs=0.03)
    assert 0.01 < bold.ece_if_calibrated < 0.05


def test_the_curve_of_risk() -> None:
    sure = [0.9, 0.8, 0.7, 0.6]
    found = confidences_of([True, True, False, True], sure)
    assert found.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    last = found.curve[-1]
    assert (last.coverage, last.risk, last.confidence) == (1, 0.25, 0.6)
    assert [point.coverage for point in found.curve[:3]] == [0.25, 0.25, 0.5]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.2, 0.5, 0.9])), min_size=1))
def test_the_order_of_rows_makes_no_difference(rows: list[tuple[bool, float]]) -> None:
    def area(of: list[tuple[bool, float]]) -> float:
        return confidences_of([right for right, _ in of], [sure for _, sure in of]).aurc

    assert area(rows) == pytest.approx(area(rows[::-1]))


def test_confidences_that_know_nothing_have_the_risk_of_all() -> None:
    found = confidences_of([True, False] * 10, [0.7] * 20)
    assert {point.risk for point in found.curve} == {0.5}
    assert found.aurc == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [1.2, -0.1, float("nan")])
def test_what_is_no_confidence_is_named(wrong: float) -> None:
    with pytest.raises(UserError, match=r"from 0 to 1, got .* for row 2"):
        confidences_of([True, True], [0.5, wrong])
