"""One spelling for each value of a field, or why there is none.

>>> normal("5. März 2024", RecordField(type="date"))
'2024-03-05'
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from synthkd.records.dates import date_in
from synthkd.records.faults import NotNormal
from synthkd.records.money import money_in
from synthkd.records.numerals import LONGEST, as_json
from synthkd.records.schema import RecordField
from synthkd.records.units import quantity_in
from synthkd.rows import Json, clean
from synthkd.text import equivalent

NOTHING = frozenset(
    {
        *("", "-", "--", "---", "\u2013", "\u2014", "n/a", "null", "none", "nil", "unknown"),
        *("not stated", "not specified", "not given", "not mentioned", "not available"),
        *("not provided", "not found", "not applicable", "keine angabe", "k.a.", "unbekannt"),
    }
)
"""What is written, in lower case, where nothing is known: it is taken for null."""
_TRUE = frozenset(
    {"true", "yes", "y", "1", "x", "ja", "oui", "si", "s\u00ed", "\u662f", "\u306f\u3044"}
)
_FALSE = frozenset({"false", "no", "n", "0", "nein", "non", "\u5426", "\u3044\u3044\u3048"})
_TICKS = {"\u2611": True, "\u2612": True, "\u2713": True, "\u2714": True, "\u2610": False}
_UNITS = ("currency", "unit")
"""What stands beside the number in an object that is one value."""


def normal(value: Json, field: RecordField) -> Json:
    """The value in the one spelling of its type; null stays null.

    Args:
        value: as somebody wrote it: a text, a number, a truth value, or an object of an amount and
            its currency or unit.
        field: of one value; whether it may have many is for the caller.

    Raises:
        NotNormal: it has none.
    """
    if isinstance(value, Mapping):
        value = _as_words(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NotNormal("not_a_number", f"{value} is no number")
    if value is None or (isinstance(value, str) and _says_nothing(value, field)):
        return None
    if not isinstance(value, str | int | float):
        raise NotNormal("not_a_value", f"a list or an object is no {field.type}: {value!r:.200}")
    if isinstance(value, bool) and field.type not in ("boolean", "enum", "text"):
        raise NotNormal("not_a_value", f"{value} is no {field.type}")
    return _OF_TYPE[field.type](value, field)


def _says_nothing(words: str, field: RecordField) -> bool:
    plain = " ".join(words.split()).casefold()
    return plain in NOTHING and equivalent(words) not in field.spellings


def _as_words(value: Mapping[str, Json]) -> Json:
    """`{"amount": 5, "currency": "EUR"}` as "5 EUR"."""
    named = {key.casefold(): part for key, part in value.items()}
    units = [part for key in _UNITS if isinstance(part := named.pop(key, None), str)]
    parts = list(named.values())
    if len(parts) != 1 or not isinstance(parts[0], str | int | float):
        return value
    return " ".join([_written(parts[0]), *units])


def _written(value: str | int | float) -> str:
    """A number without thousands, and with decimals that nobody takes for them: 1.234 as 1.2340."""
    if isinstance(value, str | bool):
        return str(value)
    whole, point, part = format(Decimal(repr(value)), "f").partition(".")
    return f"{whole}.{part.ljust(4, '0')}" if point else whole


def _text(value: str | int | float, field: RecordField) -> Json:
    whole = str(clean(str(value)))  # JSON may escape half a character, which no file can hold
    text = unicodedata.normalize("NFC", " ".join(whole.split()))
    if len(text) > field.longest:
        raise NotNormal("too_long", f"{len(text)} characters: {text[:80]!r}...")
    return text


def _short(value: str | int | float) -> str:
    if isinstance(value, int) and abs(value) >= 10**LONGEST:  # Python writes no such number out
        raise NotNormal("too_long", f"a number of more than {LONGEST} digits")
    words = _written(value) if isinstance(value, int | float) else value
    if len(words) > LONGEST:
        raise NotNormal("too_long", f"{len(words)} characters: {words[:80]!r}...")
    return words


def _enum(value: str | int | float, field: RecordField) -> Json:
    choice = field.spellings.get(equivalent(_short(str(value))))
    if choice is None:
        raise NotNormal("not_a_choice", f"{value!r:.80} is none of {', '.join(field.choices)}")
    return choice


def _date(value: str | int | float, field: RecordField) -> Json:
    return date_in(_short(str(value)), field.order)


def _money(value: str | int | float, field: RecordField) -> Json:
    return money_in(_short(value), field.currency)


def _number(value: str | int | float, field: RecordField) -> Json:
    if isinstance(value, int | float) and field.unit is None:
        return as_json(Fraction(repr(value)), repr(value))
    return quantity_in(_short(value), field.unit, field.decimal)


def _boolean(value: str | int | float, field: RecordField) -> Json:
    if isinstance(value, bool):
        return value
    words = str(value).strip()
    if words in _TICKS:
        return _TICKS[words]
    plain = equivalent(words)
    if plain in _TRUE or plain in _FALSE:
        return plain in _TRUE
    raise NotNormal("not_a_boolean", f"{words!r:.80} is neither yes nor no")


_OF_TYPE = {
    "text": _text,
    "enum": _enum,
    "date": _date,
    "money": _money,
    "number": _number,
    "boolean": _boolean,
}
