"""Dates in the ways they are written, as ISO 8601: 5 March 2024, 05.03.24, 2024年3月5日.

    >>> dates_in("due 03/04/2024", None)
    [('2024-04-03', '2024-03-04')]

Of 03/04/2024 nobody can tell day and month without knowing whose date it is: a setting says so, or
the value is lost. With points the day stands first, unless the setting says otherwise. A year of
two digits is of 1969 to 2068, as strptime of POSIX has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from typing import Literal

from synthkd.records.faults import NotNormal
from synthkd.records.numerals import LONGEST, even

DayFirst = Literal["dmy", "mdy"]

_NAMES = (
    "january jan januar janner janvier janv enero ene",
    "february feb februar fevrier fevr febrero",
    "march mar marz maerz mars marzo mrz",
    "april apr avril avr abril abr",
    "may mai mayo",
    "june jun juni juin junio",
    "july jul juli juillet juil julio",
    "august aug aout agosto ago",
    "september sep sept septembre septiembre setiembre",
    "october oct oktober okt octobre octubre",
    "november nov novembre noviembre",
    "december dec dezember dez decembre diciembre dic",
)
"""Of the months in English, German, French and Spanish, without accents."""
MONTHS = {name: at for at, names in enumerate(_NAMES, start=1) for name in names.split()}
_MONTH = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")(?![a-z])"
_YEAR = r"(?P<year>\d{4}|'?\d{2})(?!\d|:\d)"
_PATTERNS = tuple(
    re.compile(pattern, re.VERBOSE)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})(?P<sign>[-/.])(?P<m>\d{1,2})(?P=sign)(?P<d>\d{1,2})(?!\d)",
        r"""(?<!\d)(?P<year>\d{4})\s?[\u5e74\ub144]\s?
        (?P<m>\d{1,2})\s?[\u6708\uc6d4]\s?(?P<d>\d{1,2})(?!\d)""",
        rf"""(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th|er)?\.?(?:\s+(?:of|de)\s+|[\s-]*)
        {_MONTH}\.?(?:\s+(?:de|del|in|of)\s+|[\s,-]*){_YEAR}""",
        rf"""(?<![a-z]){_MONTH}\.?\s*
        (?:the\s+)?(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:\s*[.,]\s*|\s+|\s+(?:in|of)\s+){_YEAR}""",
        r"""(?<![\d.])(?P<one>\d{1,2})(?P<sign>[-/.])\s?
        (?P<two>\d{1,2})(?P=sign)\s?(?P<year>\d{4}|\d{2})(?!\d)""",
        r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<gap>[ ]?)(?P<m>[01]\d)(?P=gap)(?P<d>[0-3]\d)(?!\d)",
    )
)
"""Year first; in the way of East Asia; with the month's name, behind or before the day; numbers
alone; and eight digits, perhaps with blanks."""


def date_in(words: str, order: DayFirst | None) -> str:
    """The one date that the words hold, as YYYY-MM-DD.

    Args:
        words: at most 2,000 characters.
        order: which comes first in 03/04/2024; None = nobody knows.

    Raises:
        NotNormal: `not_a_date`, `several_values`, or `ambiguous_date`.
    """
    found = set(dates_in(words, order))
    if not found:
        raise NotNormal("not_a_date", f"no date in {words!r:.200}")
    if len(found) > 1:
        raise NotNormal("several_values", f"several dates in {words!r:.200}")
    (ways,) = found
    if len(ways) > 1:
        raise NotNormal(
            "ambiguous_date", f"{words!r:.200} is {' or '.join(ways)}: set `order: dmy` or `mdy`"
        )
    return ways[0]


def dates_in(words: str, order: DayFirst | None) -> list[tuple[str, ...]]:
    """Every date in the words, each with what it can be read as."""
    text = _plain(words[:LONGEST])
    found: list[tuple[int, tuple[str, ...]]] = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if ways := tuple(dict.fromkeys(_ways(match, order))):
                found.append((match.start(), ways))
                # No later pattern may find a part of it again.
                text = text[: match.start()] + " " * len(match[0]) + text[match.end() :]
    return [ways for _, ways in sorted(found)]


def _plain(words: str) -> str:
    """In lower case and without accents."""
    apart = unicodedata.normalize("NFD", even(words).lower())
    plain = "".join(c for c in apart if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", plain)


def _ways(match: re.Match[str], order: DayFirst | None) -> Iterator[str]:
    said = match.groupdict()
    digits = said["year"].lstrip("'")
    year = _full(int(digits)) if len(digits) == len("24") else int(digits)
    if said.get("one") is None:
        month = said.get("m") or MONTHS[said["month"]]
        pairs = [(int(said["d"]), int(month))]
    else:
        one, two = int(said["one"]), int(said["two"])
        pairs = [(one, two), (two, one)]
        known = order or ("dmy" if said["sign"] == "." else None)
        is_open = max(one, two) <= 12
        if known is not None and is_open:
            pairs = [pairs[known == "mdy"]]
        if known is None and len(said["year"]) == 2:  # 24-03-05 may begin with its year
            yield from _dates(_full(one), [(int(said["year"]), two)])
    yield from _dates(year, pairs)


def _full(year: int) -> int:
    return year if year >= 100 else year + (1900 if year >= 69 else 2000)


def _dates(year: int, pairs: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Those of the (day, month) that there are."""
    for day, month in pairs:
        with suppress(ValueError):
            yield date(year, month, day).isoformat()
