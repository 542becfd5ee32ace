from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.answers import AnswerSettings, canonical, grouped, read, same
from synthkd.answers.numbers import written

NUMBER = AnswerSettings(type="number")


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("$1,200.00 a day", "1200"),
        ("about 1,20,000 rupees", "120000"),
        ("1\u202f200 m", "1200"),
        ("1'200", "1200"),
        ("7.", "7"),
        ("...5", "5"),
        (".50", "0.5"),
        ("007", "7"),
        ("-3/4", "-0.75"),
        ("1/3", "1/3"),
        ("1 1/2 cups", "1.5"),
        ("-1 1/2", "-1.5"),
        ("5½ km", "5.5"),
        ("5 / 8 of a mile", "0.625"),
        ("50%", "50"),
        ("- 5", "-5"),
        ("minus 5", "-5"),
        ("\u22125", "-5"),
        ("-$5", "-5"),
        ("-0", "0"),
        ("3e5", "300000"),
        ("3.5 x 10^5", "350000"),
        ("3 × 10⁻²", "0.03"),
        ("0e999", "0"),
        ("5 million dollars", "5000000"),
        ("5 m²", "5"),
        ("12°C", "12"),
        ("12-year-old", "12"),
        ("12 (twelve, that is 12.0)", "12"),
        ("5 * 3 = 15 apples", "15"),
        ("x ≈ 0.33", "0.33"),
        ("COVID-19 infected 7", "7"),
        ("No.5", "5"),
        ("3 hundred", "300"),
        ("12 = 12 = 12", "12"),
        (r"\frac{-3}{4}", "-0.75"),
        ("**42**", "42"),
        ("#### 72", "72"),
        ("٣٤٫٥", "34.5"),
        ("१२,३४५", "12345"),
        ("１２", "12"),
        ("\u200f١٢\u200e", "12"),
        (r"\$1{,}200", "1200"),
        (r"1\frac12", "1.5"),
        (r"-\dfrac{3}{4}", "-0.75"),
        (r"3 \times 10^{5} \text{ m}^2", "300000"),
        (r"\(12\)", "12"),
        (r"12^\circ", "12"),
        (r"25\%", "25"),
    ],
)
def test_what_number_is_said(words: str, number: str) -> None:
    reading = read(f"Because. The answer is {words}", NUMBER)
    assert (reading.status, reading.answer, reading.said) == ("ok", number, words.strip())


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ("1e400", "bad_label", "too large"),
        ("9" * 400, "bad_label", "too large"),
        ("1e999999999999", "bad_label", "too large"),
        ("1e-99999", "bad_label", "too small"),
        ("1/0", "bad_label", "division by zero"),
        ("nan", "bad_label", "no number"),
        ("infinity", "bad_label", "no number"),
        ("twelve", "bad_label", "no number"),
        ("H2O, x1, v1.2, 5x3 and 0xff", "bad_label", "no number"),
        ("$3.5M", "bad_label", "unit or a multiple"),
        ("5k", "bad_label", "unit or a multiple"),
        ("-(-5)", "bad_label", "an expression"),
        ("0." + "0" * 400 + "1", "bad_label", "too small"),
        (r"5\sqrt{3}", "bad_label", "an expression"),
        (r"\frac{x}{2}", "bad_label", "an expression"),
        ("5π", "bad_label", "an expression"),
        ("±5", "bad_label", "an expression"),
        ("10²", "bad_label", "an expression"),
        ("1" * 2_000, "bad_label", "2000 characters"),
        ("3 or 4", "several_answers", "several numbers"),
        ("x = 5, y = 6", "several_answers", "several equations"),
        ("a = 5 and b = 6", "several_answers", "several equations"),
        ("12-13", "several_answers", "several numbers"),
        ("12,5", "several_answers", "several numbers"),
        ("0,200", "several_answers", "several numbers"),
        ("1,2345", "several_answers", "several numbers"),
        ("3.5.2", "several_answers", "several numbers"),
        ("1/2/3", "several_answers", "several numbers"),
        ("10:30", "several_answers", "several numbers"),
        ("5 + 5", "bad_label", "an expression"),
        ("10**10**10", "bad_label", "an expression"),
        (r"2 \times 2", "bad_label", "an expression"),
        ("1/2 + 1/2", "bad_label", "an expression"),
        ("2 times 2", "bad_label", "an expression"),
    ],
)
def test_what_is_no_number_is_said_with_the_reason(words: str, status: str, why: str) -> None:
    reading = read(f"The answer is {words}", NUMBER)
    assert (reading.status, reading.answer) == (status, None)
    assert why in reading.detail


def test_percent_and_decimals_are_settings() -> None:
    shares = AnswerSettings(type="number", percent="hundredths")
    assert same("50%", "0.5", shares)
    assert not same("50%", "0.5", NUMBER)
    german = AnswerSettings(type="number", decimal=",")
    assert canonical("1.200,5 Euro", german) == canonical(1200.5, german) == "1200,5"
    assert canonical("1200,5", german) == "1200,5"
    assert grouped(["1.234", 1234, "1,234", 1.234], german) == [0, 0, 1, 1]
    assert same("1,5e300", 1.5e300, german)
    assert canonical("1 200,5 €", german) is None  # a plain space may separate two numbers


def test_the_tolerance_is_a_share_of_the_larger_number() -> None:
    near = AnswerSettings(type="number", tolerance=0.01)
    assert same("1/3", "0.333", near)
    assert same("1000", "1009", near)
    assert not same("1000", "1011", near)
    assert not same("1/3", "0.333", NUMBER)
    assert grouped(["0.333", "1", None, "1/3", "x", "0.331"], near) == [0, 1, None, 0, None, 0]
    exact = AnswerSettings(type="number", tolerance=0)
    assert not same("9" * 40, "9" * 39 + "8", exact)


@pytest.mark.parametrize("value", [None, True, [1], {"n": 1}, "", "soon"])
def test_gold_that_is_no_number_is_none(value: object) -> None:
    assert canonical(value, NUMBER) is None  # type: ignore[arg-type]
    assert not same(value, value, NUMBER)  # type: ignore[arg-type]


fractions = st.fractions(-(10**15), 10**15, max_denominator=10**6)


@given(fractions, st.integers(-300, 290))
def test_one_spelling_gives_the_number_back(value: Fraction, power: int) -> None:
    value *= Fraction(10) ** power
    assert Fraction(written(value)) == value
    assert canonical(written(value), AnswerSettings(type="number", tolerance=0)) == written(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_as_it_is_written(value: float) -> None:
    spelling = canonical(value, NUMBER)
    assert spelling is not None or abs(value) < 1e-300
    assert spelling is None or float(Fraction(spelling)) == value


@given(fractions, st.sampled_from(["{:,} apples", "${}", "**{}**", r"\({}\)", "{} = {}", "({})."]))
def test_what_stands_around_a_number_changes_nothing(value: Fraction, around: str) -> None:
    number = value.numerator
    assert canonical(around.format(number, number), NUMBER) == str(number)
