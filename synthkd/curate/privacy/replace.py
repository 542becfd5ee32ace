"""What stands where personal data was: a numbered placeholder, or a pseudonym under a secret key.

**Placeholders**, `<EMAIL_1>`: the same value has the same number within a row; numbers that the row
has already are not given again.

**Pseudonyms** are a function of (key, kind, value), the same in every row and every run, and two
values never share one: digits and letters go through a keyed permutation of all texts of their
length (a Feistel network as in NIST SP 800-38G's FF1, with HMAC-SHA-256 as the round function),
other kinds become 80 bits of an HMAC. They keep the form (separators, length, the country of an
IBAN) and are never valid: check digits are wrong on purpose, addresses end in `.invalid` (RFC
2606), octets of an IP lie above 255, phone numbers begin with +0. So nobody's real data comes out,
and what is masked is known again and left alone. Without the key nobody can say whose they are;
with it, values can be tried one by one: keep it as you would keep the data.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from synthkd.curate.privacy import checks
from synthkd.curate.privacy.find import Span

ROUNDS = 10
"""Of the Feistel network, as FF1 has them."""
PLACEHOLDER = re.compile(r"<([A-Z][A-Z_]{1,30})_(\d{1,9})>")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"


class Replace(Protocol):
    """What stands where a span was."""

    def __call__(self, span: Span, written: str) -> str:
        """The replacement of a span that is written so (in plain signs)."""
        ...


class Placeholders:
    """`<EMAIL_1>`, `<EMAIL_2>`: one for each value of each kind in one row.

    Args:
        taken: kind in capitals -> the highest number that the row has already.
    """

    def __init__(self, taken: Mapping[str, int]) -> None:
        self._last = dict(taken)
        self._given: dict[tuple[str, str], str] = {}

    def __call__(self, span: Span, written: str) -> str:
        """See `Replace`."""
        known = self._given.get((span.kind, span.value))
        if known is None:
            name = span.kind.upper()
            self._last[name] = self._last.get(name, 0) + 1
            known = self._given[span.kind, span.value] = f"<{name}_{self._last[name]}>"
        return known


def taken_in(text: str, taken: dict[str, int]) -> None:
    """Add the placeholders that a text has to the highest numbers by kind."""
    if "<" in text:
        for found in PLACEHOLDER.finditer(text):
            taken[found[1]] = max(taken.get(found[1], 0), int(found[2]))


class Pseudonyms:
    """Consistent stand-ins under a secret key.

    Args:
        key: at least 16 bytes; it is never written anywhere.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, span: Span, written: str) -> str:
        """See `Replace`."""
        make = _MAKERS.get(span.kind)
        # A span that covers several values has no form of one kind to keep.
        if make is None or "|" in span.value:
            return f"masked_{self.token(span.kind, span.value, 16)}"
        return make(self, span.kind, span.value, written)

    def token(self, kind: str, value: str, signs: int) -> str:
        """So many small letters and digits, 5 bits each."""
        return base64.b32encode(self.number(kind, value).to_bytes(32)).decode().lower()[:signs]

    def number(self, kind: str, value: str) -> int:
        """256 bits."""
        said = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.digest(self._key, said, "sha256"))

    def permuted(self, kind: str, text: str) -> str:
        """The digits and the capitals, each put through its permutation; other signs stay."""
        digits = [sign for sign in text if sign in _DIGITS]
        letters = [sign for sign in text if sign in _LETTERS]
        tweak = f"{kind} {len(text)}"
        new_digits = iter(self.feistel("".join(digits), _DIGITS, tweak))
        new_letters = iter(self.feistel("".join(letters), _LETTERS, tweak))
        return "".join(
            next(new_digits) if c in _DIGITS else next(new_letters) if c in _LETTERS else c
            for c in text
        )

    def feistel(self, text: str, alphabet: str, tweak: str) -> str:
        """A permutation of all texts of this length over the alphabet."""
        radix, left = len(alphabet), len(text) // 2
        sizes = (radix**left, radix ** (len(text) - left))
        a, b = _number(text[:left], alphabet), _number(text[left:], alphabet)
        for turn in range(ROUNDS):
            mac = hmac.digest(self._key, f"{tweak} {radix} {turn} {b}".encode(), "sha256")
            a, b = b, (a + int.from_bytes(mac)) % sizes[turn % 2]
        return _text(a, left, alphabet) + _text(b, len(text) - left, alphabet)


