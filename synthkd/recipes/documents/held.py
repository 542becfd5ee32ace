"""An answer held against the passage that it is to be from: what of it does not stand there.

    >>> held = hold("The Old Granary has twelve doors.", passage, language="en")
    >>> held.share, held.numbers, held.names
    (0.5, ('12',), ())

By words alone, and so cheap and without a model: it finds a number or a name that the passage does
not have, and an answer that speaks of something else. It does not see who did what to whom: "Ada
married Ben" is held by "Ben left Ada and married Clara". For that, ask a judge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from synthkd.graphs.passages import Span, sentences
from synthkd.recipes.documents.languages import LEAST_STEM, Language, alike, language_of
from synthkd.text import normalised

MOST_EVIDENCE = 3
"""Sentences that are named as the evidence of an answer."""

_NAME = re.compile(r"[^\W\d_][\w\u2019'-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What of an answer stands in its passage."""

    share: float
    """Of the answer's words that are new (not in the question): those that the passage has, 0 to 1;
    1 where none is new."""
    new: frozenset[str]
    """Words that say something and do not stand in the question, case folded."""
    numbers: tuple[str, ...]
    """Numbers that neither passage nor question has."""
    names: tuple[str, ...]
    """Names that neither passage nor question has."""
    adds: bool
    """Whether the answer says anything that the question does not."""


class _Words:
    """Words that are looked for in other forms, too."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for word in self._words:
            self._by_stem[word[:LEAST_STEM]].append(word)

    def has(self, word: str) -> bool:
        if word in self._words:
            return True
        return any(alike(word, other) for other in self._by_stem.get(word[:LEAST_STEM], ()))


def hold(answer: str, passage: str, *, language: str, question: str = "") -> Held:
    """Hold the answer against the passage.

    Args:
        answer: in words.
        passage: what it is to be from.
        language: the code of both, as in `languages.yaml`.
        question: what was asked; its words are given, and prove nothing.

    Raises:
        ValueError: nothing is known of the language.
    """
    words = language_of(language)
    there, asked = _Words(words.content(passage)), _Words(words.content(question))
    new = frozenset(word for word in words.content(answer) if not asked.has(word))
    numbers = words.numbers_in(answer) - words.numbers_in(question)
    missing = sorted(numbers - words.numbers_in(passage))
    found = sum(map(there.has, new))
    return Held(
        share=found / len(new) if new else 1.0,
        new=new,
        numbers=tuple(map(_written, missing)),
        names=tuple(_names_missing(answer, words, there, asked)),
        adds=bool(new or numbers),
    )


def _names_missing(answer: str, words: Language, there: _Words, asked: _Words) -> Iterator[str]:
    if not words.capitals:
        return
    seen: set[str] = set()
    for name in names_in(answer):
        folded = normalised(name)
        is_new = folded not in seen and folded not in words.function
        if is_new and folded not in words.numbers and not there.has(folded):
            seen.add(folded)
            if not asked.has(folded):
                yield name


def names_in(text: str) -> Iterator[str]:
    """Words with a capital letter that is not there because a sentence begins.

    The first word of a sentence counts where the next has one too, as in "Greta Keller".
    """
    for start, end in sentences(text):
        found = list(_NAME.finditer(text, start, end))
        for place, match in enumerate(found):
            if not match[0][0].isupper():
                continue
            follows = found[place + 1] if place + 1 < len(found) else None
            if place > 0 or (follows is not None and _goes_on(text, match, follows)):
                yield re.sub(r"['\u2019]s$", "", match[0])


def _goes_on(text: str, first: re.Match[str], second: re.Match[str]) -> bool:
    return second[0][0].isupper() and text[first.end() : second.start()] == " "


def evidence(answer: str, passage: str, *, language: str, question: str = "") -> list[Span]:
    """The sentences of the passage that have most of what the answer says, from the left.

    Greedy: the sentence with most of the words that none has yet, then the next, three at most.
    Words of the question decide only between sentences that have as many of the answer's.

    Returns:
        Start and end in characters of the passage; empty = no sentence has any of its words.
    """
    words = language_of(language)
    left = words.content(answer) | {str(number) for number in words.numbers_in(answer)}
    asked = words.content(question)
    spans = [
        (span, _Words(_said(passage[span[0] : span[1]], words))) for span in sentences(passage)
    ]
    chosen: list[Span] = []
    while left and spans and len(chosen) < MOST_EVIDENCE:
        gains = [
            (sum(map(there.has, left)), sum(map(there.has, asked)), -place)
            for place, (_, there) in enumerate(spans)
        ]
        gain, _, place = max(gains)
        if not gain:
            break
        span, there = spans.pop(-place)
        left = {word for word in left if not there.has(word)}
        chosen.append(span)
    return sorted(chosen)


def _said(sentence: str, words: Language) -> set[str]:
    return words.content(sentence) | {str(number) for number in words.numbers_in(sentence)}


def _written(number: Fraction) -> str:
    return str(number.numerator) if number.denominator == 1 else f"{float(number):g}"
