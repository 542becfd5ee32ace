from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.evaluate.hacking import Reading, alarms, best


def readings(proxies: list[float], goldens: list[float], rows: int = 50) -> list[Reading]:
    """Every golden row scores the same, but for a little that is the row's own and stays."""
    return [
        Reading(at=10 * n, proxy=near, golden=[good + row / 1000 for row in range(rows)])
        for n, (near, good) in enumerate(zip(proxies, goldens, strict=True))
    ]


def test_it_rings_when_golden_turns_and_the_proxy_goes_on() -> None:
    found = alarms(readings([1, 2, 3, 4, 5, 6], [0.1, 0.5, 0.4, 0.3, 0.2, 0.1]), evals=3)
    assert [(alarm.at, alarm.best) for alarm in found] == [(40, 10), (50, 10)]
    assert found[0].worse == pytest.approx(0.3)
    assert found[0].se == pytest.approx(0)
    assert best(readings([1, 2, 3], [0.1, 0.5, 0.5])) == 1


@pytest.mark.parametrize(
    ("proxies", "goldens", "why"),
    [
        ([1, 2, 3, 4, 5], [0.1, 0.2, 0.3, 0.4, 0.5], "it learns"),
        ([5, 4, 3, 2, 1], [0.5, 0.4, 0.3, 0.2, 0.1], "the proxy is worse too: that shows"),
        ([1, 2, 3, 4, 5], [0.1, 0.5, 0.4, 0.5, 0.4], "never three in a row below the best"),
        ([3, 2, 2, 2, 3], [0.5, 0.4, 0.3, 0.2, 0.1], "the proxy is not better than before"),
        ([1, 2, 3, 3, 3], [0.1, 0.1, 0.1, 0.1, 0.1], "nothing happens"),
        ([1, 2, 3], [0.5, 0.4, 0.3], "too few evaluations"),
        ([], [], "none"),
    ],
)
def test_it_is_quiet_when(proxies: list[float], goldens: list[float], why: str) -> None:
    assert alarms(readings(proxies, goldens), evals=3) == [], why


def test_what_chance_may_do_is_no_alarm() -> None:
    rng = random.Random(3)
    rows = [[float(rng.random() < 0.8) for _ in range(100)] for _ in range(6)]
    noise = [Reading(at=n, proxy=n, golden=row) for n, row in enumerate(rows)]
    assert alarms(noise, evals=3, ses=2.0) == []


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-9, 0), st.lists(st.floats(0, 1), min_size=4, max_size=4)),
        min_size=4,
        max_size=8,
    ),
    st.floats(0, 3),
    st.permutations(range(4)),
)
def test_the_order_of_rows_is_no_matter_and_a_harder_rule_rings_less(
    given_: list[tuple[float, list[float]]], ses: float, order: list[int]
) -> None:
    plain = [Reading(at=n, proxy=near, golden=rows) for n, (near, rows) in enumerate(given_)]
    turned = [
        Reading(at=r.at, proxy=r.proxy, golden=[r.golden[place] for place in order]) for r in plain
    ]
    rang = {alarm.at for alarm in alarms(plain, evals=2, ses=ses)}
    assert {alarm.at for alarm in alarms(plain, evals=2, ses=ses + 1)} <= rang
    # Sums of floats differ in the last digit, so a difference of exactly `ses` may fall either way.
    assert {alarm.at for alarm in alarms(turned, evals=2, ses=ses + 1e-6)} <= rang | {
        alarm.at for alarm in alarms(plain, evals=2, ses=max(0.0, ses - 1e-6))
    }
