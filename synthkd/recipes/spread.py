"""How the numbers that a row step gives are spread: a histogram among its figures, every round.

    difficulty: {rows: 200, mean: 3.1, histogram: {"-1": 4, "0": 90, ...},
                 correlation with log length: 0.21}

Figures of row steps are sums of whole numbers, as rows come in any order and from several runs; so
sums are counted, in thousandths, and turned into means and a correlation at the end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from synthkd.rows import Json

THOUSAND = 1000
MOST = 1e6
"""Of a number: sums of squares stay exact, whatever the number of rows."""
ROUNDING = 1e-9
"""A number on the edge of a bin belongs to the upper one, whatever its last bit."""
MOST_BINS = 50
"""On either side of 0: the last has all that is farther out."""
BIN, SUMS = " from ", (" n", " sum", " squares", " length", " length squares", " products")
_MARK = "spread of "


class Counts(Protocol):
    """What counts: the kit of a row."""

    def count(self, what: str, times: int = 1) -> None:
        """Add to a figure."""
        ...


class _Sums(Counter[str]):
    """Counts by themselves."""

    def count(self, what: str, times: int = 1) -> None:
        self[what] += times


def count_spread(kit: Counts, what: str, value: float, *, width: float, text: str = "") -> None:
    """Count a number of a row for the figures.

    Args:
        kit: of the row.
        what: the number is, such as `difficulty`.
        value: it; counted within -10^6 and 10^6.
        width: of a bin of the histogram.
        text: what it is said of, whose length in characters it is correlated with.
    """
    value = min(max(value, -MOST), MOST)
    place = min(max(math.floor(value / width + ROUNDING), -MOST_BINS), MOST_BINS)
    kit.count(f"{_MARK}{what}{BIN}{round(place * width, 10):g}")
    x, y = round(THOUSAND * math.log(max(len(text), 1))), round(THOUSAND * value)
    for name, amount in zip(SUMS, (1, y, y * y, x, x * x, x * y), strict=True):
        kit.count(f"{_MARK}{what}{name}", amount)


def spread_of(
    what: str, values: Iterable[tuple[float, str]], *, width: float
) -> Mapping[str, Json]:
    """The figure of numbers that are all there, as of a table step; nothing where there are none.

    Args:
        what: the numbers are.
        values: each with the text that it is said of.
        width: of a bin of the histogram.
    """
    sums = _Sums()
    for value, text in values:
        count_spread(sums, what, value, width=width, text=text)
    return with_spread(sums)


def with_spread(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """The figures with a histogram, a mean and a correlation in place of what was counted."""
    kept = {name: value for name, value in figures.items() if not name.startswith(_MARK)}
    ours = {name.removeprefix(_MARK): n for name, n in figures.items() if name.startswith(_MARK)}
    for name in ours:
        if name.endswith(SUMS[0]):
            what = name.removesuffix(SUMS[0])
            kept[what] = _told(what, ours)
    return kept


def _told(what: str, counted: Mapping[str, Json]) -> dict[str, Json]:
    n, y, yy, x, xx, xy = (_number(counted.get(what + name)) for name in SUMS)
    edge = what + BIN
    bins = {name.removeprefix(edge): n for name, n in counted.items() if name.startswith(edge)}
    told: dict[str, Json] = {
        "rows": n,
        "mean": round(y / n / THOUSAND, 4),
        "histogram": {name: bins[name] for name in sorted(bins, key=float)},
    }
    spread = (n * yy - y * y) * (n * xx - x * x)
    if spread > 0:
        told["correlation with log length"] = round((n * xy - x * y) / math.sqrt(spread), 3)
    return told


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0
