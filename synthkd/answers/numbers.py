r"""The number in a few words: units, thousands, fractions, percent, LaTeX, digits of any script.

    >>> number_in(r"about $\$1{,}200$ per day", AnswerSettings())
    Fraction(1200, 1)

Exact, as a fraction. Words with two different numbers are no answer, and neither is a number that
no float can hold, so that nothing here takes long or much room.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

from synthkd.answers.faults import NotRead, SeveralRead
from synthkd.answers.settings import AnswerSettings

LONGEST = 1_000
"""Characters in which a number or an equation must be said: what is longer is no answer."""
_LARGEST = Fraction(2) ** 1024
"""The first power of two that no float holds."""
_SMALLEST = Fraction(1, 10**400)
_MOST_BITS = 3_000
"""Of an exact fraction: some 900 digits, so that it can be read as it is written; of a longer one
50 digits are kept."""
_MOST_ZEROS = 400
"""Of an exponent: past it nothing is written out, whatever stands before."""

_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_TOKEN = re.compile(
    r"""
    # Words and units first: the digits of m2, x1, v1.2, COVID-19, 0xff or 5x3 are no number.
    (?:0[xob][0-9a-f]+\b|\d+x\d\w*)
    |(?:[^\W\d_]\w*(?:-\w+|(?<=\d)\.\d+|_\{\w*\})*(?:\^[-+]?\d+)?)
    |(?P<number>
      (?P<sign>(?<![\w)\]%])[-+]|\A[-+]\s)?
      (?:
        (?:(?P<whole>\d+)\s+)?(?P<top>\d+)\s?/\s?(?P<bottom>\d+)(?!\s?/|\d|\.\d)
        |(?P<digits>[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}(?!\d)|\d+)(?:\.(?P<part>\d*))?
        |(?<![.\w])\.(?P<only>\d+)
      )
      (?:e(?P<e>[-+]?\d+)|\s?[*x]\s?10\s?(?:\^|\*\*)\s?\(?(?P<ten>[-+]?\d+)\)?)?
      (?:\s?(?P<scale>hundred|thousand|million|billion|trillion)s?\b)?
      (?:\s?(?P<percent>%|percent\b|per\ cent\b))?
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_EXPRESSION = re.compile(r"[\u221a\u03c0\u00b1]|\\(?:sqrt|pi|pm|infty)|-\s*[-(]")
"""What is no unit and no sign: 5\u03c0 is not 5, and -(-5) is not -5."""
_OPERATOR = re.compile(r"\s*(?:[-+/:x]|\*\*?|plus|minus|times|divided by)\s*\(?\s*", re.IGNORECASE)
"""Alone between two numbers: 5 + 5 is not 5, though both are the same."""
_SHORT = re.compile(r"(?<=\d)(?:[kKMB]|bn|mn)\b")
"""5k is 5,000 or five of something."""
_NEXT = re.compile(r"[,;]\s|\band\b")
"""Between two equal signs: "a = 5, b = 6" is no chain."""

