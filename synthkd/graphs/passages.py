"""A document as sentences, and as passages of whole sentences that a teacher is shown one by one.

    >>> text = "Ada was born in London. She wrote Notes."
    >>> [text[start:end] for start, end in sentences(text)]
    ['Ada was born in London.', 'She wrote Notes.']

A sentence ends at a stop with a blank behind it, at a stop of Chinese or Japanese wherever it
stands, and at an empty line. Rules alone, no model: what they miss (a title that ends in a dot)
makes a sentence too long or too short, and no character is ever lost. What is no sentence, or is
longer than a passage, is divided at lines, then at blanks, then anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from synthkd.graphs.ground import Place, find
from synthkd.text import UNSPACED_CLASS

Span = tuple[int, int]
"""Where it begins and ends, in characters of the document."""

_STOPS = r".!?\u2026\u061f\u06d4\u0964\u0965"
_CLOSING = r"\"'\u201d\u2019)\]\u00bb"
_END = re.compile(
    rf"(?P<stop>(?<![{_STOPS}])[{_STOPS}]++)[{_CLOSING}]*+(?=\s)"
    r"|[\u3002\uff01\uff1f\uff61]++[\u300d\u300f\u201d\u2019\uff09)]*+"
    r"|\n[^\S\n]*+\n"
)
_NEXT = re.compile(r"\s*([\"'\u201c\u2018(\[]?)(\S?)")
_ABBREVIATIONS = frozenset(
    {
        *("mr", "mrs", "ms", "dr", "st", "prof", "rev", "gen", "col", "capt", "sen", "gov"),
        *("jr", "sr", "vs", "vol", "fig", "eq", "al", "approx", "e.g", "i.e", "cf"),
        *("inc", "ltd", "co", "corp", "dept", "bros", "u.s", "u.k", "ph.d"),
    }
)
_NO_TEXT = "\u200b\ufeff"
"""The space of no width and the byte-order mark, which Python calls no blanks."""
_PIECE = re.compile(rf"(?P<word>[^\W_{UNSPACED_CLASS}]+)|[{UNSPACED_CLASS}]|[^\w\s]|_+")
_FINER = (re.compile(r"[^\n]+"), re.compile(r"\S+"))
LETTERS = 6
"""Of a word, for each token."""
LEAST_SHARED = 0.5
"""The share of a proposition's words that a sentence must have to be its evidence."""


def tokens_in(text: str) -> int:
    """About how many tokens a model makes of it, without asking any model.

    A token for every six letters of a word or part of it, for every character of a script without
    spaces, and for every sign.
    """
    return sum(
        -(-len(match["word"]) // LETTERS) if match["word"] else 1 for match in _PIECE.finditer(text)
    )


def sentences(text: str) -> list[Span]:
    """The sentences from the left; every character that is no blank is in exactly one."""
    found: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        if match["stop"] is None or _ends(text, match):
            found.extend(_trimmed(text, start, match.end()))
            start = match.end()
    found.extend(_trimmed(text, start, len(text)))
    return found


def passages(text: str, size: int) -> list[Span]:
    """As many whole sentences together as have at most `size` tokens, from the left.

    Only a sentence of more than `size` tokens is divided. Every character that is no blank is in
    exactly one passage; none is empty; a text without any character has none.
    """
    found: list[Span] = []
    spent = 0
    for span in sentences(text):
        for start, end in _units(text, span, size):
            cost = tokens_in(text[start:end])
            # What stands between may count: a byte-order mark is a sign to a tokenizer.
            between = tokens_in(text[found[-1][1] : start]) if found else 0
            if found and spent + between + cost <= size:
                found[-1], spent = (found[-1][0], end), spent + between + cost
            else:
                found.append((start, end))
                spent = cost
    return found


def word_overlap(one: str, other: str) -> float:
    """F1 of words in common (ROUGE-1), 0 to 1; a character of an unspaced script is a word."""
    counts = _words(one), _words(other)
    total = counts[0].total() + counts[1].total()
    return 2 * (counts[0] & counts[1]).total() / total if total else 0.0


def words_in(text: str) -> int:
    """How many words it has; a character of an unspaced script is one."""
    return _words(text).total()


def evidence_of(proposition: str, text: str, within: Span) -> Place | None:
    """Where a document says what a proposition says; None = nowhere that could be found.

    The proposition itself, in whatever spelling; else, `nearly`, the sentence that has most of its
    words: a teacher who replaced "she" by a name has written what the document does not.

    Args:
        proposition: a sentence that a teacher wrote.
        text: the document.
        within: the passage that the teacher was shown.
    """
    start, end = within
    passage, whole = text[start:end], proposition.strip()
    if whole and (at := passage.find(whole)) >= 0:
        return Place(start=start + at, end=start + at + len(whole), how="exact")
    if (found := find(proposition, passage)) is not None:
        return Place(start=start + found.start, end=start + found.end, how=found.how)
    wanted = _words(proposition)
    best: tuple[float, float] = (LEAST_SHARED, 0.0)
    place: Place | None = None
    for begin, stop in sentences(passage):
        has = _words(passage[begin:stop])
        common = (wanted & has).total()
        score = common / max(1, wanted.total()), common / max(1, has.total())
        if score > best:
            best, place = score, Place(start=start + begin, end=start + stop, how="nearly")
    return place


def _words(text: str) -> Counter[str]:
    pieces = (match[0] for match in _PIECE.finditer(text.lower()))
    return Counter(piece for piece in pieces if piece[0].isalnum())


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence ends here: not after "Dr." or an initial, nor before a small letter."""
    after = _NEXT.match(text, match.end())
    if after is not None and after[2].islower():
        return False
    if match["stop"] != ".":
        return True
    before = text[max(0, match.start() - 12) : match.start()].split()
    word = before[-1].lstrip("(\"'\u201c\u2018[") if before else ""
    return word.casefold() not in _ABBREVIATIONS and not (len(word) == 1 and word.isupper())


def _is_blank(character: str) -> bool:
    return character.isspace() or character in _NO_TEXT


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    """The span without blanks at its ends, if anything is left."""
    while start < end and _is_blank(text[start]):
        start += 1
    while end > start and _is_blank(text[end - 1]):
        end -= 1
    if start < end:
        yield start, end


def _units(text: str, span: Span, size: int, level: int = 0) -> Iterator[Span]:
    """The span, or its lines, its words or bare slices, so that none has more than `size`."""
    start, end = span
    if tokens_in(text[start:end]) <= size:
        yield span
    elif level == len(_FINER):
        yield from ((at, min(at + size, end)) for at in range(start, end, size))
    else:
        for match in _FINER[level].finditer(text, start, end):
            for trimmed in _trimmed(text, *match.span()):
                yield from _units(text, trimmed, size, level + 1)
