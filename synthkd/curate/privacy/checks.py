"""Check digits and rules that tell an identifier from any other number; pure functions.

Each takes the identifier without separators, in upper case, and says whether it can be one. Sources
are the issuers' published rules: ISO/IEC 7812 (cards), ISO 13616 (IBAN), and for national numbers
the authority named at each function.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24,
    "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24,
    "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""Characters of an IBAN by country (SWIFT's registry)."""

_MAESTRO = frozenset({5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763})
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_CF_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3,
         6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: every second digit from the right is doubled, the digits sum to 0 mod 10."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)
    return total % 10 == 0


def card(digits: str) -> bool:
    """A payment card: the issuer's range with its length, and Luhn."""
    head = int(digits[:6].ljust(6, "0"))
    length = len(digits)
    known = (
        (digits[0] == "4" and length in {16, 19})
        or ((51 <= head // 10_000 <= 55 or 2221 <= head // 100 <= 2720) and length == 16)
        or (head // 10_000 in {34, 37} and length == 15)
        or ((head // 10_000 in {36, 38, 39} or 300 <= head // 1000 <= 305) and length == 14)
        or (
            (head // 100 == 6011 or head // 10_000 == 65 or 644 <= head // 1000 <= 649)
            and length in {16, 19}
        )
        or (3528 <= head // 100 <= 3589 and length in {16, 19})
        or (head // 10_000 == 62 and 16 <= length <= 19)
        or (head // 100 in _MAESTRO and 16 <= length <= 19)
    )
    return known and luhn(digits)


def iban(text: str) -> bool:
    """ISO 13616: the country's length, check digits from 02 to 98, and 1 modulo 97."""
    if len(text) != IBAN_LENGTHS.get(text[:2]) or not text[2:4].isdecimal():
        return False
    if not 2 <= int(text[2:4]) <= 98 or not text.isalnum():
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def us_ssn(digits: str) -> bool:
    """Social Security Administration: no 000, 666 or 9xx area, no group 00, no serial 0000."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def uk_nino(text: str) -> bool:
    """HMRC: prefixes that are never given out; the form is the pattern's matter."""
    return text[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def de_tax_id(digits: str) -> bool:
    """Bundeszentralamt fuer Steuern: one digit of ten comes two or three times; ISO 7064 11,10."""
    if len(digits) != 11 or digits[0] == "0":
        return False
    times = sorted(Counter(digits[:10]).values(), reverse=True)
    if times[0] not in {2, 3} or times[1] != 1:
        return False
    product = 10
    for digit in map(int, digits[:10]):
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def fr_nir(text: str) -> bool:
    """INSEE: sex, month and department in range, and 97 - n mod 97; Corsica is 2A and 2B."""
    number = text[:13]
    if number[5:7] in {"2A", "2B"}:
        number = number.replace("2A", "19").replace("2B", "18")
    if not number.isdecimal() or not text[13:].isdecimal():
        return False
    month = int(number[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and (
        97 - int(number) % 97 == int(text[13:])
    )


def es_dni(text: str) -> bool:
    """Ministerio del Interior: DNI and NIE, the letter of the number modulo 23."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return number.isdecimal() and _DNI_LETTERS[int(number) % 23] == text[-1]


def it_cf(text: str) -> bool:
    """Agenzia delle Entrate: the sixteenth letter is the sum of the table's values mod 26."""
    even = sum(int(c, 36) - 10 if c.isalpha() else int(c) for c in text[1:15:2])
    odd = sum(_CF_ODD[c] for c in text[0:15:2])
    return chr(ord("A") + (even + odd) % 26) == text[15]


def pl_pesel(digits: str) -> bool:
    """Ministerstwo Cyfryzacji: a month with its century, a day, and the weighted sum."""
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    if not (1 <= month <= 12 and 1 <= day <= 31) or len(digits) != 11:
        return False
    weighted = sum(w * int(d) for w, d in zip(cycle((1, 3, 7, 9)), digits[:10], strict=False))
    return (10 - weighted % 10) % 10 == int(digits[10])


def br_cpf(digits: str) -> bool:
    """Receita Federal: two check digits modulo 11; eleven equal digits are none."""
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    for length in (9, 10):
        weighted = sum(int(d) * (length + 1 - n) for n, d in enumerate(digits[:length]))
        if weighted * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def nl_bsn(digits: str) -> bool:
    """Rijksdienst voor Identiteitsgegevens: the sum with weights 9 to 2 and -1 is 0 mod 11."""
    weighted = sum(w * int(d) for w, d in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True))
    return weighted % 11 == 0 and int(digits) > 0
