"""All places where a mention stands in a text, and which of those that overlap stay.

    >>> [(p.start, p.end) for p in occurrences("C++", "C++ and C, not C++11")]
    [(0, 3)]

A mention stands where its characters do and no letter or digit goes on at either end (in scripts
that write spaces between words). Other spellings (case, blanks, punctuation) only count where the
characters themselves stand nowhere: a text that has "Apple" speaks of no other "apple".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from synthkd.graphs.ground import Place, places
from synthkd.text import is_unspaced


def occurrences(name: str, text: str, *, exact: bool = False) -> list[Place]:
    """Where the mention stands, from the left, none over another.

    Args:
        name: the mention.
        text: where.
        exact: whether another spelling counts as none.
    """
    name = name.strip()
    found = list(_exactly(name, text))
    if found or exact:
        return found
    return [_with_ends(place, name, text) for place in places(name, text)]


def apart(spans: Sequence[tuple[int, int]], length: int) -> list[int]:
    """Which of the spans stay so that none overlaps another: longer ones first.

    Of equally long ones the first in `spans`. Gives their places in `spans`, in order.

    Args:
        spans: start and end of each.
        length: of the text.
    """
    taken = bytearray(length)
    kept: list[int] = []
    for at in sorted(range(len(spans)), key=lambda at: spans[at][0] - spans[at][1]):
        start, end = spans[at]
        if not any(taken[start:end]):
            taken[start:end] = b"\x01" * (end - start)
            kept.append(at)
    return sorted(kept)


def _exactly(name: str, text: str) -> Iterator[Place]:
    at = text.find(name) if name else -1
    while at >= 0:
        end = at + len(name)
        if _goes_on(text, at) or _goes_on(text, end):
            at = text.find(name, at + 1)
        else:
            yield Place(start=at, end=end, how="exact")
            at = text.find(name, end)


def _goes_on(text: str, at: int) -> bool:
    """Whether one word is on both sides of the place."""
    if not 0 < at < len(text):
        return False
    return _is_mark(text[at]) or (_in_word(text[at - 1]) and _in_word(text[at]))


def _in_word(character: str) -> bool:
    return (character.isalnum() or _is_mark(character)) and not is_unspaced(character)


def _is_mark(character: str) -> bool:
    """An accent, say, that belongs to the letter before it."""
    return unicodedata.category(character) in ("Mn", "Mc")


def _with_ends(place: Place, name: str, text: str) -> Place:
    """The place with the punctuation at the mention's ends where the text has it, as of "U.S."."""
    letters = [at for at, c in enumerate(name) if c.isalnum() or _is_mark(c)]
    if not letters:  # a sign that stands for letters, such as that of kilograms
        return place
    before, after = name[: letters[0]], name[letters[-1] + 1 :]
    start = place.start - len(before) if text[: place.start].endswith(before) else place.start
    end = place.end + len(after) if text.startswith(after, place.end) else place.end
    return Place(start=start, end=end, how=place.how)
