from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.answers import AnswerSettings, read, same
from synthkd.answers.arithmetic import value_of
from synthkd.answers.faults import NotRead

EQUATION = AnswerSettings(type="equation")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("( 8.0 - 3.0 )", "5"),
        ("5 + 3 = 8 apples.", "8"),
        ("x = 5 * 3", "15"),
        ("2 + 3 * 4", "14"),
        ("10 - 2 - 3", "5"),
        ("2^3^2", "512"),
        ("-2^2", "-4"),
        ("2**-2", "0.25"),
        ("2(3 + 4)", "14"),
        ("[1 + 2] × 3 ÷ 4", "2.25"),
        ("5 x 3", "15"),
        ("50% * 20", "10"),
        ("$1,200 / 3", "400"),
        (r"\frac{1}{2} + \frac{3}{4}", "1.25"),
        (r"\frac{2 + 3}{4}", "1.25"),
        (r"\sqrt{16}", "4"),
        ("sqrt(16) + √9", "7"),
        ("2^0.5", "1.4142135623730951"),
        ("5² + ½", "25.5"),
        ("1/3", "1/3"),
        ("1.5e3 + 1", "1501"),
        ("12 apples", "12"),
        ("٣ + ٤", "7"),
        (".5", "0.5"),
        (".5 + .5", "1"),
        ("... 5", "5"),
    ],
)
def test_the_value_of_an_equation(words: str, value: str) -> None:
    reading = read(f"So. The answer is {words}", EQUATION)
    assert (reading.status, reading.answer) == ("ok", value)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("8 / 0", "division by zero"),
        ("8 / (3 - 3) = 4", "division by zero"),
        ("0^-1", "division by zero"),
        ("5 + 3 = 9", "sides of the equation differ"),
        ("2^99999", "too large"),
        ("9^9^9^9", "too large"),
        ("1e400", "too large"),
        ("1e308 * 1e308", "too large"),
        ("(-8)^(1/3)", "no value"),
        ("(" * 60 + "1" + ")" * 60, "50 deep"),
        ("-" * 60 + "5", "50 deep"),
        ("2^" * 60 + "1", "50 deep"),
        ("1+" * 600 + "1", "1201 characters"),
        ("1 +", "too soon"),
        ("5!", "'!' is none"),
        ("|-5|", "is none"),
        ("log(100)", "is none"),
        ("2π", "is none"),
        ("(1 + 2", "not closed"),
        ("1 2 + 3", "where nothing should"),
        ("__import__('os')", "no arithmetic"),
        ("apples", "no arithmetic"),
        ("x = y", "no arithmetic"),
    ],
)
def test_what_has_no_value_is_said_with_the_reason(words: str, why: str) -> None:
    reading = read(f"The answer is {words}", EQUATION)
    assert (reading.status, reading.answer) == ("bad_label", None)
    assert why in reading.detail


def test_equations_of_one_value_are_the_same() -> None:
    assert same("( 8.0 - 3.0 )", "10 / 2", EQUATION)
    assert not same("( 8.0 - 3.0 )", "3 - 8", EQUATION)


def combined(
    parts: st.SearchStrategy[tuple[str, Fraction]],
) -> st.SearchStrategy[tuple[str, Fraction]]:
    def both(
        left: tuple[str, Fraction], sign: str, right: tuple[str, Fraction]
    ) -> tuple[str, Fraction]:
        (a, x), (b, y) = left, right
        if sign == "/" and not y:
            sign = "-"
        value = {"+": x + y, "-": x - y, "*": x * y, "/": x / (y or 1)}[sign]
        return f"({a} {sign} {b})", value

    return st.builds(both, parts, st.sampled_from("+-*/"), parts)


expressions = st.recursive(
    st.integers(0, 999).map(lambda n: (str(n), Fraction(n))), combined, max_leaves=12
)


@given(expressions)
def test_same_value_as_fractions_have(expression: tuple[str, Fraction]) -> None:
    words, value = expression
    assert value_of(words, EQUATION) == value
    assert value_of(words.replace("(", "[").replace(")", "]"), EQUATION) == value


@given(st.text("0123456789.+-*/^()=%, xe\\{}", max_size=60))
def test_anything_has_a_value_or_a_reason(words: str) -> None:
    with suppress(NotRead):
        assert abs(value_of(words, EQUATION)) < 2**1024
