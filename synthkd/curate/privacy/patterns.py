"""Our own recognisers: a pattern, a check, and words that must stand before it, for each kind.

Every repetition is bounded or possessive and every match begins where the signs before it allow it
once, so that the time is linear in the text whatever it holds; tests read 5 MB of hostile text.

What tells a kind from other numbers is, in this order: check digits (cards, IBAN, most national
numbers), a form that nothing else has (email, keys with a known beginning), or a word before it
(`CONTEXT`, for phone numbers and national numbers that are bare digits).
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from synthkd.curate.privacy import checks
from synthkd.curate.privacy.find import Recogniser, Span
from synthkd.curate.privacy.keys import Keys, SecretUrls

WORD = r"0-9A-Za-z_\u00c0-\u024f\u0370-\u052f"
"""Signs that make a number part of a word, for a class. Not those of scripts that write no spaces,
or glue their particles to a number: Chinese, Japanese, Korean, Arabic, Hebrew."""
CONTEXT_CHARS = 25
"""How far before a number, on its line, the word may end that says what it is."""
LONGEST = 100
"""Signs that are read behind a number's beginning; none is half as long."""


def _regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern with `WORD` where it says %W."""
    return re.compile(pattern.replace("%W", WORD), flags)


_DIGIT_RUN = re.compile(r"\d(?:[ ().\-/]{0,3}\d){5}")
_ALSO_WITHOUT_RUNS = frozenset({"email", "url", "api_key", "iban", "ip", "it_cf"})
_SEPARATORS = re.compile(r"[ ().\-/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One form of one kind."""

    kind: str
    regex: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    """Of what was found, without separators, in upper case."""
    context: re.Pattern[str] | None = None
    """What must stand before it; see `CONTEXT_CHARS`."""
    unless: re.Pattern[str] | None = None
    """What must not stand directly before."""
    sure: bool = True

    def find(self, text: str) -> Iterator[Span]:
        """See `Recogniser`."""
        if self.context is None:
            yield from self._between(text, 0, len(text), len(text))
            return
        done = 0
        for word in self.context.finditer(text):
            line_end = text.find("\n", word.end(), word.end() + CONTEXT_CHARS)
            last = word.end() + CONTEXT_CHARS if line_end < 0 else line_end
            for span in self._between(text, max(word.end(), done), last, last + LONGEST):
                done = span.end
                yield span

    def _between(self, text: str, first: int, last: int, end: int) -> Iterator[Span]:
        """Those that begin from `first` to `last`; the text is read up to `end`."""
        place = first
        while (found := self.regex.search(text, place, end)) is not None:
            start = found.start()
            if start > last:
                return
            said = _SEPARATORS.sub("", found[0]).upper()
            before = text[max(0, start - CONTEXT_CHARS) : start] if self.unless else ""
            is_part = self.unless is not None and self.unless.search(before) is not None
            if not is_part and (self.check is None or self.check(said)):
                yield Span(*found.span(), self.kind, self.sure, said)
                place = found.end()
            else:
                place = start + 1  # what is meant may begin inside of it


class Emails:
    """Email addresses: RFC 5321's usual form, ASCII and Latin letters, a domain with letters last.

    Found from the @ outwards, so that it takes the same time whatever stands before it.
    """

    _LOCAL = frozenset(string.ascii_letters + string.digits + "_.+%'-")
    _LABEL = r"[a-zA-Z0-9\u00c0-\u024f](?:[a-zA-Z0-9\u00c0-\u024f-]{0,62}+)"
    _DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{0,10}}+")
    _FILES = frozenset(
        ("png", "jpg", "jpeg", "gif", "svg", "webp", "pdf", "js", "css", "ts", "py", "html", "json")
    )
    """Ends of file names: `icon@2x.png` is no address."""

    def find(self, text: str) -> Iterator[Span]:
        """See `Recogniser`."""
        at = text.find("@")
        while at >= 0:
            start, end = self._local_from(text, at), self._domain_to(text, at + 1)
            if start < at and end is not None:
                yield Span(start, end, "email", True, text[start:end].casefold())
            at = text.find("@", at + 1)

    def _local_from(self, text: str, at: int) -> int:
        start = at
        while start > max(0, at - 64) and (
            text[start - 1] in self._LOCAL or "\u00c0" <= text[start - 1] <= "\u024f"
        ):
            start -= 1
        while start < at and text[start] in ".-'%+":
            start += 1
        return start

    def _domain_to(self, text: str, start: int) -> int | None:
        found = self._DOMAIN.match(text, start)
        if found is None:
            return None
        host, _, last = found[0].rstrip("-").rpartition(".")
        end = start + len(host) + 1 + len(last)
        if not host or not 2 <= len(last) <= 24 or not (last.isascii() and last.isalpha()):
            return None
        # git@host:path is where code lies.
        is_path = text[end : end + 1] == ":" and text[end + 1 : end + 2].isalpha()
        is_nobodys = last.casefold() in self._FILES or last.casefold() == "invalid"  # RFC 2606
        return None if is_path or is_nobodys else end


