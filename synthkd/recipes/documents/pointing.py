"""What in a question or an answer points outside of it: "this passage", "the author", "Figure 3".

    >>> points_outside("What does the author think of war?", "en")
    'the author'
    >>> points_outside("Who is the author of Emma?", "en")

A pair that is learnt without its document must be understood without it (MechGPT, arXiv 2310.10445,
asks its teacher for such answers; here they are checked). The phrases are data, a list a language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from synthkd.recipes.documents.languages import Language, folded, language_of, words_of
from synthkd.text import is_unspaced

BEGINNING = 1_000
"""Characters of a text in which a word without an antecedent is looked for."""
_FIRST_WORDS = re.compile(r"\s*([\w-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phrases:
    """The lists of a language as patterns; None = its list is empty."""

    always: re.Pattern[str] | None
    unbound: re.Pattern[str] | None
    numbered: re.Pattern[str] | None
    deictic: re.Pattern[str] | None
    persons: re.Pattern[str] | None


def points_outside(text: str, language: str, *, before: str = "") -> str | None:
    """The first phrase found that points to what is not there; None = none.

    Args:
        text: a question or an answer.
        language: its code, as in `languages.yaml`.
        before: what is read before it, such as the question of an answer: "this method" may mean
            what stands there.

    Raises:
        ValueError: nothing is known of the language.
    """
    words, phrases = language_of(language), _phrases(language)
    text = text.replace("\u2019", "'")  # "l'auteur" is written with either
    for pattern in (phrases.always, phrases.numbered):
        if pattern is not None and (match := pattern.search(text)):
            return match[0]
    if phrases.unbound is not None:
        for match in phrases.unbound.finditer(text):
            if not _is_bound(text[match.end() :], words):
                return match[0]
    return _without_antecedent(text, words, phrases, before)


def _is_bound(rest: str, words: Language) -> bool:
    """Whether what comes next says which one is meant: "of Emma", or a name."""
    found = _FIRST_WORDS.match(rest)
    following = found[1] if found and found[1] else ""
    return folded(following) in words.bound or (words.capitals and following[:1].isupper())


def _without_antecedent(text: str, words: Language, phrases: _Phrases, before: str) -> str | None:
    """A word such as "she" or "this method" for which nothing before it can stand.

    Only where a text begins: later, something stands before everything.
    """
    text = text[:BEGINNING]
    is_said = bool(words.content(before) - words.asking)
    for match in phrases.persons.finditer(text) if phrases.persons else ():
        if is_said or words.content(text[: match.start()]) - words.asking:
            break
        found = _FIRST_WORDS.match(text, match.end())
        if folded(found[1] if found and found[1] else "") not in words.impersonal:
            return match[0]
    known = frozenset(map(folded, words_of(before)))
    for match in phrases.deictic.finditer(text) if phrases.deictic else ():
        found = _FIRST_WORDS.match(text, match.end())
        following = folded(found[1] if found and found[1] else "")
        earlier = text[: match.start()]
        is_first = not is_said and not words.content(earlier) - words.asking
        if not is_first and ("." in before or "." in earlier):
            break
        if following in words.function or not following:
            if is_first:
                return match[0]
        elif following not in known and following not in map(folded, words_of(earlier)):
            return f"{match[0]} {found[1]}" if found else match[0]
    return None


@cache
def _phrases(language: str) -> _Phrases:
    words = language_of(language)
    pointed = [f"{pointer} {thing}" for pointer in words.pointers for thing in words.things]
    numbers = r"\.?\s*\(?\d+"
    return _Phrases(
        always=_any_of([*words.always, *pointed]),
        unbound=_any_of(words.unbound),
        numbered=_any_of(words.numbered, numbers),
        deictic=_any_of(words.deictic),
        persons=_any_of(words.persons),
    )


def _any_of(phrases: Iterable[str], then: str = "") -> re.Pattern[str] | None:
    """One of the phrases as whole words, in any case; what is unspaced, wherever it stands."""
    spaced: list[str] = []
    unspaced: list[str] = []
    for phrase in sorted(phrases, key=len, reverse=True):
        words = r"\s+".join(map(re.escape, phrase.split()))
        (unspaced if is_unspaced(phrase[0]) else spaced).append(words)
    ways = [rf"\b(?:{'|'.join(spaced)})\b{then}"] if spaced else []
    ways += [rf"(?:{'|'.join(unspaced)}){then}"] if unspaced else []
    return re.compile("|".join(ways), re.IGNORECASE) if ways else None
