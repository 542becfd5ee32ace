"""Shares of a budget in whole rows."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from synthkd.recipes.quotas import largest_remainder

groups = st.lists(
    st.tuples(st.floats(0, 1e6, allow_subnormal=False), st.integers(0, 50)), max_size=12
)


@given(st.integers(0, 300), groups)
def test_the_budget_is_used_up_as_far_as_rows_go_round(
    budget: int, given_groups: list[tuple[float, int]]
) -> None:
    weights = [weight for weight, _ in given_groups]
    room = [size for _, size in given_groups]
    shares = largest_remainder(budget, weights, room)
    some = any(weights)
    counted = [size for weight, size in given_groups if weight > 0 or not some]
    assert sum(shares) == min(budget, sum(counted))
    assert all(0 <= share <= size for share, size in zip(shares, room, strict=True))


@given(st.integers(0, 300), st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_with_room_for_all_no_share_is_off_by_a_whole_row(budget: int, weights: list[int]) -> None:
    shares = largest_remainder(budget, list(map(float, weights)), [budget] * len(weights))
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(budget * weight, sum(weights))) < 1


@given(st.integers(0, 300), groups)
def test_who_weighs_more_gets_no_less_where_there_is_room(
    budget: int, given_groups: list[tuple[float, int]]
) -> None:
    weights = [weight for weight, _ in given_groups]
    room = [size for _, size in given_groups]
    shares = largest_remainder(budget, weights, room)
    for one in range(len(room)):
        for other in range(len(room)):
            if weights[one] > weights[other]:
                assert shares[one] >= min(shares[other], room[one])


def test_the_largest_fractions_get_what_is_left_over() -> None:
    # Shares of 10 by 47:16:15.8:12:6.1:3.1 are 4.7, 1.6, 1.58, 1.2, 0.61, 0.31.
    weights = [47.0, 16.0, 15.8, 12.0, 6.1, 3.1]
    assert largest_remainder(10, weights, [10] * 6) == [5, 2, 1, 1, 1, 0]
    assert largest_remainder(2, [1.0, 1.0, 1.0], [9] * 3) == [1, 1, 0]
    assert largest_remainder(10, [1.0, 1.0], [2, 99]) == [2, 8]


def test_as_many_full_groups_as_rows() -> None:
    n = 100_000  # the square of it would run into the time limit of a test
    assert largest_remainder(n, [1.0] * n, [1] * n) == [1] * n