class Addresses:
    """IP addresses, v4 and v6, but for those that are nobody's: loopback, masks, documentation."""

    _V4 = _regex(r"(?<![%W.])\d{1,3}(?:\.\d{1,3}){3}(?![%W]|\.\d)")
    _V6 = _regex(r"(?<![%W:.])(?=[0-9A-Fa-f:]{0,39}\d)[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}"
                     r"(?:\d{0,3}(?:\.\d{1,3}){3})?(?![%W]|[:.][%W])")  # fmt: skip
    _VERSION = re.compile(
        r"(?:version|release|build|firmware|ver\.?|v\.?|\bno\.?|section|chapter|kapitel|abschnitt|"
        r"versi[o\u00f3]n|versione|\u7248\u672c|\u00a7)[ :]{0,2}$",
        re.IGNORECASE,
    )

    def find(self, text: str) -> Iterator[Span]:
        """See `Recogniser`."""
        if "." in text:
            for found in self._V4.finditer(text):
                before = text[max(0, found.start() - 12) : found.start()]
                if _is_somebodys(found[0]) and self._VERSION.search(before) is None:
                    yield Span(*found.span(), "ip", True, found[0])
        if ":" in text:
            for found in self._V6.finditer(text):
                if _is_somebodys(found[0]):
                    yield Span(*found.span(), "ip", True, found[0].lower())


