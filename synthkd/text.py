"""When two texts count as the same: `normalised` for texts, `equivalent` for answers.

And which scripts write no spaces: there a word is one character, for whoever counts words.

Hold-outs and duplicates compare texts: every word and every sign counts. Gold, votes and the
evaluation compare answers: "$1,200.00." is "1200", and "Order_status" is "order status".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

OUTER_PUNCTUATION = " \t\r\n.,;:!?*_`\"'()[]{}<>\u201c\u201d\u2018\u2019"
"""What may stand around an answer and is no part of it."""

_OPENING = OUTER_PUNCTUATION.replace(".", "")
"""What may stand before a number: the dot of ".5" belongs to it."""
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)[$\u20ac\u00a3]?(?P<whole>\d{1,3}(?:,\d{3})+|\d*)(?:\.(?P<part>\d*))?",
    re.ASCII,
)

UNSPACED = (
    *((0x0E00, 0x0EFF), (0x0F00, 0x0FFF)),  # Thai and Lao, Tibetan
    *((0x1000, 0x109F), (0x1780, 0x17FF)),  # Burmese, Khmer
    *((0x3040, 0x30FF), (0x31F0, 0x31FF)),  # Hiragana, Katakana
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),  # Han
)
"""Code points of scripts without spaces between words, first and last."""
UNSPACED_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
"""The same inside of a regular expression: `[{UNSPACED_CLASS}]` is one such character."""


def is_unspaced(character: str) -> bool:
    """Whether the character is of a script without spaces between words."""
    code = ord(character)  # most texts have none, and are asked character by character
    return code >= UNSPACED[0][0] and any(first <= code <= last for first, last in UNSPACED)


def normalised(text: str) -> str:
    """NFKC, case folded, each run of white space one space, none at the ends."""
    # Twice, because folding can undo the normal form: Unicode's toNFKC_Casefold does the same.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def without_punctuation(text: str) -> str:
    """Punctuation and symbols become spaces; normalise afterwards."""
    return "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in text)


def escaped(text: str) -> str:
    """The text for a terminal: what would act upon it is written out, line breaks and tabs stay."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def tail(text: str, most: int = 200) -> str:
    """Its end, short enough for a table of rejections: where a reply says what is wrong with it."""
    return text if len(text) <= most else "..." + text[3 - most :]


@lru_cache(maxsize=4096)
def equivalent(answer: str) -> str:
    """One spelling for all answers that count as the same.

    Case, spaces against underscores, and the punctuation around an answer make no difference, nor
    does the way a number is written: "$1,200.00." and "1200" are the same.
    """
    text = normalised(answer.replace("_", " "))
    number = _NUMBER.fullmatch(text.lstrip(_OPENING).rstrip(OUTER_PUNCTUATION))
    if number is None or not (number["whole"] or number["part"]):
        return text.strip(OUTER_PUNCTUATION) or answer
    whole = number["whole"].replace(",", "").lstrip("0") or "0"
    part = (number["part"] or "").rstrip("0")
    amount = f"{whole}.{part}" if part else whole
    return amount if amount == "0" or number["sign"] != "-" else f"-{amount}"


def answer_text(value: object) -> str | None:
    """The text that stands for an answer: class ids and other numbers count as written out.

    None = no answer: null, a list or an object.
    """
    return str(value) if isinstance(value, str | int | float) else None


def same_answer(one: object, other: object) -> bool:
    """Whether two JSON values are one answer; what is no text or number is compared as it is."""
    texts = answer_text(one), answer_text(other)
    if texts[0] is None or texts[1] is None:
        return one == other
    return equivalent(texts[0]) == equivalent(texts[1])
