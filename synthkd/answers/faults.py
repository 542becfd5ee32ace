"""Why words are no answer: `NotRead` and `SeveralRead`; they never leave the package."""

from __future__ import annotations


class NotRead(ValueError):
    """The words are no answer of the type; the message says what is wrong with them."""


class SeveralRead(NotRead):
    """The words are more than one answer."""
