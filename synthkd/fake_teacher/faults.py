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
    "filtered": (400, "content_filter"),
}
"""Faults that are an error reply: its status and its code."""

BROKEN: Mapping[str, str] = {
    "reset": "the connection is reset; not billed",
    "lost": "billed, then the connection is reset",
    "cut": "billed; half of the answer, then the connection is reset",
    "stall": "billed, then no byte ever",
    "hang": "billed; half of the answer, then no byte ever",
    "drip": "billed; a byte now and then for ever, and no answer",
}
"""Faults after which no whole reply arrives."""

ODD: Mapping[str, str] = {
    "redirect": "307 to another host; not billed",
    "json": "the answer's JSON breaks off",
    "empty": "an answer without choices",
    "surrogate": "the answer holds half of a surrogate pair",
    "gzip": "a right answer, compressed if the client takes that",
    "length": "the answer is cut half way, `finish_reason: length`",
    "refusal": "`message.refusal` in place of an answer",
    "content_filter": "half of the answer, `finish_reason: content_filter`",
    "loop": "the answer repeats itself up to `max_tokens`",
    "misfit": "an answer that does not fit the JSON schema that was asked for",
}
"""Faults that arrive as a whole reply."""

POISON = "poison"
"""A share of the bodies, not of the attempts: they fail with 500 however often they are asked."""

FAULTS = (*ERRORS, *BROKEN, *ODD)


class Refusal(Exception):
    """The reply to a request that gets no answer.

    Args:
        status: of the reply.
        message: for people.
        code: for programs; None = the reply has none.
        headers: more of them.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.headers = headers or {}
        super().__init__(message)

    @property
    def body(self) -> dict[str, object]:
        """The reply, in the shape of the API."""
        return {"error": {"message": str(self), "type": self.code, "code": self.code}}


class Faults:
    """What goes wrong, and when.

    Args:
        rates: fault -> share of the attempts; `poison` -> share of the bodies.
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
        if POISON in self.script:
            raise UserError("poison is a share of the bodies: it cannot stand in a script")
        total = sum(share for name, share in rates.items() if name != POISON)
        if not all(0 <= share <= 1 for share in rates.values()) or total > 1 + 1e-9:
            raise UserError(f"shares of faults are within 0 and 1, also their sum: got {rates}")

    def next(self, digest: bytes, asked_before: int) -> str | None:
        """The fault of this attempt at a body; None = it is answered."""
        if self.script:
            return known(self.script.popleft())
        if not self.rates:
            return None
        if self.is_poison(digest):
            return "500"
        chance = drawn(digest, f"{self.seed} {asked_before}")
        for fault, share in self.rates.items():
            if fault == POISON:
                continue
            if chance < share:
                return known(fault)
            chance -= share
        return None

    def is_poison(self, digest: bytes) -> bool:
        """Whether this body fails always."""
        share = self.rates.get(POISON, 0.0)
        return share > 0 and drawn(digest, f"{self.seed} {POISON}") < share


def known(fault: str | None) -> str | None:
    """The same name.

    Raises:
        UserError: no fault has it.
    """
    if fault is None or fault in FAULTS or fault == POISON:
        return fault
    names = [*FAULTS, POISON]
    raise UserError(f"there is no fault {fault!r}{near(fault, names)}; there are {' '.join(names)}")


def drawn(digest: bytes, salt: str) -> float:
    """A number in [0, 1) that these two decide."""
    return int.from_bytes(hashlib.sha256(digest + salt.encode()).digest()[:8], "big") / 2**64
