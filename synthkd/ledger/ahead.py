"""Reading ahead: a replay asks in about the order in which the answers were bought.

What lies behind the answer that was just found is likely wanted next, and to take 64 rows in a go
costs a sixth of looking each one up by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

ROWS = 64
"""Answers read in a go: twice as many are no cheaper a row."""
ROOM = 1024
"""Answers that wait to be asked for: steps and samples that take turns find theirs here."""
LONGEST = 4096
"""Bytes of a packed body: with `ROOM` it bounds the memory at 4 MB. Longer ones are looked up."""
LONGEST_PAUSE = 256
"""Reads left out, at most, where the order of asking is another."""

# Only answers that are alone with their key: of several lengths, which one answers depends on all.
BEHIND = f"""
select key, id, max_tokens, status, finish, completion_tokens, dictionary, reply from answers as one
where id > ? and id <= ? + {ROWS} and status = 200 and length(reply) <= {LONGEST} and not exists (
  select 1 from answers as other
  where substr(other.key, 1, 6) = substr(one.key, 1, 6) and other.key = one.key
    and other.id <> one.id)
"""  # noqa: S608  numbers of our own


class Found(NamedTuple):
    """A row of `answers`, as a look-up by key gives it."""

    id: int
    max_tokens: int
    status: int
    finish: str
    completion_tokens: int | None
    dictionary: int
    reply: bytes


class ReadAhead:
    """Answers that may be wanted next.

    Args:
        select: runs a query on the connection that look-ups use.
    """

    def __init__(self, select: Callable[[str, tuple[int, int]], Iterable[Any]]) -> None:
        self._select = select
        self._rows: dict[bytes, Found] = {}
        self._untaken = 0
        """Of the last rows read, those that nobody has asked for."""
        self._pause = 0
        """Reads to leave out after one of which little was wanted; doubled each time."""
        self._left_out = 0

    def take(self, key: bytes) -> Found | None:
        """The answer, if it was read ahead; given once."""
        found = self._rows.pop(key, None)
        if found is not None:
            self._untaken -= 1
        return found

    def forget(self, key: bytes) -> None:
        """A second answer to this question is being stored: look it up from now on."""
        self._rows.pop(key, None)

    def found(self, answer: int) -> None:
        """An answer was looked up: read what lies behind it, where that has been of use."""
        if self._left_out < self._pause:
            self._left_out += 1
            return
        self._left_out = 0
        wasted = self._untaken > ROWS // 2
        self._pause = min(LONGEST_PAUSE, 2 * self._pause + 1) if wasted else 0
        if len(self._rows) > ROOM:
            self._rows.clear()
        read = {key: Found(*row) for key, *row in self._select(BEHIND, (answer, answer))}
        self._untaken = len(read)
        self._rows |= read
