"""A graph as a picture: its best connected entity, and what is around it. SVG; layout by networkx.

A large graph drawn whole is a ball of wool, so only as much of it is drawn as can be read.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

from synthkd.graphs.needed import must_have
from synthkd.graphs.whole import Edge, WholeGraph
from synthkd.io.atomic import atomic_file

MOST_EDGES = 24
"""Triples that are drawn."""
LONGEST_NAME = 28
"""Characters of a name that are drawn."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#999999")
"""Okabe and Ito's, which people who see few colours can tell apart; the last is for all others."""
SIZE, MARGIN, LINE = 620, 80, 18
LAYOUTS = 60
"""Of so many the one is drawn in which names are farthest apart."""
LETTER, NAME_HEIGHT = 6.0, 16.0
"""How wide a letter and how high a name is, in pixels, about."""

Places = dict[int, tuple[float, float]]
"""Node -> where it is, each coordinate from -1 to 1."""


def write_svg(graph: WholeGraph, folder: Path) -> list[Path]:
    """graph.svg; see `picture`.

    Raises:
        UserError: networkx is not installed.
    """
    path = folder / "graph.svg"
    drawn = picture(graph)
    with atomic_file(path) as file:
        file.write(drawn.encode())
    return [path]


def picture(graph: WholeGraph, most_edges: int = MOST_EDGES) -> str:
    """The triples nearest to the best connected entity, as SVG; the same in every process.

    Of several relations between the same two entities the first is drawn.

    Raises:
        UserError: networkx is not installed.
    """
    edges = _nearest(graph, most_edges)
    places = _layout(edges, graph)
    known = list(dict.fromkeys(edge.relation for edge in edges))
    named = known if len(known) <= len(COLOURS) else [*known[: len(COLOURS) - 1], "others"]
    height = SIZE + LINE * len(named) + 12
    points = {
        node: (MARGIN + (x + 1) / 2 * (SIZE - 2 * MARGIN), 24 + (y + 1) / 2 * (SIZE - 48))
        for node, (x, y) in places.items()
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {height}"',
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{SIZE}" height="{height}" fill="white"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="12" refY="4" markerWidth="7"',
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
    ]
    for edge in edges:
        (x, y), (to_x, to_y) = points[edge.head], points[edge.tail]
        colour = COLOURS[min(known.index(edge.relation), len(COLOURS) - 1)]
        parts.append(
            f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{to_x:.0f}" y2="{to_y:.0f}"'
            f' stroke="{colour}" stroke-width="1.5" marker-end="url(#tip)"/>'
        )
    for node, (x, y) in points.items():
        parts += _name(graph.nodes[node].name, x, y)
    for place, relation in enumerate(named):
        y = SIZE + LINE * place + 6
        line = f'<line x1="20" y1="{y}" x2="52" y2="{y}" stroke="{COLOURS[place]}"'
        parts += [
            f'{line} stroke-width="2"/>',
            f'<text x="60" y="{y + 4}">{_shown(relation)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _name(name: str, x: float, y: float) -> list[str]:
    """A dot, and the name above it with a white rim, so that lines do not cross it out."""
    text = f'<text x="{x:.0f}" y="{y - 8:.0f}" text-anchor="middle"'
    rim = ' stroke="white" stroke-width="3"'
    return [
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="#222"/>',
        f"{text}{rim}>{_shown(name)}</text>",
        f"{text}>{_shown(name)}</text>",
    ]


def _shown(name: str) -> str:
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\u2026"
    return escape("".join(c if c.isprintable() else "\ufffd" for c in short))


def _nearest(graph: WholeGraph, most: int) -> list[Edge]:
    """The edges next to the best connected node, breadth first; a new start where a part ends."""
    around: defaultdict[int, list[int]] = defaultdict(list)
    for place, edge in enumerate(graph.edges):
        for node in {edge.head, edge.tail}:
            around[node].append(place)
    starts = sorted(around, key=lambda node: (-len(around[node]), node))
    taken: dict[int, Edge] = {}
    pairs: set[frozenset[int]] = set()
    seen: set[int] = set()
    for start in starts:
        queue = deque([start])
        while queue and len(taken) < most:
            node = queue.popleft()
            if node in seen:
                continue
            seen.add(node)
            for place in around[node]:
                edge = graph.edges[place]
                ends = frozenset((edge.head, edge.tail))
                if ends not in pairs and len(taken) < most:
                    pairs.add(ends)
                    taken[place] = edge
                    queue.extend(sorted(ends - {node}))
    return [taken[place] for place in sorted(taken)]


def _layout(edges: list[Edge], whole: WholeGraph) -> Places:
    must_have("networkx", "svg")
    import networkx as nx

    graph: Any = nx.Graph()
    graph.add_edges_from((edge.head, edge.tail) for edge in edges)
    parts = [sorted(part) for part in nx.connected_components(graph)]
    graph.add_edges_from((parts[0][0], part[0]) for part in parts[1:])  # or they drift apart
    tried: list[Places] = [
        {node: (float(x), float(y)) for node, (x, y) in found.items()}
        for seed in range(LAYOUTS)
        for found in [nx.spring_layout(graph, k=0.5, iterations=50, seed=seed)]
    ]
    widths = {node: LETTER * min(len(whole.nodes[node].name), LONGEST_NAME) for node in graph.nodes}
    return max(tried, key=lambda at: _room(at, widths))


def _room(at: Places, widths: Mapping[int, float]) -> float:
    """How far the nearest two names are from touching: above 1, none do."""
    pixels = SIZE / 2 - MARGIN

    def between(one: int, other: int) -> float:
        (x, y), (to_x, to_y) = at[one], at[other]
        wide, high = (widths[one] + widths[other]) / 2, NAME_HEIGHT
        return max(abs(x - to_x) * pixels / wide, abs(y - to_y) * pixels / high)

    return min((between(*pair) for pair in combinations(sorted(at), 2)), default=0.0)
