"""Where a name stands in a text: as it is, in another spelling, or nearly.

    >>> find("noriyuki  abe", "directed by Noriyuki Abe.")
    Place(start=12, end=24, how='spelling')

* `exact`: the same characters, and no letter or digit goes on at either end (in scripts that write
  spaces between words).
* `spelling`: the same letters and digits, case folded; blanks, punctuation and underscores differ.
* `nearly`: a window of words of about as many letters, most of them in common: the similarity
  (twice the letters in matching runs, by those of both; difflib's ratio) is at least `near`. Only
  where it is asked for, since a near name may be another's.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from synthkd.text import is_unspaced

MOST_WINDOWS = 5_000
"""Of a text: so many places are looked at for a near name, so that a book takes no hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a name stands: `text[start:end]`."""

    start: int
    end: int
    how: str
    """`exact`, `spelling` or `nearly`."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A text as letters and digits alone, and where each of them comes from."""

    letters: str
    starts: tuple[int, ...]
    """For each letter the place of its character in the text."""
    edges: frozenset[int]
    """The places in `letters` at which a word begins or ends."""


@lru_cache(maxsize=256)
def folded(text: str) -> Folded:
    """The letters of the text, for many names that are looked for in it."""
    letters: list[str] = []
    starts: list[int] = []
    edges = {0}
    within = after_letter = False
    for at, character in enumerate(text):
        # Taken apart, so that an accent may be part of its letter or stand behind it; one that
        # stands behind no letter is a sign.
        plain = unicodedata.normalize("NFKD", character.casefold())
        if after_letter and unicodedata.category(character) in ("Mn", "Mc"):
            kept = list(plain)  # no edge: a vowel sign of Thai belongs to its letter
        else:
            kept = _letters(plain)
            if not kept or not within or is_unspaced(character):
                edges.add(len(letters))
            within = bool(kept) and not is_unspaced(character)
        after_letter = bool(kept)
        letters.extend(kept)
        starts.extend([at] * len(kept))
    edges.add(len(letters))
    return Folded("".join(letters), tuple(starts), frozenset(edges))


def _letters(plain: str) -> list[str]:
    """Letters and digits of a character that was taken apart, each with its marks."""
    kept: list[str] = []
    for c in plain:
        if c.isalnum() or (kept and unicodedata.category(c) in ("Mn", "Mc")):
            kept.append(c)
    return kept


def find(name: str, text: str, *, near: float | None = None) -> Place | None:
    """The first place where the name stands as whole words; None = nowhere.

    Args:
        name: what is looked for.
        text: where.
        near: the least similarity, 0 to 1, of a name that is nearly there; None = none such.
    """
    return next(places(name, text), None) or (None if near is None else _nearly(name, text, near))


def stands_in(name: str, text: str) -> bool:
    """Whether the name stands in the text, in whatever spelling."""
    return next(places(name, text), None) is not None


def places(name: str, text: str) -> Iterator[Place]:
    """All places where the name stands as whole words, from the left, none over another."""
    wanted = folded(name).letters
    if not wanted:
        return
    within = folded(text)
    at = within.letters.find(wanted)
    while at >= 0:
        stop = at + len(wanted)
        if at in within.edges and stop in within.edges:
            start, end = within.starts[at], within.starts[stop - 1] + 1
            how = "exact" if text[start:end] == name.strip() else "spelling"
            yield Place(start=start, end=end, how=how)
            at = within.letters.find(wanted, stop)
        else:
            at = within.letters.find(wanted, at + 1)


def _nearly(name: str, text: str, near: float) -> Place | None:
    wanted, within = folded(name).letters, folded(text)
    if len(wanted) < 4:  # of three letters one may not differ
        return None
    edges = sorted(within.edges)
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    best: tuple[float, int, int] | None = None
    slack = int(len(wanted) * (1 - near)) + 1
    tried = 0
    for begin, start in enumerate(edges):
        for stop in edges[begin + 1 :]:
            if stop - start > len(wanted) + slack:
                break
            if stop - start < len(wanted) - slack:
                continue
            tried += 1
            matcher.set_seq1(within.letters[start:stop])
            least = best[0] if best else near
            if matcher.real_quick_ratio() >= least and matcher.quick_ratio() >= least:
                ratio = matcher.ratio()
                if ratio >= least and (best is None or ratio > best[0]):
                    best = ratio, start, stop
        if tried > MOST_WINDOWS:
            break
    if best is None:
        return None
    _, start, stop = best
    return Place(start=within.starts[start], end=within.starts[stop - 1] + 1, how="nearly")
