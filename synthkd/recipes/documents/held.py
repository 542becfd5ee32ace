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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from synthkd.graphs.passages import Span, sentences
from synthkd.recipes.documents.languages import (
    LEAST_STEM,
    SPACED,
    Language,
    alike,
    folded,
    language_of,
    without_dots,
)

MOST_EVIDENCE = 3
"""Sentences that are named as the evidence of an answer."""

_NAME = re.compile(rf"(?<![^\W_])(?!\d){SPACED}+")
_JOINTS = frozenset({" ", "-", "'", "\u2019"})
"""Between two words of one name."""
MOST_WORDS = 12
"""Of a name with initials: what is longer is a line in capitals."""
LEAST_NAME = 2
"""Letters of a name: a single one is an initial or a mark."""


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


class Words:
    """Words that are looked for in other forms, too."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for word in self.words:
            self._by_stem[word[:LEAST_STEM]].append(word)

    def has(self, word: str) -> bool:
        """Whether there is such a word, or a form of it."""
        if word in self.words:
            return True
        return any(alike(word, other) for other in self._by_stem.get(word[:LEAST_STEM], ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What stands in a text that answers are held against, read once for all of them."""

    words: Words
    numbers: frozenset[str]
    initials: frozenset[str]
    """First letters of names, and of parts of names, that have several words: "uk", "nasa"."""


@lru_cache(maxsize=16)
def stated(text: str, language: str) -> Stated:
    """What stands in the text.

    Kept are a document, a passage and the questions at hand: of a book of 1 MB some 10 MB.

    Raises:
        ValueError: nothing is known of the language.
    """
    words = language_of(language)
    names = names_in(text, words) if words.capitals else ()
    return Stated(
        words=Words(words.content(text)),
        numbers=frozenset(words.numbers_in(text)),
        initials=frozenset(_initials(name[a:b]) for name in names for a, b in _parts(name)),
    )


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
    there, asked = stated(passage, language), stated(question, language)
    new = frozenset(word for word in words.content(answer) if not asked.words.has(word))
    numbers = words.numbers_in(answer) - asked.numbers
    found = sum(map(there.words.has, new))
    return Held(
        share=found / len(new) if new else 1.0,
        new=new,
        numbers=tuple(sorted(numbers - there.numbers)),
        names=tuple(_names_missing(answer, words, there, asked)),
        adds=bool(new or numbers),
    )


def _names_missing(answer: str, words: Language, there: Stated, asked: Stated) -> Iterator[str]:
    if not words.capitals:
        return
    seen: set[str] = set()
    for name in names_in(answer, words):
        for word in _written_out(name, there.words):
            spelt = folded(word)
            if len(word) < LEAST_NAME or spelt in seen or spelt in words.numbers:
                continue
            seen.add(spelt)
            is_known = there.words.has(spelt) or asked.words.has(spelt)
            if not is_known and spelt not in there.initials:
                yield word


def _written_out(name: Sequence[str], there: Words) -> Iterator[str]:
    """The words of a name but for those of which the passage has the initials: "US"."""
    known = {
        place
        for start, stop in _parts(name)
        if _initials(name[start:stop]) in there.words
        for place in range(start, stop)
    }
    yield from (word for place, word in enumerate(name) if place not in known)


def _parts(name: Sequence[str]) -> Iterator[Span]:
    """From where to where the parts of several words are; of a very long name none."""
    if len(name) <= MOST_WORDS:
        yield from (
            (start, stop) for start in range(len(name)) for stop in range(start + 2, len(name) + 1)
        )


def _initials(name: Sequence[str]) -> str:
    return "".join(folded(word)[0] for word in name)


def names_in(text: str, words: Language) -> Iterator[list[str]]:
    """The names, each as its words: a capital letter that is not there because a sentence begins.

    The first word of a sentence counts where the next has a capital too, as in "Greta Keller"; a
    function word ("In", "The") never does.
    """
    text = without_dots(text)
    for start, end in sentences(text):
        name: list[str] = []
        stop = begins = start
        for match in _NAME.finditer(text, start, end):
            is_name = match[0][0].isupper() and not words.is_function(match[0])
            if name and not (is_name and text[stop : match.start()] in _JOINTS):
                if name[1:] or begins > start:
                    yield name
                name = []
            if is_name:
                begins = begins if name else match.start()
                name.append(match[0])
            stop = match.end()
        if name and (name[1:] or begins > start):
            yield name


def evidence(answer: str, passage: str, *, language: str, question: str = "") -> list[Span]:
    """The sentences of the passage that have most of what the answer says, from the left.

    Greedy: the sentence with most of the words that none has yet, then the next, three at most.
    Words of the question decide only between sentences that have as many of the answer's.

    Returns:
        Start and end in characters of the passage; empty = no sentence has any of its words.
    """
    words = language_of(language)
    left = words.content(answer) | words.numbers_in(answer)
    asked = words.content(question)
    spans = [(span, Words(_said(passage[span[0] : span[1]], words))) for span in sentences(passage)]
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
    return words.content(sentence) | words.numbers_in(sentence)
