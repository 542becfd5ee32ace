"""`figures.graph`: the triples of all rows as one graph, as figures in the manifest.

    - use: figures.graph
      with: {triples: graph}

It passes every row on. `synthkd graph` writes the same graph as files, and draws it.
"""

from __future__ import annotations

from collections.abc import Iterator

from synthkd.errors import RowError
from synthkd.graphs.whole import WholeGraph
from synthkd.io.spool import Table
from synthkd.rows import Row
from synthkd.steps import StepSettings, TableKit, table_step


class GraphFiguresSettings(StepSettings):
    """Settings of `figures.graph`."""

    triples: str = "graph"
    """The field with the triples."""
    text: str = "text"
    """The field with the document, for triples per 100 words."""


@table_step("figures.graph", needs=lambda config: [config.triples])
def figures(table: Table, kit: TableKit, config: GraphFiguresSettings, /) -> Iterator[Row]:
    """Notes density, parts that hang together, degrees and relations; passes every row on.

    A row that holds no triples fails. The whole graph is in memory: 0.7 GB for a million triples.
    """
    whole = WholeGraph()
    for row in table:
        try:
            whole.take(row.id, row.fields, triples=config.triples, text=config.text)
        except RowError as error:
            kit.fail(row, error)
        else:
            yield row
    kit.note(whole.figures())
