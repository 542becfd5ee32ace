"""Exact match of answers, match of numbers, and of answers of any type."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from synthkd.answers import AnswerSettings, read, same
from synthkd.answers import canonical as spelling_of
from synthkd.evaluate.scored import Scored, share_right
from synthkd.rows import Json, canonical
from synthkd.text import answer_text

NUMBER = AnswerSettings(type="number")
ANY = AnswerSettings()

TOLERANCE = 1e-6
"""How far numbers may be apart, relative to gold or absolute, whichever is more; that of Distilling
Step-by-Step (arXiv 2305.02301, its code) for SVAMP."""


def exact_match(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """Share of answers that are gold, character for character.

    White space at the ends makes no difference, and a number is what it is written as; lists and
    objects are compared as JSON.
    """
    pairs = zip(gold, given, strict=True)
    return share_right(
        [said is not None and _written(said) == _written(one) for one, said in pairs]
    )


def numeric_match(
    gold: Sequence[Json], given: Sequence[Json], tolerance: float = TOLERANCE
) -> Scored:
    """Share of answers that are the number in gold.

    Args:
        gold: numbers, or texts that are one.
        given: what was answered; what is no number is wrong.
        tolerance: how far apart they may be, times |gold| where that is above 1.
    """

    def near(wanted: float | None, said: float | None) -> bool:
        if wanted is None or said is None:
            return False
        return abs(said - wanted) <= tolerance * max(1.0, abs(wanted))

    return share_right([near(number_of(g), number_of(a)) for g, a in zip(gold, given, strict=True)])


def number_of(value: Json) -> float | None:
    """The number that an answer is (`synthkd.answers`): 1200 of "$1,200.00 a day"; None = none."""
    spelling = spelling_of(value, NUMBER)
    return None if spelling is None else float(Fraction(spelling))


def answer_match(
    gold: Sequence[Json], given: Sequence[Json], config: AnswerSettings = ANY
) -> Scored:
    """Share of answers that are gold, by what their type calls the same.

    Args:
        gold: answers of the type.
        given: answers, or replies with one behind a cue or in a box; what is none is wrong.
        config: the type.
    """
    pairs = zip(gold, given, strict=True)
    return share_right([same(one, answer_in(said, config), config) for one, said in pairs])


def answer_in(value: Json, config: AnswerSettings) -> Json:
    """What was answered: behind the cue of a reply that has one, else the value as it is."""
    if isinstance(value, str) and config.cue and (found := read(value, config)).answer is not None:
        return found.answer
    return value


def _written(value: Json) -> bytes:
    text = answer_text(value)
    return canonical(value if text is None else text.strip())
