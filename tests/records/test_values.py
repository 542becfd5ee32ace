"""One spelling for each value, or the reason why there is none: tables of what people write."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.records.faults import NotNormal
from synthkd.records.schema import RecordField
from synthkd.records.support import says
from synthkd.records.values import normal
from synthkd.rows import Json


def outcome(value: Json, **settings: Any) -> Json:
    """The value, or the reason as `!reason`."""
    try:
        return normal(value, RecordField.model_validate(settings))
    except NotNormal as error:
        return f"!{error.reason}"


MARCH = "2024-03-05"
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


@pytest.mark.parametrize(
    ("words", "order", "told"),
    [
        *((words, None, MARCH) for words in ("2024-03-05", "2024/3/5", "2024.03.05", "20240305")),
        *((words, None, MARCH) for words in ("5 March 2024", "5th of March, 2024", "05-Mar-24")),
        *((words, None, MARCH) for words in ("March 5, 2024", "Mar 5 2024", "MARCH 5th, 2024")),
        *((words, None, MARCH) for words in ("5. März 2024", "5. Maerz 2024", "5 mars 2024")),
        *(
            (words, None, MARCH)
            for words in ("5 de marzo de 2024", "2024年3月5日", "2024년 3월 5일")
        ),
        ("５/１３/2024", None, "2024-05-13"),
        ("2024-03-05T10:30:00Z", None, MARCH),
        ("Tuesday, 5 March 2024 at 10:30", None, MARCH),
        (20240306, None, "2024-03-06"),
        ("1er janvier 2024", None, "2024-01-01"),
        ("31.12.99", None, "1999-12-31"),
        ("31.12.68", None, "2068-12-31"),
        ("12 Dec '23", None, "2023-12-12"),
        ("born on the 15th of March in 1932", None, "1932-03-15"),
        ("March 15th in 1932", None, "1932-03-15"),
        ("February the 27th, 1987", None, "1987-02-27"),
        ("September 1st. 1969", None, "1969-09-01"),
        ("1930 01 20", None, "1930-01-20"),
        ("2024\u201103\u201105", None, MARCH),  # hyphens that do not break
        ("as of 5 March 2024: paid", None, MARCH),
        ("0024-03-05", None, "0024-03-05"),
        ("05/03/2024", "dmy", MARCH),
        ("03/05/2024", "mdy", MARCH),
        ("03-05-24", "mdy", MARCH),
        ("13/05/2024", "mdy", "2024-05-13"),  # nothing else it could be
        ("24-03-05", None, "!ambiguous_date"),  # 5 March 2024, or 24 March 2005
        ("24-03-05", "dmy", "2005-03-24"),
        ("05/03/24", None, "!ambiguous_date"),
        ("13/05/99", None, "1999-05-13"),
        ("05/05/2024", None, "2024-05-05"),
        ("05.03.2024", None, MARCH),
        ("03.05.2024", "mdy", MARCH),
        ("29 February 2024", None, "2024-02-29"),
        ("29 February 2023", None, "!not_a_date"),
        ("05/03/2024", None, "!ambiguous_date"),
        ("31/02/2024", None, "!not_a_date"),
        ("March 2024", None, "!not_a_date"),
        ("next Tuesday", None, "!not_a_date"),
        ("1 May 2024 to 5 May 2024", None, "!several_values"),
        ("1 May 2024 (01.05.2024)", None, "2024-05-01"),
        ("x" * 3_000, None, "!too_long"),
        (True, None, "!not_a_value"),
        (["2024-03-05"], None, "!not_a_value"),
    ],
)
def test_dates(words: Json, order: str | None, told: str) -> None:
    assert outcome(words, type="date", **({"order": order} if order else {})) == told


@pytest.mark.parametrize(
    ("words", "currency", "amount", "code"),
    [
        ("1,234.56 EUR", None, 1234.56, "EUR"),
        ("EUR1,234.56", None, 1234.56, "EUR"),
        ("1.234,56 €", None, 1234.56, "EUR"),
        ("€ 1 234,56", None, 1234.56, "EUR"),
        ("1'234.50 Fr.", None, 1234.5, "CHF"),
        ("1.234 EUR", None, 1234, "EUR"),
        ("12.345.678 EUR", None, 12345678, "EUR"),
        ("₹1,23,456.78", None, 123456.78, "INR"),
        ("€5k", None, 5000, "EUR"),
        ("3,5 Mio. €", None, 3500000, "EUR"),
        ("$1.5 million", None, 1500000, "USD"),
        ("£2bn", None, 2000000000, "GBP"),
        ("2万円", None, 20000, "JPY"),
        ("￥１２８，０００", None, 128000, "JPY"),
        ("¥500", "CNY", 500, "CNY"),
        ("$12", "CAD", 12, "CAD"),
        ("US$ 12", "CAD", 12, "USD"),
        ("500 kr", "SEK", 500, "SEK"),
        ("-€5", None, -5, "EUR"),
        ("−5,00 €", None, -5, "EUR"),
        ("(1,234.56) CHF", None, -1234.56, "CHF"),
        ("5,- €", None, 5, "EUR"),
        ("in all 20 eur, try it", None, 20, "EUR"),  # ALL and TRY are currencies
        ("CHF 5.\N{EN DASH}", None, 5, "CHF"),
        ("Total: 5 EUR (5.00 EUR)", None, 5, "EUR"),
        ("0.5 usd", None, 0.5, "USD"),
        ("12.50", "EUR", 12.5, "EUR"),
        ("\u20115 €", None, -5, "EUR"),  # a hyphen that does not break
        ("1.234,56- EUR", None, -1234.56, "EUR"),
        ("for all: 50", "EUR", 50, "EUR"),  # no lek of Albania
        ("ALL 50", "EUR", 50, "ALL"),
        ("Rs.500", "INR", 500, "INR"),
        ("kr.500", "SEK", 500, "SEK"),
        (12.5, "EUR", 12.5, "EUR"),
        (1234.567, "EUR", 1234.567, "EUR"),  # a number of JSON has no thousands
        ({"amount": "1,234.56", "currency": "EUR"}, None, 1234.56, "EUR"),
        ({"Currency": "EUR", "value": 7}, None, 7, "EUR"),
    ],
)
def test_money(words: Json, currency: str | None, amount: float, code: str) -> None:
    settings = {"currency": currency} if currency else {}
    assert outcome(words, type="money", **settings) == {"amount": amount, "currency": code}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("12,50", "!no_currency"),
        ("500 kr", "!no_currency"),
        ("EUR", "!not_money"),
        ("50 cents", "!not_money"),
        ("12.50\u00b9 EUR", "!several_values"),  # a footnote
        ("Rs. 500", "!no_currency"),
        ("5 EUR or 6 USD", "!several_values"),
        ("5 EUR, then 6 EUR", "!several_values"),
        ("0.1234567890123456789 EUR", "!too_precise"),
        (float("nan"), "!not_a_number"),
        ("n/a", None),
    ],
)
def test_money_that_is_none(words: Json, told: Json) -> None:
    assert outcome(words, type="money") == told


@pytest.mark.parametrize(
    ("words", "settings", "told"),
    [
        ("18.5 kg", {"unit": "any"}, {"number": 18.5, "unit": "kg"}),
        ("18,5 Kilogramm", {"unit": "any"}, {"number": 18.5, "unit": "kg"}),
        ("12 mm", {"unit": "any"}, {"number": 12, "unit": "mm"}),
        ("5 square metres", {"unit": "any"}, {"number": 5, "unit": "m2"}),
        ("5 m²", {"unit": "any"}, {"number": 5, "unit": "m2"}),
        ("3 mW", {"unit": "any"}, {"number": 3, "unit": "mW"}),
        ("3 MW", {"unit": "any"}, {"number": 3, "unit": "MW"}),
        ("3 mw", {"unit": "any"}, "!no_unit"),  # either of them
        ("120 km/h", {"unit": "any"}, {"number": 120, "unit": "km/h"}),
        ("50 %", {"unit": "any"}, {"number": 50, "unit": "%"}),
        ("-5 °C", {"unit": "any"}, {"number": -5, "unit": "°C"}),
        ({"number": 7, "unit": "kg"}, {"unit": "any"}, {"number": 7, "unit": "kg"}),
        ("12 apples", {"unit": "any"}, "!no_unit"),
        ("5 in all", {"unit": "any"}, "!no_unit"),
        ("5 in", {"unit": "any"}, {"number": 5, "unit": "in"}),
        ("3 a day", {"unit": "any"}, "!no_unit"),
        ("12 t-shirts", {"unit": "any"}, "!no_unit"),
        ("5 A4 sheets", {"unit": "any"}, "!no_unit"),
        ("5k", {"unit": "any"}, "!no_unit"),
        ("5 min.", {"unit": "any"}, {"number": 5, "unit": "min"}),
        ("5-10 kg", {"unit": "any"}, "!several_values"),
        ("500 g", {"unit": "kg"}, 0.5),
        ("10 lbs", {"unit": "kg"}, 4.5359237),
        ("5 inches", {"unit": "cm"}, 12.7),
        ("15 min", {"unit": "h"}, 0.25),
        ("3 \u00b5g", {"unit": "mg"}, 0.003),
        ("3 mw", {"unit": "W"}, "!other_unit"),  # a thousandth or a million
        ("5 furlongs", {"unit": "m"}, "!other_unit"),
        ("5 g/l", {"unit": "g"}, "!other_unit"),
        ("5 m per s", {"unit": "m"}, "!other_unit"),
        ("36 km per hour", {"unit": "m/s"}, 10),
        ("5 kg per box", {"unit": "kg"}, 5),
        ("5 a day", {"unit": "any"}, "!no_unit"),
        ("\u20115 °C", {"unit": "°C"}, -5),
        ("10\u00b2", {}, "!several_values"),
        ("1_000", {}, "!not_a_number"),
        ("0x1F", {}, "!not_a_number"),
        ("7 min", {"unit": "h"}, "!other_unit"),  # not exactly
        ("5 °F", {"unit": "°C"}, "!other_unit"),
        ("5 m", {"unit": "kg"}, "!other_unit"),
        ("12", {"unit": "kg"}, 12),
        ("3 x 4 kg", {"unit": "kg"}, "!several_values"),
        ("1.234 kg", {"unit": "kg"}, "!ambiguous_number"),
        ("1.234 kg", {"unit": "kg", "decimal": "."}, 1.234),
        ("1.234 kg", {"unit": "kg", "decimal": ","}, 1234),
        ("0.234 kg", {"unit": "kg"}, 0.234),
        ("1,234,567", {}, 1234567),
        ("1.234,5", {}, 1234.5),
        ("1,5", {}, 1.5),
        ("minus 3", {}, -3),
        ("1/2", {}, 0.5),
        ("1½ l", {"unit": "l"}, 1.5),
        ("1/3", {}, "!too_precise"),
        ("1/0", {}, "!not_a_number"),
        ("1.5e3", {}, 1500),
        ("2 thousand", {}, 2000),
        ("5k", {}, 5),  # five of something: k is a multiple of money alone
        ("A-1024", {}, "!not_a_number"),
        ("none of them", {}, "!not_a_number"),
        ("12,34,5", {}, "!not_a_number"),
        ("５０", {}, 50),
        (1.234, {}, 1.234),
        (10**16, {}, "!too_precise"),
    ],
)
def test_numbers(words: Json, settings: dict[str, Any], told: Json) -> None:
    assert outcome(words, type="number", **settings) == told


def test_the_words_of_a_value_say_it() -> None:
    tables = {"date": test_dates, "money": test_money, "number": test_numbers}
    for kind, table in tables.items():
        for words, told, *_ in table.pytestmark[0].args[1]:
            key = {"date": "order", "money": "currency"}.get(kind)
            settings = told if isinstance(told, dict) else {key: told} if key and told else {}
            field = RecordField.model_validate({"type": kind, **settings})
            value = outcome(words, type=kind, **settings)
            if isinstance(words, str) and not str(value).startswith("!"):
                assert says(value, field, words), words


ENUM = {"type": "enum", "choices": {"open": ["unpaid", "未払"], "paid": [], "none": []}}


@pytest.mark.parametrize(
    ("value", "settings", "told"),
    [
        ("Open.", ENUM, "open"),
        ("UNPAID", ENUM, "open"),
        ("未払", ENUM, "open"),
        ("none", ENUM, "none"),  # here a choice, elsewhere nothing
        ("late", ENUM, "!not_a_choice"),
        (True, {"type": "enum", "choices": ["true", "false"]}, "true"),
        ("Yes", {"type": "boolean"}, True),
        ("nein", {"type": "boolean"}, False),
        ("☑", {"type": "boolean"}, True),
        (0, {"type": "boolean"}, False),
        (False, {"type": "boolean"}, False),
        ("perhaps", {"type": "boolean"}, "!not_a_boolean"),
        ("  Blue\n Kettle\u00a0Works ", {"type": "text"}, "Blue Kettle Works"),
        ("Cafe\u0301", {"type": "text"}, "Café"),
        (42, {"type": "text"}, "42"),
        ("x" * 501, {"type": "text"}, "!too_long"),
        *((nothing, {"type": "text"}, None) for nothing in (None, "", " N/A ", "—", "Unknown")),
        ({"a": 1, "b": 2}, {"type": "text"}, "!not_a_value"),
    ],
)
def test_other_types(value: Json, settings: dict[str, Any], told: Json) -> None:
    assert outcome(value, **settings) == told


@given(st.integers(0, 10**9), st.sampled_from(["EUR", "€"]), st.booleans())
def test_an_amount_is_the_same_in_every_notation(
    cents: int, currency: str, is_before: bool
) -> None:
    english = f"{cents // 100:,}.{cents % 100:02}"
    swapped = english.translate(str.maketrans(",.", ".,"))
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in english)
    ways = [english, swapped, english.replace(",", "'"), swapped.replace(".", "\u202f"), wide]
    told = [
        outcome(f"{currency} {way}" if is_before else f"{way} {currency}", type="money")
        for way in ways
    ]
    assert told == [{"amount": cents / 100, "currency": "EUR"}] * len(ways)


@given(st.dates(min_value=date(1000, 1, 1)))
def test_a_date_is_the_same_in_every_way_of_writing(day: date) -> None:
    month = MONTHS[day.month - 1]
    ways = [
        f"{day:%Y}/{day.month}/{day.day}",
        f"{day:%d.%m.%Y}",
        f"{day.day} {month} {day:%Y}",
        f"{month[:3]} {day.day}, {day:%Y}",
        f"{day:%Y}年{day.month}月{day.day}日",
    ]
    assert {str(outcome(way, type="date")) for way in ways} == {day.isoformat()}
    for order, numbers in (("dmy", f"{day:%d/%m/%Y}"), ("mdy", f"{day:%m/%d/%Y}")):
        assert outcome(numbers, type="date", order=order) == day.isoformat()


FIELDS = st.sampled_from(
    [
        RecordField(type="text"),
        RecordField(type="date", order="dmy"),
        RecordField(type="money", currency="EUR"),
        RecordField(type="number", unit="any"),
        RecordField(type="number", unit="kg", decimal="."),
        RecordField(type="boolean"),
        RecordField.model_validate(ENUM),
    ]
)
WORDS = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.,-/ €kgEUR年月日", max_size=20),
    st.dates().map(str),
    st.floats(allow_nan=True),
    st.integers(),
)


@given(WORDS, FIELDS)
def test_a_spelling_is_its_own_spelling(value: Json, field: RecordField) -> None:
    try:
        once = normal(value, field)
    except NotNormal:
        return
    assert normal(once, field) == once