def _is_somebodys(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return 0 < int(address) >> 24 < 240
    # `a[1::2]` and `1634::` are addresses by the letter, and hardly ever meant as such.
    groups = [group for group in text.split(":") if group]
    return len(groups) > 1 and max(map(len, groups)) > 2 and address not in _DOCUMENTATION


_DOCUMENTATION = ipaddress.ip_network("2001:db8::/32")


class Ibans:
    """IBANs, with or without spaces; cut where the country's length says that they end."""

    _BEGIN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")

    def find(self, text: str) -> Iterator[Span]:
        """See `Recogniser`."""
        place = 0
        while (found := self._BEGIN.search(text, place)) is not None:
            place = found.start() + 1
            length = checks.IBAN_LENGTHS.get(found[0][:2].upper())
            end = None if length is None else _after(text, found.start(), found.end(), length)
            if end is None or (end < len(text) and text[end].isascii() and text[end].isalnum()):
                continue
            written = text[found.start() : end]
            said = _SEPARATORS.sub("", written).upper()
            if self._is_written_so(written) and checks.iban(said):
                yield Span(found.start(), end, "iban", True, said)
                place = end

    @staticmethod
    def _is_written_so(text: str) -> bool:
        """In one piece or in fours, and in one case: else it is a word and the next ones."""
        *fours, last = re.split("[ -]", text)
        one_case = text.upper() == text or text.lower() == text
        return one_case and (
            not fours or (all(len(four) == 4 for four in fours) and len(last) <= 4)
        )


def _after(text: str, start: int, stop: int, length: int) -> int | None:
    """Where so many letters and digits from `start` on end; None = there are fewer."""
    for place in range(start, stop):
        length -= text[place].isalnum()
        if length == 0:
            return place + 1
    return None


def _phone(regex: str, *, least: int = 7, **more: re.Pattern[str]) -> Pattern:
    def has_length(said: str) -> bool:
        """ITU-T E.164: at most 15 digits; fewer than 7 reach nobody from outside."""
        digits = said.removeprefix("+")
        return least <= len(digits) <= 15 and len(set(digits)) > 2

    return Pattern(kind="phone", regex=_regex(regex), check=has_length, sure=False, **more)


_PHONE_WORDS = re.compile(
    r"(?:phone|\btel\b|tel\.|t\u00e9l|mobil|m\u00f3vil|\bcell|\bcall\b|call me|\bfax\b|whatsapp|"
    r"\bsms\b|\btext me|\bring\b|telefon|tel\u00e9fon|handy|\bruf\w*|anruf|rappel|appel|portable|"
    r"llam|ll\u00e1m|chiam|cellulare|numero di|\u7535\u8bdd|\u96fb\u8a71|\u624b\u673a|\u624b\u6a5f|"
    r"\u8054\u7cfb|\u53f7\u7801|\ud734\ub300|\uc804\ud654|\u0442\u0435\u043b\u0435\u0444|"
    r"\u0647\u0627\u062a\u0641)",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:\d{1,4}[./-]|\d[ ])$")
"""A number that follows digits is part of a longer one: a date, an order, a table."""
_CARD_SHAPE = (
    r"(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})"
)


def _national(kind: str, regex: str, check: Callable[[str], bool], words: str = "") -> Pattern:
    return Pattern(
        kind=kind,
        regex=_regex(rf"(?<![%W-])(?<!\d[.,]){regex}(?![%W]|-\d)", re.IGNORECASE),
        check=check,
        context=re.compile(words, re.IGNORECASE) if words else None,
    )


PATTERNS: Mapping[str, tuple[Recogniser, ...]] = {
    "email": (Emails(),),
    "url": (SecretUrls(),),
    "api_key": (Keys(),),
    "iban": (Ibans(),),
    "card": (
        Pattern(
            kind="card",
            regex=_regex(rf"(?<![%W-])(?<!\d[.,]){_CARD_SHAPE}(?![%W])"),
            check=checks.card,
        ),
    ),
    "ip": (Addresses(),),
    "us_ssn": (
        _national("us_ssn", r"\d{3}-\d{2}-\d{4}", checks.us_ssn),
        _national(
            "us_ssn",
            r"(?:\d{3} \d{2} \d{4}|\d{9})",
            checks.us_ssn,
            r"(?<![a-z])ssn(?![a-z])|social security",
        ),
    ),
    "uk_nino": (
        _national(
            "uk_nino",
            r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
            checks.uk_nino,
        ),
    ),
    "de_tax_id": (_national("de_tax_id", r"(?:\d{11}|\d{2} \d{3} \d{3} \d{3})", checks.de_tax_id),),
    "fr_nir": (
        _national(
            "fr_nir",
            r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}",
            checks.fr_nir,
        ),
    ),
    "es_dni": (_national("es_dni", r"(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]", checks.es_dni),),
    "it_cf": (
        _national(
            "it_cf",
            r"[A-Z]{6}[\dLMNPQRSTUV]{2}[A-EHLMPRST][\dLMNPQRSTUV]{2}[A-Z][\dLMNPQRSTUV]{3}[A-Z]",
            checks.it_cf,
        ),
    ),
    "pl_pesel": (_national("pl_pesel", r"\d{11}", checks.pl_pesel),),
    "br_cpf": (
        _national("br_cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", checks.br_cpf),
        _national("br_cpf", r"\d{11}", checks.br_cpf, r"(?<![a-z])cpf(?![a-z])"),
    ),
    "nl_bsn": (
        _national(
            "nl_bsn", r"\d{9}", checks.nl_bsn, r"(?<![a-z])bsn(?![a-z])|burgerservice|sofi-?nummer"
        ),
    ),
    "phone": (
        # +49 30 1234567, +1 (415) 555-0132
        _phone(r"(?<![%W+.-])\+[1-9]\d{0,3}(?:(?:[ .\-/]|[ ]?\(|\)[ ]?|\)-)?\d){6,13}(?!\d)"),
        # 0049 30 1234567: with a space, as nobody writes an order number
        _phone(r"(?<![%W+.-])00[1-9]\d{0,2}[ ](?:[ .\-/]?\d){6,12}(?!\d)", unless=_DATE),
        # (415) 555-0132, 415-555-0132: North America
        _phone(
            r"(?<![%W.+-])(?:1[ .-])?(?:\([2-9]\d{2}\)[ ]?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4}"
            r"(?![%W]|[.-]\d)",
            unless=_DATE,
        ),
        # 030 1234567, 0171/1234567, 06 12 34 56 78, 090-1234-5678: a trunk 0 and groups
        _phone(
            r"(?<![%W.+-])(?!\d{4}-\d{4}-\d{4})(?:\(0[1-9]\d{0,4}\)[ ]?|0[1-9]\d{0,4}[ ./-])"
            r"\d{2,8}(?:[ .-]\d{2,4}){0,4}"
            r"(?![%W]|[.-]\d)",
            least=9,
            unless=_DATE,
        ),
        # anything of nine to twelve digits after a word for telephone
        _phone(r"(?<![%W.+-])\(?\d(?:[ ]?[ .\-/()]?\d){8,12}(?![%W]|[.-]\d)", context=_PHONE_WORDS),
    ),
}
"""Kind -> how it is recognised. The order decides between spans that are equally long and sure."""

KINDS = tuple(PATTERNS)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Recognisers of numbers with six digits in a row; most texts have none: done with at once."""

    inside: tuple[Recogniser, ...]

    def find(self, text: str) -> Iterator[Span]:
        """See `Recogniser`."""
        if _DIGIT_RUN.search(text) is not None:
            for each in self.inside:
                yield from each.find(text)


def recognisers(kinds: tuple[str, ...]) -> list[Recogniser]:
    """Those of the kinds, in the order of `PATTERNS`."""
    plain: list[Recogniser] = []
    numbers: list[Recogniser] = []
    for kind, all_of in PATTERNS.items():
        if kind in kinds:
            (plain if kind in _ALSO_WITHOUT_RUNS else numbers).extend(all_of)
    return [*plain, _Numbers(tuple(numbers))] if numbers else plain
