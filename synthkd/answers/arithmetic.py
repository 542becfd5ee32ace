r"""The value of an arithmetic expression: a small parser of its own, and nothing is executed.

    >>> value_of("(5 + 3) * 2 = 16", AnswerSettings())
    Fraction(16, 1)

Plus, minus, times, divided by, powers, parentheses, percent and \frac. Length, depth, and the size
of what comes out are bounded, so that no expression takes long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from synthkd.answers.faults import NotRead
from synthkd.answers.numbers import checked, close, number_in, plain, shifted
from synthkd.answers.settings import AnswerSettings

DEEPEST = 50
"""Parentheses, signs and powers inside each other."""
LARGEST_BITS = 4_096
"""Of a power, before it is worked out: 2^4096, far more than any float holds."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)"
    r"(?:e(?P<power>[-+]?\d{1,7})(?![\w.]))?|(?P<sign>\*\*|\\frac|\\?sqrt|\u221a|[-+*/^()%:{}x]))",
    re.IGNORECASE,
)
_ROOTS = ("\\sqrt", "sqrt", "\u221a")
_BEFORE = re.compile(r"\A(?:[ ,;?`\"']|\.(?!\d))+")
"""What may stand before it; the dot of ".5" belongs to the number."""
_NO_UNIT = re.compile(r"[+*/^|]|\w\(|\d!")
"""What a number with a unit has not: a sign, a function, a factorial."""
_CLOSING = {"(": ")", "{": "}"}
_BRACKETS = str.maketrans("[]", "()")


def value_of(words: str, config: AnswerSettings) -> Fraction:
    """The value of an expression, or of an equation whose sides agree.

    Of an equation, a side that is no arithmetic ("x", "8 apples" is the number 8) does not count.

    Raises:
        NotRead: no side can be worked out, a part of it cannot, or two sides differ.
    """
    text = plain(words, config.decimal).rstrip(" .,;?`\"'")
    text = _BEFORE.sub("", text)
    sides = [side for side in text.split("=") if side.strip(" *_`")]
    values, faults = [], []
    for side in sides:
        try:
            values.append(_side(side, config))
        except NotRead as fault:
            faults.append(fault)
    if any(isinstance(fault, Impossible) for fault in faults) or not values:
        raise NotRead(str(faults[0]) if faults else f"no arithmetic: {words!r:.200}")
    if not all(close(values[0], other, config.tolerance) for other in values):
        raise NotRead(f"the sides of the equation differ: {words!r:.200}")
    return values[-1]


class Impossible(NotRead):
    """Arithmetic that has no value, or none that fits: division by zero, a huge power."""


def _side(text: str, config: AnswerSettings) -> Fraction:
    try:
        return evaluated(text)
    except Impossible:
        raise
    except NotRead as fault:
        if _NO_UNIT.search(text):
            raise
        try:
            return number_in(text, config)  # with a unit
        except NotRead:
            raise fault from None


def evaluated(text: str) -> Fraction:
    """The value of plain arithmetic.

    Raises:
        Impossible: it is arithmetic without a value.
        NotRead: it is none.
    """
    return _Parser(text.translate(_BRACKETS)).whole()


class _Parser:
    """Recursive descent: sum of products of signed powers of atoms."""

    def __init__(self, text: str) -> None:
        self.text = text.strip(" *_`")
        self.tokens = list(self._tokens())
        self.at = 0
        self.depth = 0

    def whole(self) -> Fraction:
        value = self.sum()
        if self.at < len(self.tokens):
            raise self.fault(f"{str(self.tokens[self.at])!r} stands where nothing should")
        try:
            return checked(value, self.text)
        except NotRead as fault:
            raise Impossible(str(fault)) from None

    def sum(self) -> Fraction:
        value = self.product()
        while (sign := self.taken("+", "-")) is not None:
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> Fraction:
        value = self.signed()
        while True:
            if (sign := self.taken("*", "x", "/", ":")) is not None:
                by = self.signed()
                value = value * by if sign in "*x" else self.divided(value, by)
            elif self.next in ("(", "\\frac"):  # 2(3 + 4)
                value *= self.signed()
            else:
                return value

    def signed(self) -> Fraction:
        sign = self.taken("+", "-")
        if sign is None:
            return self.power()
        with_sign = self.deeper(self.signed)
        return -with_sign if sign == "-" else with_sign

    def power(self) -> Fraction:
        base = self.atom()
        if self.taken("^", "**") is None:
            return base
        return self.raised(base, self.deeper(self.signed))

    def atom(self) -> Fraction:
        token = self.next
        if isinstance(token, Fraction):
            self.at += 1
            value = token
        elif self.taken("(", "{") is not None:
            value = self.deeper(self.sum)
            if self.taken(_CLOSING[str(token)]) is None:
                raise self.fault("a bracket is not closed")
        elif self.taken("\\frac") is not None:
            above, below = self.deeper(self.atom), self.deeper(self.atom)
            value = self.divided(above, below)
        elif self.taken(*_ROOTS) is not None:
            value = self.raised(self.deeper(self.atom), Fraction(1, 2))
        else:
            raise self.fault(
                "it ends too soon" if token is None else f"{str(token)!r} is no number"
            )
        return value / 100 if self.taken("%") is not None else value

    def divided(self, above: Fraction, below: Fraction) -> Fraction:
        if not below:
            raise Impossible(f"division by zero: {self.text!r:.200}")
        return above / below

    def raised(self, base: Fraction, power: Fraction) -> Fraction:
        if power.denominator != 1:
            return self.rooted(base, power)
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(power) > LARGEST_BITS and abs(base) not in (0, 1):
            raise Impossible(f"a power that is too large: {self.text!r:.200}")
        if not base and power < 0:
            raise Impossible(f"division by zero: {self.text!r:.200}")
        return base ** int(power)

    def rooted(self, base: Fraction, power: Fraction) -> Fraction:
        """By floats: what comes out is seldom a fraction."""
        try:
            return Fraction(repr(float(base) ** float(power)))
        except (OverflowError, ZeroDivisionError, ValueError, TypeError):
            raise Impossible(f"a power that has no value here: {self.text!r:.200}") from None

    def deeper(self, part: Callable[[], Fraction]) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Impossible(f"more than {DEEPEST} deep: {self.text!r:.200}")
        value = part()
        self.depth -= 1
        return value

    @property
    def next(self) -> str | Fraction | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def taken(self, *signs: str) -> str | None:
        """The next token, if it is one of the signs; it is then behind us."""
        token = self.next
        if not isinstance(token, str) or token not in signs:
            return None
        self.at += 1
        return token

    def fault(self, what: str) -> NotRead:
        return NotRead(f"no arithmetic, {what}: {self.text!r:.200}")

    def _tokens(self) -> Iterator[str | Fraction]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self.fault(f"{self.text[at : at + 20].strip()!r} is none")
            at = match.end()
            if match["number"]:
                value = Fraction(match["number"].replace(",", ""))
                try:
                    yield shifted(value, int(match["power"] or 0), self.text)
                except NotRead as fault:
                    raise Impossible(str(fault)) from None
            else:
                yield match["sign"].lower()
