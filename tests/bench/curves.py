"""A small picture of curves, as SVG; for studies, so that no plotting library is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 430, 330, 56, 34, 14, 46
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#999999")
"""Okabe and Ito's, which people who see few colours can tell apart."""
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "10 4", "4 2", "12 2")
LINE = 18
EDGE = 10
"""Beside the last panel, for half of its last number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line through points, left to right."""

    name: str
    points: Sequence[tuple[float, float]]
    low: Sequence[float] = ()
    """Where its interval begins at each point; empty = none is drawn."""
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    across: str
    up: str
    curves: Sequence[Curve]


def draw(panels: Sequence[Panel]) -> str:
    """The panels side by side and one legend below; curves of one name look the same."""
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    looks = {name: place % len(COLOURS) for place, name in enumerate(names)}
    width, height = WIDTH * len(panels) + EDGE, HEIGHT + LINE * math.ceil(len(names) / 2) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, panel in enumerate(panels):
        parts += [f'<g transform="translate({WIDTH * place} 0)">', *_panel(panel, looks), "</g>"]
    for place, name in enumerate(names):
        x, y = LEFT + (place % 2) * width // 2, HEIGHT + LINE * (place // 2) + 6
        parts.append(_line([(x, y), (x + 32, y)], looks[name]))
        parts.append(f'<text x="{x + 40}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, looks: dict[str, int]) -> list[str]:
    xs = [x for curve in panel.curves for x, _ in curve.points]
    ys = [y for curve in panel.curves for _, y in curve.points]
    ys += [y for curve in panel.curves for y in (*curve.low, *curve.high)]
    across, up = _ticks(min(xs), max(xs)), _ticks(min(ys), max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        right = (x - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)
        above = (y - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM)
        return LEFT + right, HEIGHT - BOTTOM - above

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for y in up:
        left, height = at(across[0], y)
        parts.append(_rule(left, height, WIDTH - RIGHT, height))
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in across:
        place, floor = at(x, up[0])
        parts.append(_rule(place, floor, place, floor + 4))
        parts.append(
            f'<text x="{place:.1f}" y="{floor + 18:.1f}" text-anchor="middle">{x:g}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        f"{escape(panel.across)}</text>"
    )
    parts.append(
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.up)}</text>"
    )
    for curve in panel.curves:
        look = looks[curve.name]
        for (x, _), low, high in zip(curve.points, curve.low, curve.high, strict=bool(curve.low)):
            ends = [at(x, low), at(x, high)]
            parts.append(_line(ends, look, width=1, dashed=False))
        parts.append(_line([at(x, y) for x, y in curve.points], look))
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers around both ends."""
    raw = max(high - low, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [place * step for place in range(first, last + 1)]


def _line(
    points: Sequence[tuple[float, float]], look: int, width: float = 2, *, dashed: bool = True
) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = f' stroke-dasharray="{DASHES[look]}"' if dashed and DASHES[look] else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{COLOURS[look]}"'
        f' stroke-width="{width}"{dash}/>'
    )


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return (
        f'<path d="M{x:.1f} {y:.1f} L{to_x:.1f} {to_y:.1f}" stroke="#cccccc" stroke-width="0.7"/>'
    )
