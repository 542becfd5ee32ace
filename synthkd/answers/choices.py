"""Which choice a line names: by its letter, by its text, or by both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from synthkd.answers.faults import NotRead, SeveralRead
from synthkd.answers.settings import AnswerSettings
from synthkd.errors import MissingField
from synthkd.rows import Fields
from synthkd.text import OUTER_PUNCTUATION, answer_text, equivalent

_LETTER_FIRST = re.compile(
    r"[^\w\n]*(?:(?i:option|choice|answer) )?([A-Za-z])(?:[).:](?!\w)|[^\w\n]*$)"
)
_LETTER_BEFORE_TEXT = re.compile(r"\s*\(([A-Za-z])\)|\s*([A-Za-z])[).:]")
_LETTERS = re.compile(r"\(([A-Za-z])\)")


def choices_of(fields: Fields, config: AnswerSettings) -> list[str] | None:
    """The choices of a row: those in its own field, or the labels of all rows; None = any answer.

    Raises:
        MissingField: the field has no list, or one of other things than texts and numbers.
    """
    if config.choices is None:
        return config.labels
    value = fields.get(config.choices)
    if not isinstance(value, list | tuple) or not value:
        raise MissingField(
            f"the field {config.choices!r} must hold a list of choices, got {value!r:.80}"
        )
    texts = [answer_text(choice) for choice in value]
    if None in texts:
        wrong = value[texts.index(None)]
        raise MissingField(
            f"the field {config.choices!r} must hold choices that are texts or numbers, got"
            f" {wrong!r:.80}"
        )
    return [text or "" for text in texts]


def choice_in(line: str, choices: Sequence[str]) -> str:
    """The choice that a line names.

    A letter right at its beginning decides, and the words behind it do not matter. Otherwise the
    line must name exactly one choice, by a letter in parentheses or, where there is no letter, by
    its text.

    Raises:
        SeveralRead: it names several.
        NotRead: it names none.
    """
    bodies = _without_letters(choices)
    exact = _exact(line, choices) or _exact(line, bodies)
    alone = _LETTERS.fullmatch(line.strip(" .*_"))
    if exact and (not alone or line in choices):
        return choices[exact[0]]
    if letters := _letters(line):
        places = [ord(letter.lower()) - ord("a") for letter in letters]
        # Where the choices are letters themselves, "(b)" may be the second or the one called b.
        named = [choices[place] for place in [*places, *exact] if place < len(choices)]
    else:
        texts = set(named_choices(line, bodies))
        named = [choice for choice, text in zip(choices, bodies, strict=True) if text in texts]
    return _one(named, line)


def label_in(line: str, labels: Sequence[str]) -> str:
    """The label that a line names by its text; a letter says nothing.

    Raises:
        SeveralRead: it names several.
        NotRead: it names none.
    """
    if exact := _exact(line, labels):
        return labels[exact[0]]
    return _one(named_choices(line, labels), line)


def letter_in(line: str) -> str:
    """The letter of a choice whose text is not known, as a capital.

    Every letter in parentheses counts: without the texts "(A) or (D)" cannot be told from a choice
    and what was said of it.

    Raises:
        SeveralRead: the line has several.
        NotRead: it has none.
    """
    said: list[str] = [*_letters(line), *_LETTERS.findall(line)]
    letters = {letter.upper() for letter in said}
    if len(letters) > 1:
        raise SeveralRead(f"several letters: {line!r:.200}")
    if not letters:
        raise NotRead(f"no letter of a choice: {line!r:.200}")
    return letters.pop()


def named_choices(text: str, choices: Iterable[str]) -> list[str]:
    """The choices whose text stands in `text` as whole words, the longest first.

    Case, and spaces against underscores, make no difference. What belongs to a longer choice does
    not count for a shorter one: "sea world" does not name "sea".
    """
    found = []
    for choice in sorted(
        {c for c in choices if c.strip(OUTER_PUNCTUATION)}, key=lambda c: (-len(c), c)
    ):
        text, times = _whole_words(choice).subn("\n", text)
        if times:
            found.append(choice)
    return found


def _letters(line: str) -> list[str]:
    first = _LETTER_FIRST.match(line)
    found: list[str] = [first[1]] if first else _LETTERS.findall(line)
    return found


def _exact(line: str, choices: Sequence[str]) -> list[int]:
    said = equivalent(line)
    return [place for place, choice in enumerate(choices) if equivalent(choice) == said]


def _one(named: Sequence[str], line: str) -> str:
    if len({equivalent(choice) for choice in named}) > 1:
        raise SeveralRead(f"several choices: {line!r:.200}")
    if not named:
        raise NotRead(f"none of the choices: {line!r:.200}")
    return named[0]


def _without_letters(choices: Sequence[str]) -> Sequence[str]:
    """Their texts, where every choice begins with its own letter, as in "A) 5"."""
    found = [_LETTER_BEFORE_TEXT.match(choice) for choice in choices]
    letters = "".join((match[1] or match[2]).lower() for match in found if match)
    if letters != "abcdefghijklmnopqrstuvwxyz"[: len(choices)]:
        return choices
    return [choice[m.end() :].strip() for choice, m in zip(choices, found, strict=True) if m]


@lru_cache(maxsize=4096)
def _whole_words(choice: str) -> re.Pattern[str]:
    words = r"[\s_]+".join(re.escape(word) for word in choice.replace("_", " ").split())
    return re.compile(rf"(?<!\w)(?<!non-){words}(?!\w)", re.IGNORECASE)
