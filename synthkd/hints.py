"""What someone may have meant who wrote a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?` with the nearest three at most, or nothing; ends a clause."""
    found = difflib.get_close_matches(name, sorted(set(known)), n=3)
    return f"; did you mean {' or '.join(found)}?" if found else ""
