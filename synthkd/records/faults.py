"""Why a value is none of its field: `NotNormal`; it never leaves the package and its steps."""

from __future__ import annotations


class NotNormal(ValueError):
    """The value cannot be brought into the one spelling of its type.

    Args:
        reason: a lower_snake code, such as `ambiguous_date`.
        detail: what a person needs to see why.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
