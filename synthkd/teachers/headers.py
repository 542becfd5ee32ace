"""What a provider says in its headers about limits and waiting; read only, nothing is decided here.

    retry-after: 30                         seconds, or a date
    retry-after-ms: 1500
    x-ratelimit-limit-requests: 600         how many the allowance holds
    x-ratelimit-remaining-requests: 599     how many are left of it
    x-ratelimit-reset-requests: 100ms       when it is whole again: 20ms, 1s, 6m0s, 12, an epoch

The same with `-tokens`; without either ending it is about requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from synthkd.teachers.request import RateLimits, Stated

UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6}
PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|ms|us|m|s)")
SPAN = re.compile(rf"(?:{PART.pattern})+")
EPOCH = 1e9
"""Seconds: no allowance takes thirty years, so a number beyond is a point in time."""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait; None = it does not say, or not legibly."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        wait_s = _number(headers.get(name, ""))
        if wait_s is not None:
            return wait_s * unit_s
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """What is left of the allowances; None = the provider does not say."""
    requests = _stated(headers, "-requests") or _stated(headers, "")
    tokens = _stated(headers, "-tokens")
    if requests is None and tokens is None:
        return None
    return RateLimits(requests=requests, tokens=tokens)


def span_s(text: str) -> float | None:
    """Seconds until a reset, in any of the spellings in use; None = not legible."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number < EPOCH:
            return number
        seconds = number / 1000 if number >= 1000 * EPOCH else number
        return max(0.0, seconds - datetime.now(UTC).timestamp())
    if SPAN.fullmatch(text):
        return sum(float(amount) * UNITS_S[unit] for amount, unit in PART.findall(text))
    return None


def _stated(headers: Mapping[str, str], kind: str) -> Stated | None:
    told = headers.get(f"x-ratelimit-remaining{kind}")
    if told is None:
        return None
    remaining = _number(told)
    if remaining is None:
        return None
    return Stated(
        remaining=remaining,
        limit=_number(headers.get(f"x-ratelimit-limit{kind}", "")),
        reset_s=span_s(headers.get(f"x-ratelimit-reset{kind}", "")),
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