_JOINED = re.compile(r"(?<=\d)[\u00a0\u202f\u2009'\u2019_](?=\d{3}(?!\d))")
"""What groups thousands and is no comma."""
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b", "0123456789+-"
)
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b]+")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_SIGNS = str.maketrans(
    {
        **{"\u2212": "-", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*", "\u2217": "*"},
        **{"\u00f7": "/", "\u2044": "/", "\u2215": "/", "\u2248": "=", "\u00b0": " "},
        **{"\u066a": "%", "\u066b": ".", "\u066c": ","},
        **dict.fromkeys("$\u20ac\u00a3\u00a5\u20b9"),
    }
)
_LATEX = (
    (re.compile(r"\\(?:left|right|displaystyle|bigl?|bigr?)(?![a-zA-Z])|\\[!,;:()\[\]]"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\ |\\quad(?![a-zA-Z])"), " "),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
    (re.compile(r"\\approx(?![a-zA-Z])"), "="),
    (
        re.compile(r"\\[dtc]?frac\s*(?:\{\s*(-?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))"),
        r" \1\2/\3\4",
    ),
    (re.compile(r"\^\s*\{\s*([-+]?\d+)\s*\}"), r"^\1"),
    (re.compile(r"\\([%&#_])"), r"\1"),
    (re.compile(r"\\(?=[\s.]|$)"), ""),
)
_MINUS = re.compile(r"\b(?:minus|negative)\s+(?=[\d.])", re.IGNORECASE)


def number_in(words: str, config: AnswerSettings) -> Fraction:
    """The one number that the words hold; of a chain of equal signs, behind the last.

    Raises:
        SeveralRead: they hold several that differ.
        NotRead: they hold none, or one that is too large.
    """
    text = plain(words, config.decimal)
    first, *sides = text.split("=")
    last = sides[-1] if sides else first
    if any(map(_NEXT.search, sides[:-1])):
        raise SeveralRead(f"several equations: {words!r:.200}")
    text = (last if re.search(r"\d", last) else text).lstrip(" *_`\"'([{:#")
    if _EXPRESSION.search(text) or "\\" in (rest := _TOKEN.sub(" ", text)) or "^" in rest:
        raise NotRead(f"an expression and no number: {words!r:.200}")
    if found := _SHORT.search(text):
        raise NotRead(f"{found[0]!r} may be a unit or a multiple: {words!r:.200}")
    numbers = [match for match in _TOKEN.finditer(text) if match["number"]]
    values = {_value(match, config) for match in numbers}
    if len(values) > 1:
        raise SeveralRead(f"several numbers: {words!r:.200}")
    if any(_OPERATOR.fullmatch(text[a.end() : b.start()]) for a, b in pairwise(numbers)):
        raise NotRead(f"an expression and no number: {words!r:.200}")
    if not values:
        raise NotRead(f"no number: {words!r:.200}")
    return values.pop()


def plain(words: str, decimal: str) -> str:
    """The words with ASCII digits and signs, points before decimals, and hardly any LaTeX.

    Raises:
        NotRead: they are too long.
    """
    if len(words) > LONGEST:
        raise NotRead(f"{len(words)} characters, where {LONGEST} are the most: {words[:80]!r}...")
    text = _SUPERSCRIPT.sub(lambda match: "^" + match[0].translate(_SUPERSCRIPTS), words)
    text = _VULGAR.sub(r" \g<0>", _JOINED.sub("", text))
    text = unicodedata.normalize("NFKC", text.replace("\\$", "").translate(_SIGNS))
    text = "".join(map(_ascii, text)).translate(_SIGNS)
    for pattern, by in _LATEX:
        text = pattern.sub(by, text)
    text = _MINUS.sub("-", text)
    return text if decimal == "." else text.translate(str.maketrans(".,", ",."))


def close(one: Fraction, other: Fraction, tolerance: float) -> bool:
    """Whether two numbers are as near as is asked, beside the larger one where that is above 1."""
    return abs(one - other) <= Fraction(tolerance) * max(Fraction(1), abs(one), abs(other))


def written(value: Fraction, decimal: str = ".") -> str:
    """In one spelling, exactly: 1200, 0.5, 1/3, 1.5e300."""
    top, bottom = value.numerator, value.denominator
    twos = (bottom & -bottom).bit_length() - 1
    rest, fives = bottom >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{top}/{bottom}"
    places = max(twos, fives)
    digits = str(abs(top) * 10**places // bottom)
    sign = "-" if top < 0 else ""
    if len(digits) <= 40 and places <= 40:
        digits = digits.rjust(places + 1, "0")
        whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
        return f"{sign}{whole}{decimal}{part}" if part else f"{sign}{whole}"
    first, more = digits[0], digits[1:].rstrip("0")
    return f"{sign}{first}{decimal * bool(more)}{more}e{len(digits) - 1 - places}"


def number_of(spelling: str, decimal: str = ".") -> Fraction:
    """The number that `written` wrote so."""
    return Fraction(spelling.replace(decimal, "."))


def checked(value: Fraction, words: str) -> Fraction:
    """The value itself, if a float could hold something near it.

    Raises:
        NotRead: it could not.
    """
    if abs(value) >= _LARGEST:
        raise NotRead(f"too large, no float holds it: {words!r:.200}")
    if value and abs(value) < _SMALLEST:
        raise NotRead(f"too small, no float holds it: {words!r:.200}")
    if value.numerator.bit_length() + value.denominator.bit_length() <= _MOST_BITS:
        return value
    with localcontext(prec=50):
        return Fraction(Decimal(value.numerator) / Decimal(value.denominator))


def shifted(value: Fraction, power: int, words: str) -> Fraction:
    """The value times a power of ten.

    Raises:
        NotRead: what comes out is too large or too small.
    """
    if value and abs(power) > _MOST_ZEROS:
        what = "large" if power > 0 else "small"
        raise NotRead(f"too {what}, no float holds it: {words!r:.200}")
    return checked(value * Fraction(10) ** power if value else value, words)


def _value(match: re.Match[str], config: AnswerSettings) -> Fraction:
    said = match.group()
    if match["bottom"]:
        if not int(match["bottom"]):
            raise NotRead(f"division by zero: {said!r}")
        value = Fraction(int(match["top"]), int(match["bottom"])) + int(match["whole"] or 0)
    else:
        digits = (match["digits"] or "").replace(",", "")
        part = match["only"] or match["part"] or ""
        value = Fraction(int(f"{digits}{part}"), 10 ** len(part))
    power = match["e"] or match["ten"] or "0"
    zeros = int(power) if len(power) < 8 else (-1 if power[0] == "-" else 1) * 10**8
    value = shifted(value, zeros + _SCALES.get((match["scale"] or "").lower(), 0), said)
    if match["percent"] and config.percent == "hundredths":
        value /= 100
    return -value if (match["sign"] or "").startswith("-") else value


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    # Marks of direction and the like stand among the digits of some scripts and are never seen.
    return "" if unicodedata.category(character) == "Cf" else character
