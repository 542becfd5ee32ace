"""`candidates.sums`: whether what a rationale works out is worked out right.

    16 - 3 = <<16-3=13>>13 eggs are left.      adds up
    She gets 13 * 2 = 24 dollars.              does not

Every equation of numbers in a candidate's rationale is worked out anew, by the parser of
`synthkd.answers` and nothing else. The candidate gets two properties, for `choose.panel` to learn
from (`by`), or for another step to sort out by:

* `sums`: `right`, `wrong` (one does not hold, or the answer is not what the last one gives), `none`
* `whole`: whether the answer is a whole number that is not below 0; null where it is no number
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Literal, NamedTuple

from synthkd.answers import AnswerSettings
from synthkd.answers.arithmetic import Impossible, evaluated
from synthkd.answers.faults import NotRead
from synthkd.answers.numbers import number_in, plain
from synthkd.config import Share
from synthkd.curate.choose.chosen import ChoiceSettings, pool_of
from synthkd.recipes.pool import Candidate, told
from synthkd.rows import Row
from synthkd.steps import Kit, step

MOST = 200
"""Equations of a rationale that are worked out, the last ones."""
REACH = 80
"""Characters of a side of an equation; what is longer is none of ours."""
ROUNDED = 1e-6
"""What a program in floating point gives of a whole number may be off by so much."""
NUMBER = AnswerSettings(type="number")

_ANNOTATION = re.compile(r"<<([^<>=\n]{1,80})=([^<>=\n]{1,80})>>")
_LEFT = re.compile(r"[\d.,()+\-*/x\u00d7\u00f7$% \t]+$")
_RIGHT = re.compile(
    r"\s*[$\u20ac\u00a3]?\s*(-?\d[\d,]*(?:\.\d+)?)(?!\s*[-+*/x\u00d7\u00f7]\s*[\d(])"
)
_OPERATION = re.compile(r"[\d)]\s*[-+*/x\u00d7\u00f7]{1,2}\s*[($]?\s*\.?\d")

Sums = Literal["right", "wrong", "none"]


class SumsSettings(ChoiceSettings):
    """Settings of `candidates.sums`."""

    tolerance: Share = 0.01
    """How far a stated result may be from the true one, times the true one where that is above 1:
    people and models round."""


class Equation(NamedTuple):
    """An expression, and what is said to come of it."""

    worth: Fraction | None
    """None = it has no value: a division by zero, a power that is too large."""
    stated: Fraction


@step(
    "candidates.sums",
    needs=lambda config: [config.candidates],
    gives=lambda config: [config.candidates],
)
async def sums(row: Row, kit: Kit, config: SumsSettings, /) -> AsyncIterator[Row]:
    """Work out the sums in each candidate's rationale anew; adds `sums` and `whole` to it.

    Rejects nothing. Figures: how many candidates are `right`, `wrong`, or have `none`.
    """
    pool = []
    for candidate in pool_of(row, config.candidates):
        found = sums_of(candidate, config.tolerance)
        kit.count(f"sums {found}")
        more = {**candidate.more, "sums": found, "whole": is_whole(candidate.answer)}
        pool.append(replace(candidate, more=more))
    yield row.with_fields(**{config.candidates: told(pool)})


def sums_of(candidate: Candidate, tolerance: float) -> Sums:
    """Whether the sums add up, and to the answer."""
    found = list(equations(candidate.rationale))
    if not found:
        return "none"
    for one in found:
        if one.worth is None or not _near(one.worth, one.stated, tolerance):
            return "wrong"
    answer = _number(candidate.answer or "")
    return "right" if answer is not None and _near(found[-1].stated, answer, tolerance) else "wrong"


def is_whole(answer: str | None) -> bool | None:
    """Whether it is a number of things; None = it is no number."""
    value = None if answer is None else _number(answer)
    return None if value is None else value >= 0 and _near(value, Fraction(round(value)), ROUNDED)


def equations(text: str) -> Iterator[Equation]:
    """The equations of numbers in a text, in their order; what is no arithmetic is left out."""
    found: list[tuple[int, str, str]] = [
        (match.start(), match[1], match[2]) for match in _ANNOTATION.finditer(text)
    ]
    # An annotation hides what stands around it: "16 - 3 = <<16-3=13>>13" is "16 - 3 = 13", too.
    bare = _ANNOTATION.sub(lambda match: "\x00" * len(match[0]), text)
    for match in re.finditer("=", bare):
        left = _LEFT.search(bare[max(0, match.start() - REACH) : match.start()])
        right = _RIGHT.match(bare[match.end() : match.end() + 4 * REACH].replace("\x00", ""))
        if left is not None and right is not None and _OPERATION.search(left[0]):
            found.append((match.start(), left[0].strip(), right[1]))
    for _, left_side, right_side in sorted(found)[-MOST:]:
        worth: Fraction | None = None
        try:
            worth = evaluated(plain(left_side.replace("$", ""), NUMBER.decimal))
        except Impossible:
            pass
        except NotRead:
            continue
        stated = _number(right_side)
        if stated is not None:
            yield Equation(worth, stated)


def _number(words: str) -> Fraction | None:
    try:
        return number_in(words, NUMBER)
    except NotRead:
        return None


def _near(one: Fraction, other: Fraction, tolerance: float) -> bool:
    return abs(one - other) <= Fraction(tolerance) * max(Fraction(1), abs(one))
