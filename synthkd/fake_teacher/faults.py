"""Which fault an attempt meets: from a script, by rates, or none.

A fault by rate is decided by a hash of the body, of how often it was asked before, and of the seed:
the same attempts meet the same faults in every run, in whatever order they come.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping

from synthkd.errors import UserError
from synthkd.hints import near

ERRORS: Mapping[str, tuple[int, str | None]] = {
    "429": (429, "rate_limit_exceeded"),
    "500": (500, None),
    "503": (503, None),
    "408": (408, None),
    "409": (409, None),
    "400": (400, "invalid_request_error"),
    "413": (413, None),
    "422": (422, None),
    "401": (401, "invalid_api_key"),
    "403": (403, None),
    "404": (404, "model_not_found"),
    "quota": (429, "insufficient_quota"),
    "no_model": (400, "model_not_found"),
}
"""Faults that are an error reply: its status and its code."""

OTHERS: Mapping[str, str] = {
    "redirect": "307 to another host",
    "reset": "the connection is reset; not billed",
    "stall": "billed, then no byte ever",
    "lost": "billed, then the connection is reset",
    "cut": "billed; half of the answer, then the connection is reset",
    "json": "the answer's JSON breaks off",
    "empty": "an answer without choices",
    "surrogate": "the answer holds half of a surrogate pair",
}
"""The other faults, and what they do."""


class Faults:
    """What goes wrong, and when.

    Args:
        rates: fault -> share of the attempts.
        script: faults of the next attempts in order, None = answer; taken before `rates` count.
        seed: of the faults by rate.

    Raises:
        UserError: a fault that does not exist, or shares that are not within 0 and 1.
    """

    def __init__(self, rates: Mapping[str, float], script: Iterable[str | None], seed: int) -> None:
        self.rates = dict(rates)
        self.script = deque(script)
        self.seed = seed
        for name in [*self.rates, *filter(None, self.script)]:
            known(name)
        if not all(0 <= share <= 1 for share in rates.values()) or sum(rates.values()) > 1 + 1e-9:
            raise UserError(f"shares of faults are within 0 and 1, also their sum: got {rates}")

    def next(self, digest: bytes, asked_before: int) -> str | None:
        """The fault of this attempt at a body; None = it is answered."""
        if self.script:
            return known(self.script.popleft())
        if not self.rates:
            return None
        chance = drawn(digest, f"{self.seed} {asked_before}")
        for fault, share in self.rates.items():
            if chance < share:
                return known(fault)
            chance -= share
        return None


def known(fault: str | None) -> str | None:
    """The same name.

    Raises:
        UserError: no fault has it.
    """
    if fault is None or fault in ERRORS or fault in OTHERS:
        return fault
    names = [*ERRORS, *OTHERS]
    raise UserError(f"there is no fault {fault!r}{near(fault, names)}; there are {' '.join(names)}")


def drawn(digest: bytes, salt: str) -> float:
    """A number in [0, 1) that these two decide."""
    return int.from_bytes(hashlib.sha256(digest + salt.encode()).digest()[:8], "big") / 2**64
