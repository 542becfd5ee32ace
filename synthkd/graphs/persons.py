"""Names for PersonX and PersonY, put into a text and taken out again.

    >>> with_names("PersonX lends PersonY's bike", {"PersonX": "Alex", "PersonY": "Dana"})
    "Alex lends Dana's bike"

Models write better about people who have names; triples are about anybody. A name counts where it
stands as a word of its own and in its own case: Alexander is no Alex, and "will" no Will. With
names that the text does not have (`drawn_names`), taking out what was put in gives the text back.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from synthkd.graphs.spotting import apart, occurrences
from synthkd.text import is_unspaced

_PERSON = re.compile(r"\bperson ?([xyz])\b", re.IGNORECASE)
PERSONS = ("PersonX", "PersonY", "PersonZ")
NAMES = (
    *("Alex", "Ariel", "Ashley", "Avery", "Blair", "Casey", "Dana", "Emerson", "Finley"),
    *("Frankie", "Jamie", "Jessie", "Kai", "Kendall", "Leslie", "Marley", "Micah", "Morgan"),
    *("Peyton", "Quinn", "Reese", "Remy", "Riley", "Rowan", "Sasha", "Shannon", "Skyler"),
    *("Taylor", "Toni", "Yael"),
)
"""First names that tell nothing of he or she, and that are no other word when they begin with a
capital."""

OTHER_WORDS = frozenset({"April", "August", "June", "May", "Will"})
"""Names that stand in sentences with a capital and are no name there: "in May", "Will it rain?"."""


def with_names(text: str, names: Mapping[str, str]) -> str:
    """The text with a name in place of each person.

    Args:
        text: with persons.
        names: person -> name.
    """
    return _swapped(text, names)


def with_persons(text: str, names: Mapping[str, str]) -> str:
    """The text with a person in place of each name: the other way round.

    Args:
        text: with names.
        names: person -> name, as they were put in.
    """
    return _swapped(text, {name: person for person, name in names.items()})


def respelt(text: str) -> str:
    """The text with "person X" and "personx" written as PersonX."""
    return _PERSON.sub(lambda match: f"Person{match[1].upper()}", text)


def drawn_names(
    rng: random.Random, pool: Sequence[str], texts: Iterable[str], *, leave: Iterable[str] = ()
) -> dict[str, str]:
    """A name for every person, none of which stands in a text.

    Args:
        rng: where chance comes from.
        pool: names to draw from; each is drawn once.
        texts: what the names are put into.
        leave: names that others have.

    Raises:
        ValueError: the texts and the others leave too few names.
    """
    out = set(leave)
    texts = list(texts)
    free = [
        name
        for name in dict.fromkeys(pool)
        if name not in out and not any(occurrences(name, text, exact=True) for text in texts)
    ]
    if len(free) < len(PERSONS):
        raise ValueError(f"{len(free)} names are left of {len(pool)}, {len(PERSONS)} are needed")
    return dict(zip(PERSONS, rng.sample(free, len(PERSONS)), strict=True))


def name_fault(name: str) -> str | None:
    """Why a name cannot be put in and taken out; None = it can."""
    marks = ("Mn", "Mc")
    if not name or not name[0].isalpha():
        return "must begin with a letter"
    if not all(c.isalpha() or unicodedata.category(c) in marks for c in name):
        return "must be one word of letters"
    if any(map(is_unspaced, name)):
        return "must be of a script with spaces between words, where one can tell where it ends"
    if name in OTHER_WORDS:
        return "is another word too, which would be taken out of a text as a name"
    return "is a person already" if name in PERSONS else None


def _swapped(text: str, words: Mapping[str, str]) -> str:
    """All at once, so that what was put in is not taken for what is to be replaced."""
    found = [
        (place.start, place.end, new)
        for old, new in words.items()
        for place in occurrences(old, text, exact=True)
    ]
    kept = [found[at] for at in apart([(start, end) for start, end, _ in found], len(text))]
    parts: list[str] = []
    at = 0
    for start, end, new in sorted(kept):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])
