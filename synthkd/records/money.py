"""Amounts with their currency: EUR 1,234.56, 1.234,56 €, $5k, (12.50) CHF.

    >>> money_in("1.234,56 €", None)
    {'amount': 1234.56, 'currency': 'EUR'}

Currencies are those of ISO 4217. A sign of several is what the schema's `currency` says: "$" is
else the dollar of the United States, and the sign of the yen is the yen; "kr" and "Rs" alone are
none. Cents are no amount of a currency: "50 cents" is lost.
"""

from __future__ import annotations

import re

from synthkd.records.faults import NotNormal
from synthkd.records.numerals import LONGEST, as_json, even, numerals_in, the_number
from synthkd.rows import Json

_LISTED = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN
BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW
KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD
NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD
SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED
VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL
"""
CODES = frozenset(_LISTED.split())
"""Of ISO 4217, those in use."""
_SIGNS = {
    **{"\u20ac": "EUR", "euro": "EUR", "euros": "EUR", "\u00a3": "GBP", "\u20b9": "INR"},
    **{"us$": "USD", "dollar": "USD", "dollars": "USD", "ca$": "CAD", "c$": "CAD"},
    **{"a$": "AUD", "au$": "AUD", "nz$": "NZD", "hk$": "HKD", "s$": "SGD", "r$": "BRL"},
    **{"yen": "JPY", "\u5186": "JPY", "\u5143": "CNY", "rmb": "CNY", "yuan": "CNY"},
    **{"\u20bd": "RUB", "\u20a9": "KRW", "\uc6d0": "KRW", "\u20ba": "TRY", "\u0e3f": "THB"},
    **{"\u20ab": "VND", "\u20aa": "ILS", "\u20b4": "UAH", "z\u0142": "PLN", "k\u010d": "CZK"},
    **{"sfr": "CHF", "fr.": "CHF", "ft": "HUF", "pounds": "GBP", "\u20b1": "PHP"},
}
_SHARED = {
    "$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN", "TWD", "CLP", "COP", "ARS"),
    "\u00a5": ("JPY", "CNY"),
    "kr": ("", "SEK", "NOK", "DKK", "ISK"),
    "rs": ("", "INR", "PKR", "LKR", "NPR", "MUR"),
}
"""Signs of several currencies; the first is meant where the schema names none of them."""
_LISTED_COMMON = "eur usd gbp chf jpy sek nok dkk pln inr cny cad aud"
_COMMON = _LISTED_COMMON.split()
_WORDY = sorted((sign for sign in [*_SIGNS, *_SHARED] if sign[-1].isalpha()), key=len, reverse=True)
_SIGNED = sorted((sign for sign in [*_SIGNS, *_SHARED] if sign not in _WORDY), key=len)[::-1]
_CURRENCY = re.compile(
    rf"(?<![A-Za-z])(?:{'|'.join(sorted(CODES))})(?![A-Za-z])"
    rf"|(?<![A-Za-z])(?i:{'|'.join(map(re.escape, [*_WORDY, *_COMMON]))})(?![A-Za-z])(?:\.(?=\d))?"
    rf"|(?i:{'|'.join(map(re.escape, _SIGNED))})"
)
"""Codes in capitals alone, but for the common ones: "all" and "try" are words."""


def money_in(words: str, currency: str | None) -> Json:
    """The amount and its currency: `{"amount": 1234.56, "currency": "EUR"}`.

    Args:
        words: at most 2,000 characters.
        currency: the code that is meant where the words name none, or by a sign of several.

    Raises:
        NotNormal: `not_money`, `no_currency`, `several_values`, `too_precise`.
    """
    text = even(words[:LONGEST])
    found = {_code(match[0], currency) for match in _CURRENCY.finditer(text)}
    if found == {""}:
        raise NotNormal("no_currency", f"{words!r:.200} has the sign of several: set `currency`")
    found -= {""}
    if len(found) > 1:
        raise NotNormal("several_values", f"several currencies in {words!r:.200}")
    numerals = numerals_in(_without_currency(text), None, money=True)
    if not numerals:
        raise NotNormal("not_money", f"no amount in {words!r:.200}")
    amount = the_number(numerals, words)
    if all(numeral.in_brackets for numeral in numerals):
        amount = -amount
    code = next(iter(found), currency)
    if code is None:
        raise NotNormal("no_currency", f"{words!r:.200} names none: set `currency`")
    return {"amount": as_json(amount, words), "currency": code}


def amounts_in(words: str) -> set[Json]:
    """Every amount in the words, whatever its currency."""
    text = _without_currency(even(words[:LONGEST]))
    found: set[Json] = set()
    for numeral in numerals_in(text, None, money=True):
        try:
            amount = as_json(numeral.values[0], words)
        except NotNormal:
            continue
        found.add(amount)
        if numeral.in_brackets and isinstance(amount, int | float):
            found.add(-amount)
    return found


def currencies_in(words: str) -> set[str]:
    """Every currency that the words may name: by a sign of several all of these."""
    found: set[str] = set()
    for match in _CURRENCY.finditer(even(words[:LONGEST])):
        found.update(_SHARED.get(_sign(match[0])) or [_code(match[0], None)])
    return found - {""}


def _sign(said: str) -> str:
    """In lower case, and "Rs.5" without the point."""
    sign = said.lower()
    return sign if sign in _SIGNS else sign.removesuffix(".")


def _without_currency(text: str) -> str:
    """A sign goes without trace ("-€5"), a code leaves a blank ("EUR5")."""
    return _CURRENCY.sub(lambda match: " " if match[0][-1].isalpha() else "", text)


def _code(said: str, meant: str | None) -> str:
    if (shared := _SHARED.get(_sign(said))) is not None:
        return meant if meant in shared else shared[0]
    return _SIGNS.get(_sign(said), said.upper())
