from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.fake_teacher.faults import BROKEN, ERRORS, ODD, Faults

SHARES = st.dictionaries(st.sampled_from([*ERRORS, *BROKEN, *ODD]), st.floats(0, 0.1), max_size=8)


def digest_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


@given(SHARES, st.integers(), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9))))
def test_the_same_attempts_meet_the_same_faults_in_any_order(
    rates: dict[str, float], seed: int, attempts: list[tuple[int, int]]
) -> None:
    one, other = Faults(rates, (), seed), Faults(rates, (), seed)
    met = {attempt: one.next(digest_of(attempt[0]), attempt[1]) for attempt in attempts}
    for attempt in reversed(attempts):
        assert other.next(digest_of(attempt[0]), attempt[1]) == met[attempt]


def test_shares_are_kept() -> None:
    faults = Faults({"429": 0.2, "cut": 0.05}, (), seed=3)
    met = [faults.next(digest_of(number), 0) for number in range(4000)]
    assert 0.17 < met.count("429") / 4000 < 0.23
    assert 0.035 < met.count("cut") / 4000 < 0.065
    again = Faults({"429": 0.2, "cut": 0.05}, (), seed=4)
    assert met != [again.next(digest_of(number), 0) for number in range(4000)]


def test_the_script_comes_first() -> None:
    faults = Faults({"500": 1.0}, ["429", None], seed=0)
    assert [faults.next(digest_of(0), number) for number in range(3)] == ["429", None, "500"]


@pytest.mark.parametrize(
    ("rates", "script", "says"),
    [
        ({"stal": 0.1}, [], "no fault 'stal'; did you mean stall"),
        ({}, ["teapot"], "no fault 'teapot'; there are 429 500"),
        ({"429": 1.5}, [], "within 0 and 1"),
        ({"429": -0.5}, [], "within 0 and 1"),
        ({"429": 0.6, "500": 0.6}, [], "also their sum"),
    ],
)
def test_what_is_no_fault(rates: dict[str, float], script: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Faults(rates, script, 0)


def test_a_fault_that_is_named_later_is_checked_too() -> None:
    faults = Faults({}, (), 0)
    faults.script.append("teapot")
    with pytest.raises(UserError, match="no fault 'teapot'"):
        faults.next(digest_of(0), 0)
