"""How often the first answers of a run's pairs win, and how often they would at equal length.

    win rate: {pairs, first wins: {value, low, high}, at equal length: {...}, effect of length}

A row step only counts. So each pair is counted by its outcome and by how much the first answer is
longer, in steps of a quarter of an octave: the middle of a step is 9 % off at most. At the end of
the run the counts make the rates (`synthkd.evaluate.preference`, after AlpacaEval 2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from synthkd.evaluate.preference import WinRate, win_rate
from synthkd.kit import Kit
from synthkd.manifest import Interval
from synthkd.rows import Json

WIN_RATE = "win rate"
STEPS = 4
"""Of an octave."""
_COUNTED = re.compile(r"score ([\d.]+), the first is longer by (-?\d+)")


def count_margin(kit: Kit, score: float, longer_by: int) -> None:
    """Count one pair.

    Args:
        kit: of the step's call.
        score: 1, the first wins, to 0; 0.5 = a tie.
        longer_by: characters of the first less those of the second.
    """
    kit.count(f"score {score:g}, the first is longer by {_rounded(longer_by)}")


def _rounded(longer_by: int) -> int:
    if longer_by == 0:
        return 0
    size = round(2 ** (round(STEPS * math.log2(abs(longer_by))) / STEPS))
    return size if longer_by > 0 else -size


def with_win_rate(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """The figures with the win rate in place of the counts that make it."""
    kept, scores, margins, times = dict(figures), [], [], []
    for name, count in figures.items():
        if (found := _COUNTED.fullmatch(name)) and isinstance(count, int):
            del kept[name]
            scores.append(float(found[1]))
            margins.append(float(found[2]))
            times.append(count)
    if times:
        kept[WIN_RATE] = _told(win_rate(scores, margins, times))
    return kept


def _told(rates: WinRate) -> Json:
    return {
        "pairs": rates.n,
        "first wins": rates.raw.model_dump(),
        "at equal length": rates.at_equal_length.model_dump(),
        "effect of length": rates.length_effect,
    }


def length_wins(figures: Mapping[str, Json], least_pairs: int) -> Iterable[str]:
    """A warning where the win rate is not what it would be at equal length."""
    told = figures.get(WIN_RATE)
    if not isinstance(told, dict) or told["pairs"] < least_pairs:
        return
    raw, controlled = (
        Interval.model_validate(told[name]) for name in ("first wins", "at equal length")
    )
    if not controlled.low <= raw.value <= controlled.high:
        yield (
            f"the first answers win {raw.value:.1%} of {told['pairs']:,} pairs, and at equal length"
            f" {controlled.value:.1%} (95 % interval {controlled.low:.1%} to"
            f" {controlled.high:.1%}): a part of it is length"
        )
