from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.teachers.headers import rate_limits, retry_after_s, span_s
from synthkd.teachers.request import RateLimits, Stated


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1m30.951s", 90.951),
        ("2h", 7200.0),
        ("1d2h", 93_600.0),
        ("12", 12.0),
        ("0.5", 0.5),
        (" 7s ", 7.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("5s later", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_when_an_allowance_is_whole_again(text: str, seconds: float | None) -> None:
    assert span_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_point_in_time_as_seconds_or_milliseconds(unit: int) -> None:
    assert span_s(str(int((time.time() + 30) * unit))) == pytest.approx(30, abs=2)
    assert span_s(str(int((time.time() - 30) * unit))) == 0.0


@given(st.text(max_size=20))
def test_whatever_is_sent_is_seconds_or_nothing(text: str) -> None:
    for read in (span_s(text), retry_after_s({"retry-after": text, "retry-after-ms": text})):
        assert read is None or 0 <= read < float("inf")


def test_what_is_left_of_both_allowances() -> None:
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-remaining-tokens": "40000",
    }
    assert rate_limits(headers) == RateLimits(
        requests=Stated(remaining=599, limit=600, reset_s=0.1),
        tokens=Stated(remaining=40_000),
    )


def test_without_an_ending_it_is_about_requests() -> None:
    headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}
    assert rate_limits(headers) == RateLimits(requests=Stated(remaining=0, limit=60, reset_s=12))


@pytest.mark.parametrize("headers", [{}, {"x-ratelimit-remaining-requests": "plenty"}])
def test_nothing_legible_is_nothing(headers: dict[str, str]) -> None:
    assert rate_limits(headers) is None
