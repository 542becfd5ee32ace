"""The numerals of a text, with what each can be read as: "1.234" is 1234 or 1.234.

    >>> [n.values for n in numerals_in("1.234,56 and 1.234", None)]
    [(Fraction(30864, 25),), (Fraction(1234, 1), Fraction(617, 500))]

Which sign divides the decimals is told by the numeral itself where it can tell: the last one of two
kinds, or one before other than three digits. Only where it cannot, `decimal` decides.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from synthkd.records.faults import NotNormal
from synthkd.rows import Json

Decimal = Literal[".", ","]

MOST_DIGITS = 15
"""Decimal digits that a 64-bit float keeps, whatever they are: JSON numbers are read as such."""
LONGEST = 2_000
"""Characters in which a value is looked for: what is longer is a text."""
_SHORT = {
    **{"k": 3, "tsd": 3, "m": 6, "mn": 6, "mio": 6, "mm": 6, "b": 9, "bn": 9, "mrd": 9},
    **{"\u4e07": 4, "\u842c": 4, "\u5104": 8, "\u4ebf": 8},
}
"""What money alone is shortened with: 5 m is five metres elsewhere."""
_WORDS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALES = {**_WORDS, **{f"{word}s": power for word, power in _WORDS.items()}}
_HUNDREDTHS = frozenset({"cent", "cents", "ct", "c", "p", "penny", "pence", "\u00a2"})
"""Of a currency: 50 cents are no amount of 50."""
_NUMERAL = re.compile(
    r"""
    (?P<open>\()?
    (?P<sign>(?<![\w)\]])[-+](?=[\d.,])|\A\s*[-+]\s*)?
    (?<![A-Za-z\d_])(?<![A-Za-z]-)(?<!\d[.,])
    (?P<digits>\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)*|[.,]\d+)
    (?P<over>(?:\s\d{1,3})?\s?/\s?\d+)?
    (?P<power>[eE][-+]?\d{1,3}(?!\w))?
    (?P<scale>[ ]?[A-Za-z\u00a2\u4e07\u842c\u5104\u4ebf]+)?
    (?P<close>\s*\))?
    """,
    re.VERBOSE,
)
_EVEN = str.maketrans(
    {
        **{"\u2010": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-"},  # the first unbreakable
        **{"\u2019": "'", "\u2044": "/"},
        **{"\u066b": ".", "\u066c": ",", "\u3001": ","},
    }
)
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_RAISED = re.compile("(?<=\\d)(?=[\u00b2\u00b3\u00b9\u2070-\u2089\u2460-\u24ff\u2776-\u2793])")
"""Behind a digit a power or a footnote's mark may stand, which NFKC would make a further digit."""
_NOT_DECIMAL = re.compile(r"_\d|[xX][\dA-Fa-f]")
"""What goes on behind the digits of 1_000 and 0x1F, which are numbers of programs."""
_OWED = re.compile(r"-(?=\s|\Z)")
"""Behind an amount, as books of German and SAP write what is owed: 1.234,56-."""
_MINUS = re.compile(r"\b(?:minus|negative)\s+(?=\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeral:
    """A number as it is written."""

    end: int
    """Where its digits end in the text, and a unit may begin."""
    values: tuple[Fraction, ...]
    """What it can be read as; the thousands before the decimals where there are two."""
    in_brackets: bool = False
    """As books write what is owed: (1,234.56)."""


def even(text: str) -> str:
    """The text with ASCII digits, signs and blanks, so that one pattern fits all scripts."""
    apart = _RAISED.sub("^", _VULGAR.sub(r" \g<0>", text))
    plain = unicodedata.normalize("NFKC", apart).translate(_EVEN)
    digits = "".join(
        c if c.isascii() or not c.isdecimal() else str(unicodedata.decimal(c)) for c in plain
    )
    return _MINUS.sub("-", digits)


def numerals_in(text: str, decimal: Decimal | None, *, money: bool = False) -> list[Numeral]:
    """Every numeral of the text.

    Args:
        text: as `even` gives it.
        decimal: what stands before decimals where the numeral does not tell; None = unknown.
        money: whether three digits behind the only sign are thousands, since money has no three
            decimals, and "5k" is 5,000.
    """
    found = []
    for match in _NUMERAL.finditer(text):
        values = _values(match["digits"], "grouped" if money else decimal)
        if _NOT_DECIMAL.match(text, match.end("digits")):
            continue
        if match["over"] and len(values) == 1:
            values = _over(values[0], match["over"])
        word = (match["scale"] or "").strip(" ").lower()
        if money and word in _HUNDREDTHS:
            continue
        power = _SCALES.get(word, _SHORT.get(word, 0) if money else 0)
        minus = (match["sign"] or "").strip() == "-"
        minus = minus or (money and _OWED.match(text, match.end("digits")) is not None)
        scale = Fraction(10) ** (power + int((match["power"] or "e0")[1:])) * (-1 if minus else 1)
        if values:
            end = max(match.end(name) for name in ("digits", "over", "power"))
            end = match.end("scale") if power else end
            said = tuple(value * scale for value in values)
            in_brackets = bool(match["open"] and match["close"])
            found.append(Numeral(end=end, values=said, in_brackets=in_brackets))
    return found


def the_number(numerals: list[Numeral], words: str) -> Fraction:
    """The one number that the numerals are.

    Raises:
        NotNormal: there is none, several that differ, or one that can be read in two ways.
    """
    told = {numeral.values for numeral in numerals}
    if not told:
        raise NotNormal("not_a_number", f"no number in {words!r:.200}")
    if len(told) > 1:
        raise NotNormal("several_values", f"several numbers in {words!r:.200}")
    (values,) = told
    if len(values) > 1:
        raise NotNormal(
            "ambiguous_number", f"{words!r:.200} has thousands or decimals: set `decimal`"
        )
    return values[0]


def as_json(value: Fraction, words: str) -> Json:
    """The number as JSON has it: whole, or the shortest float that is it.

    Raises:
        NotNormal: no float is exactly it.
    """
    if value.denominator == 1 and abs(value) < 10**MOST_DIGITS:
        return int(value)
    if abs(value) < 10**MOST_DIGITS and Fraction(repr(near := float(value))) == value:
        return near
    raise NotNormal("too_precise", f"no float is exactly {words!r:.200}")


def _over(above: Fraction, said: str) -> tuple[Fraction, ...]:
    """The fraction "3" + "/4", or "1" + " 1/2"; none = it divides by nothing."""
    top, _, bottom = said.partition("/")
    if not int(bottom):
        return ()
    return (above + Fraction(int(top), int(bottom)) if top.strip() else above / int(bottom),)


def _values(digits: str, decimal: str | None) -> tuple[Fraction, ...]:
    """What the digits can be read as; none = they are grouped as nobody groups."""
    digits = digits.replace(" ", "").replace("'", "")
    signs = [c for c in digits if c in ".,"]
    if not signs:
        return (Fraction(digits),)
    last = signs[-1]
    if len(set(signs)) == 2:
        whole, _, part = digits.rpartition(last)
        return (_decimal(whole, part),) if last not in whole and _is_grouped(whole) else ()
    if len(signs) > 1:
        return (_decimal(digits, ""),) if _is_grouped(digits) else ()
    whole, _, part = digits.partition(last)
    if len(part) != 3 or len(whole) > 3 or whole in ("", "0"):
        return (_decimal(whole, part),)
    thousands, decimals = _decimal(digits, ""), _decimal(whole, part)
    if decimal is None:
        return thousands, decimals
    return (decimals if decimal == last else thousands,)


def _is_grouped(digits: str) -> bool:
    """In threes, or in twos before the last three as in India."""
    first, *groups = re.split(r"[.,]", digits)
    if not 1 <= len(first) <= 3 or len(groups[-1]) != 3:
        return False
    return all(len(group) == 3 for group in groups) or all(len(g) == 2 for g in groups[:-1])


def _decimal(whole: str, part: str) -> Fraction:
    plain = whole.replace(".", "").replace(",", "")
    return Fraction(f"{plain or '0'}.{part or '0'}")
