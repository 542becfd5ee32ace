"""Secrets of machines: API keys by their form and by their entropy, and URLs that carry one.

A key is recognised by a beginning that its issuer gives it (`sk-`, `ghp_`, `AKIA`), by the name
before it (`api_key = ...`, `Bearer ...`) with at least `NAMED_BITS` of entropy, or by itself: 32 or
more signs of small letters, capitals and digits with at least `BARE_BITS` a sign. Entropy is that
of the signs' frequencies (Shannon 1948): a hexadecimal hash has 4 at most, words have 3 to 4,
base64 has 5 to 6.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from synthkd.curate.privacy.find import Span

NAMED_BITS = 3.0
BARE_BITS = 4.5
_DIGIT = re.compile(r"\d", re.ASCII)
_ISSUED = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{20,200}+"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36,100}+|github_pat_[A-Za-z0-9_]{50,100}+|glpat-[A-Za-z0-9_-]{20,60}+"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,100}+|AIza[A-Za-z0-9_-]{35}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,100}+"
    r"|hf_[A-Za-z0-9]{30,60}+|npm_[A-Za-z0-9]{36}|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}+\.eyJ[A-Za-z0-9_-]{10,4000}+\.[A-Za-z0-9_-]{10,2000}+"
    r")(?![A-Za-z0-9_-])"
)
_BEGINNINGS = (
    *(
        "sk-",
        "AKIA",
        "ASIA",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "AIza",
        "k_live_",
        "k_test_",
    ),
    *("hf_", "npm_", "SG.", "eyJ"),
)
_NAMES = ("key", "secret", "token", "pass", "contrase", "pwd", "bearer", "credential")
"""Looked for first, because it is quick: without any of them neither pattern can match."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,8000}+"
    r"-----END [A-Z ]{0,30}PRIVATE KEY-----"
)
_NAMED = re.compile(
    r"(?:api[_ -]?key|secret(?:[_ -]?key)?|access[_ -]?key|token|passw(?:or)?d|passwort|"
    r"contrase\u00f1a|mot de passe|pwd|bearer|credentials?)"
    r"(?:[\"']?\s{0,3}(?:[:=\uff1a]|\bis\b|=>)\s{0,3}|\s)[\"'`]?"
    r"([!#$%&*+\-./0-9:=?@A-Z\\^_a-z|~]{8,200}+)",
    re.IGNORECASE,
)
_BARE = re.compile(r"(?<![\w+/=.%-])[A-Za-z0-9_-]{32,128}+(?![\w+/=]|[.-]\w)")
_RUNS = ("abcdefgh", "ABCDEFGH", "01234567")
"""An alphabet in a program has as much entropy as a key."""
_URL = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,20}+://[!#-;=?-Z\\_a-z~%]{3,3000}+")
_SECRET_NAMES = re.compile(
    r"key|token(?!s)|secret|auth|passw|pwd|signature|^sig$|credential|session|^sid$|^code$|jwt",
    re.IGNORECASE,
)


class Keys:
    """API keys, tokens, passwords that are named as such, private keys."""

    def find(self, text: str) -> Iterator[Span]:
        """See `synthkd.curate.privacy.find.Recogniser`."""
        if _DIGIT.search(text) is None:  # every secret that is recognised has one
            return
        if any(begin in text for begin in _BEGINNINGS):
            for found in _ISSUED.finditer(text):
                yield Span(*found.span(), "api_key", True, found[0])
        if "-----BEGIN" in text:
            for found in _PRIVATE_KEY.finditer(text):
                yield Span(*found.span(), "api_key", True, found[0])
        folded = text.casefold()
        if any(name in folded for name in _NAMES):
            yield from self._named(text)
        for found in _BARE.finditer(text):
            kinds = (str.islower, str.isupper, str.isdigit)
            mixed = all(any(map(kind, found[0])) for kind in kinds)
            is_alphabet = any(run in found[0] for run in _RUNS)
            if mixed and not is_alphabet and entropy_bits(found[0]) >= BARE_BITS:
                yield Span(*found.span(), "api_key", False, found[0])

    def _named(self, text: str) -> Iterator[Span]:
        for found in _NAMED.finditer(text):
            value = found[1].rstrip(".:!?")
            if is_secret(value):
                start = found.start(1)
                yield Span(start, start + len(value), "api_key", False, value)


def is_secret(value: str) -> bool:
    """Whether what is named a secret looks like one: mixed signs, and no word or variable."""
    has_digit = any(c.isdigit() for c in value)
    has_letter = any(c.isalpha() for c in value)
    is_name = value.startswith(("$", "os.", "process.", "%", "http"))
    return has_digit and has_letter and not is_name and entropy_bits(value) >= NAMED_BITS


def entropy_bits(text: str) -> float:
    """Bits a sign, from how often each comes: 0 for "aaaa", 2 for "abcd"."""
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values())


class SecretUrls:
    """URLs with a password before the host, or a parameter that is named a secret."""

    def find(self, text: str) -> Iterator[Span]:
        """See `synthkd.curate.privacy.find.Recogniser`."""
        if "://" not in text:
            return
        for found in _URL.finditer(text):
            url = found[0].rstrip(".,;:!?'\"")
            if has_secret(url):
                yield Span(found.start(), found.start() + len(url), "url", True, url)


def has_secret(url: str) -> bool:
    """Whether the URL carries a secret."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:  # half an IPv6 address
        return False
    if password:
        return True
    named = [
        pair
        for text in (parts.query, parts.fragment)
        for pair in parse_qsl(text, max_num_fields=None)
    ]
    return any(_SECRET_NAMES.search(name) and len(value) >= 6 for name, value in named)
