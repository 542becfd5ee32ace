"""Text as recognisers read it, and the way back to the offsets of the original.

Digits of every script become ASCII, full-width forms their plain ones, every dash a hyphen and
every space a space; those are one for one. Signs that nobody sees (zero-width, direction marks,
soft hyphens) are left out, and `back` knows where they stood.

    >>> flat = flatten("t\u00e9l. \u0660\u0661\u200b\u0662")
    >>> flat.text, flat.back(5, 8)
    ('t\u00e9l. 012', (5, 9))
"""

from __future__ import annotations

import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point: what is not drawn, whatever the font."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_STAY = frozenset({0xFF0C, 0xFF0D, 0xFF1A})
"""The full-width comma and colon end a clause in Chinese; the hyphen is among the dashes."""
_SPACES = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """A text in plain signs."""

    text: str
    gone: Sequence[int] = ()
    """Where signs were left out: the offset in `text` before which each stood, ascending."""

    def back(self, start: int, end: int) -> tuple[int, int]:
        """The offsets in the original of `text[start:end]`, which is not empty."""
        return start + bisect_right(self.gone, start), end + bisect_right(self.gone, end - 1)


def flatten(text: str) -> Flat:
    """The text in plain signs."""
    if text.isascii():
        return Flat(text=text)
    unseen = [found.start() for found in _UNSEEN.finditer(text)]
    if unseen:
        text = _UNSEEN.sub("", text)
    gone = [place - nth for nth, place in enumerate(unseen)]
    return Flat(text=text.translate(_plain()), gone=gone)


@lru_cache(maxsize=1)
def _plain() -> dict[int, str]:
    """One sign for each that has a plain one."""
    plain = dict.fromkeys(map(ord, _SPACES), " ") | dict.fromkeys(map(ord, _DASHES), "-")
    for code in range(0x80, sys.maxunicode + 1):
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            plain[code] = str(digit)
    return plain | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code not in _STAY}
