"""What is known of languages, and the words of a text: those that say something, and its numbers.

    >>> language = language_of("en")
    >>> sorted(language.content("It has twelve doors, built in 1930."))
    ['built', 'doors']
    >>> sorted(language.numbers_in("It has twelve doors, built in 1,930."))
    ['12', '1930']

The lists are data (`languages.yaml`); a language is added by a block there. A script without spaces
between words is read as pairs of neighbouring characters, since one alone says little.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field

from synthkd.config import Settings
from synthkd.hints import near
from synthkd.plain_yaml import PlainLoader
from synthkd.text import UNSPACED_CLASS, normalised

FILE = Path(__file__).with_name("languages.yaml")
LEAST_STEM = 4
"""Letters that two forms of a word have in common at least."""
MARKS = re.compile("[\u0300-\u036f]")
"""Accents of Latin, Greek and Cyrillic: "Pe\u00f1a" and "Pena" are one word."""
STEM = 0.6
"""And so large a share of the longer one: "created" and "creation" are one word."""

SPACED = rf"(?:(?![{UNSPACED_CLASS}])[^\W_])"
"""A letter or digit of a script with spaces, inside of a regular expression."""
_ABBREVIATION = re.compile(r"\b([^\W\d_])\.(?=[^\W\d_]\b)")
"""The dots within "U.S.", which is "US"."""
_WORD = re.compile(
    r"(?P<number>(?<![^\W_])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?:(?:st|nd|rd|th|s)\b)?"
    rf"|(?P<run>[{UNSPACED_CLASS}]+)"
    rf"|(?P<word>{SPACED}+)"
)


@lru_cache(maxsize=2**14)
def folded(word: str) -> str:
    """One spelling for a word: case and accents aside."""
    return MARKS.sub("", unicodedata.normalize("NFKD", normalised(word)))


Folded = Annotated[str, AfterValidator(folded)]


class Language(Settings):
    """A block of `languages.yaml`; what each list means stands there."""

    capitals: bool
    function: frozenset[Folded]
    numbers: Mapping[Folded, Annotated[int, Field(ge=0)]]
    always: tuple[str, ...]
    pointers: tuple[str, ...]
    things: tuple[str, ...]
    unbound: tuple[str, ...]
    bound: frozenset[Folded]
    numbered: tuple[str, ...]
    deictic: tuple[str, ...]
    persons: tuple[str, ...]
    impersonal: frozenset[Folded]
    asking: frozenset[Folded]

    def content(self, text: str) -> set[str]:
        """The words that say something, as `folded` spells them; numbers are none of them."""
        spelt = {word: folded(word) for word in words_of(text)}
        return {
            word
            for written, word in spelt.items()
            if not word[0].isdigit() and word not in self.numbers and not self.is_function(written)
        }

    def is_function(self, word: str) -> bool:
        """Whether the word, as it is written, says nothing: "us" does not, "US" does."""
        return folded(word) in self.function and not (len(word) > 1 and word.isupper())

    def numbers_in(self, text: str) -> set[str]:
        """The numbers, in digits or in one word each, each in one spelling: "12", "1250.5"."""
        digits = (match["number"] for match in _WORD.finditer(text))
        named = (self.numbers.get(folded(word)) for word in words_of(text))
        found = {_plain(number) for number in digits if number is not None}
        return found | {str(number) for number in named if number is not None}


def _plain(number: str) -> str:
    """One spelling, of digits of any script and of any length."""
    ascii_digits = "".join(c if c in ",." else str(unicodedata.decimal(c)) for c in number)
    whole, _, part = ascii_digits.replace(",", "").partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def words_of(text: str) -> Iterator[str]:
    """The words from the left, as they are written; of an unspaced run each two neighbours."""
    for match in _WORD.finditer(without_dots(text)):
        run = match["run"]
        if run is None or len(run) == 1:
            yield match[0]
        else:
            yield from map("".join, pairwise(run))


def without_dots(text: str) -> str:
    """The text with "US" in place of "U.S"."""
    return _ABBREVIATION.sub(r"\1", text)


def alike(word: str, other: str) -> bool:
    """Whether two words, as `folded` spells them, count as forms of one."""
    if word == other:
        return True
    least = max(LEAST_STEM, int(STEM * max(len(word), len(other)) + 0.999))
    return len(word) >= least and word[:least] == other[:least]


@cache
def languages() -> Mapping[str, Language]:
    """All languages, by their codes."""
    raw: dict[str, Any] = yaml.load(FILE.read_text("utf-8"), Loader=PlainLoader)  # noqa: S506  a SafeLoader
    return {code: Language.model_validate(block) for code, block in raw.items()}


def language_of(code: str) -> Language:
    """The language of that code.

    Raises:
        ValueError: nothing is known of it.
    """
    known = languages()
    if code not in known:
        raise ValueError(
            f"nothing is known of the language {code!r}; there are {', '.join(known)}"
            f"{near(code, known)}"
        )
    return known[code]


def _known(code: str) -> str:
    language_of(code)
    return code


LanguageCode = Annotated[str, AfterValidator(_known)]
"""A language in a step's settings."""
