"""`triples.write`: a row's triples as the text that a student of one-step extraction learns.

    triples: [{head: Ada, relation: born in, tail: London}]
    ->  graph: '["Ada", "born in", "London"]'

One JSON value a line, in the order of the triples; those of one proposition share a line with it.
What was cut off loses its last line alone (`synthkd.graphs.notation.read_triples`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby

from synthkd.curate.triples.held import Held, held
from synthkd.graphs.notation import write_graph
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step


class WriteSettings(StepSettings):
    """Settings of `triples.write`."""

    triples: str = "triples"
    """The field with the triples."""
    into: str = "graph"
    """The field for the text."""


@step("triples.write", needs=lambda config: [config.triples], gives=lambda config: [config.into])
async def write(row: Row, kit: Kit, config: WriteSettings, /) -> AsyncIterator[Row]:
    """Writes the triples out in the grammar of students; a row without any gets an empty text."""
    groups = groupby(held(row, config.triples), key=_proposition)
    graph = [(said, [one.triple for one in group]) for said, group in groups]
    yield row.with_fields(**{config.into: write_graph(graph)})


def _proposition(one: Held) -> str | None:
    said = one.more.get("proposition")
    return said if isinstance(said, str) else None