def _number(text: str, alphabet: str) -> int:
    number = 0
    for sign in text:
        number = number * len(alphabet) + alphabet.index(sign)
    return number


def _text(number: int, length: int, alphabet: str) -> str:
    signs = []
    for _ in range(length):
        number, place = divmod(number, len(alphabet))
        signs.append(alphabet[place])
    return "".join(reversed(signs))


def laid(said: str, written: str) -> str:
    """The signs of `said` where `written` has letters and digits; separators as written."""
    signs = iter(said)
    return "".join(next(signs, "") if sign.isalnum() else sign for sign in written)


def _email(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    domain = value.rpartition("@")[2]
    return f"{names.token(kind, value, 16)}@{names.token('domain', domain, 8)}.invalid"


def _url(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    scheme = "http" if value[:5].lower() == "http:" else "https"
    return f"{scheme}://{names.token('host', value, 8)}.invalid/{names.token(kind, value, 16)}"


def _ip(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    address = ipaddress.ip_address(value)
    if isinstance(address, ipaddress.IPv6Address):
        below = names.number(kind, str(address)) >> 176  # the upper 80 bits of 256
        return str(ipaddress.IPv6Address(0x20010DB8 << 96 | below))
    mixed = int(names.feistel(f"{int(address):08x}", "0123456789abcdef", kind), 16)
    return ".".join(str(256 + (mixed >> shift & 255)) for shift in (24, 16, 8, 0))


def _phone(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    digits = value.removeprefix("+")
    return "+0-" + laid(names.permuted(kind, digits), written.removeprefix("+"))


def _marked(mark: str) -> Callable[[Pseudonyms, str, str, str], str]:
    """For numbers without a check digit: a beginning that is never given out."""

    def make(names: Pseudonyms, kind: str, value: str, written: str) -> str:
        return mark + laid(names.permuted(kind, value), written)

    return make


def _iban(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    country = value[:2]
    return laid(country + "00" + names.permuted(f"{kind} {country}", value[4:]), written.upper())


def _nir(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    return laid(names.permuted(kind, value[:13]) + "00", written)  # the key is from 01 to 97


def _dni(names: Pseudonyms, kind: str, value: str, written: str) -> str:
    digits = value[:-1].lstrip("XYZ")
    head = value[: -1 - len(digits)]
    return laid(head + names.permuted(f"{kind} {head}", digits) + "I", written)  # I is no letter


def _spoiled(ends: int, alphabet: str) -> Callable[[Pseudonyms, str, str, str], str]:
    """For numbers that end in check digits: the first ones that no check accepts."""

    def make(names: Pseudonyms, kind: str, value: str, written: str) -> str:
        body = names.permuted(kind, value[:-ends])
        for nth in range(len(alphabet) ** ends):
            said = body + _text(nth, ends, alphabet)
            if not any(_accepts(check, said) for check in _ENDING_CHECKS):
                return laid(said, written)
        raise AssertionError("no end is wrong")  # pragma: no cover  each check takes one of ten

    return make


def _accepts(check: Callable[[str], bool], said: str) -> bool:
    try:
        return check(said)
    except (ValueError, KeyError, IndexError):  # it is not even of the form
        return False


_ENDING_CHECKS = (
    checks.card,
    checks.de_tax_id,
    checks.pl_pesel,
    checks.br_cpf,
    checks.nl_bsn,
    checks.it_cf,
)

_MAKERS: Mapping[str, Callable[[Pseudonyms, str, str, str], str]] = {
    "email": _email,
    "url": _url,
    "ip": _ip,
    "phone": _phone,
    "iban": _iban,
    "us_ssn": _marked("000-"),
    "uk_nino": _marked("ZZ-"),
    "fr_nir": _nir,
    "es_dni": _dni,
    "it_cf": _spoiled(1, _LETTERS),
    "card": _spoiled(1, _DIGITS),
    "de_tax_id": _spoiled(1, _DIGITS),
    "pl_pesel": _spoiled(1, _DIGITS),
    "br_cpf": _spoiled(2, _DIGITS),
    "nl_bsn": _spoiled(1, _DIGITS),
}
"""Kind -> its pseudonyms; the others become `masked_` and 80 bits."""
