"""A whole graph as files: Parquet, GraphML, N-Triples, SVG; each appears whole or not at all.

Parquet needs nothing else. GraphML is written by networkx and N-Triples by rdflib (extra `graph`):
escaping is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from synthkd.errors import UserError
from synthkd.graphs.needed import must_have
from synthkd.graphs.picture import write_svg
from synthkd.graphs.whole import WholeGraph
from synthkd.io.atomic import atomic_file
from synthkd.io.exports import open_records

if TYPE_CHECKING:
    from rdflib import Graph, URIRef

BASE = "urn:synthkd:"
"""What the names of things begin with in N-Triples, where nobody says otherwise."""
AT_ONCE = 10_000
"""Edges that rdflib has in memory."""
_BEGINS_IRI = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|\\^`]*""")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_parquet(graph: WholeGraph, folder: Path) -> list[Path]:
    """nodes.parquet and edges.parquet; an edge has the names of its nodes and their places."""
    import pyarrow as pa

    nodes, edges = folder / "nodes.parquet", folder / "edges.parquet"
    text, number = pa.string(), pa.int64()
    of_nodes = pa.schema({"node": number, "name": text, "type": text, "documents": number})
    columns = {"head": text, "relation": text, "tail": text, "head_node": number}
    more = {"tail_node": number, "document": text, "proposition": text, "documents": number}
    of_edges = pa.schema({**columns, **more})
    # Both or neither: edges beside the nodes of another graph would point to other entities.
    with open_records(nodes, of_nodes) as names, open_records(edges, of_edges) as triples:
        for place, node in enumerate(graph.nodes):
            told = {"name": node.name, "type": node.type, "documents": node.documents}
            names.add({"node": place, **told})
        for edge in graph.edges:
            triples.add(
                {
                    "head": graph.nodes[edge.head].name,
                    "relation": edge.relation,
                    "tail": graph.nodes[edge.tail].name,
                    "head_node": edge.head,
                    "tail_node": edge.tail,
                    "document": edge.document,
                    "proposition": edge.proposition,
                    "documents": edge.documents,
                }
            )
    return [nodes, edges]


def write_graphml(graph: WholeGraph, folder: Path) -> list[Path]:
    """graph.graphml: a directed graph whose edges have a `relation`; it is in memory twice.

    A character that XML cannot hold, such as a control character, becomes U+FFFD.

    Raises:
        UserError: networkx is not installed.
    """
    must_have("networkx", "graphml")
    import networkx as nx

    whole: Any = nx.MultiDiGraph()
    for place, node in enumerate(graph.nodes):
        more = {} if node.type is None else {"type": _in_xml(node.type)}
        whole.add_node(f"n{place}", label=_in_xml(node.name), documents=node.documents, **more)
    for place, edge in enumerate(graph.edges):
        said = {} if edge.proposition is None else {"proposition": _in_xml(edge.proposition)}
        told = {"relation": _in_xml(edge.relation), "document": _in_xml(edge.document)}
        whole.add_edge(
            f"n{edge.head}",
            f"n{edge.tail}",
            key=f"e{place}",
            documents=edge.documents,
            **told,
            **said,
        )
    path = folder / "graph.graphml"
    with atomic_file(path) as file:
        nx.write_graphml(whole, file)
    return [path]


def write_ntriples(graph: WholeGraph, folder: Path, base: str = BASE) -> list[Path]:
    """graph.nt: a statement for each edge, labels of entities and relations, types of entities.

    Propositions are left out: a statement of RDF has no room for them.

    Args:
        graph: what is written.
        folder: where.
        base: what every IRI begins with; `entity/`, `relation/` and `type/` follow.

    Raises:
        UserError: rdflib is not installed, or `base` begins no IRI.
    """
    must_have("rdflib", "nt")
    if not _BEGINS_IRI.fullmatch(base):
        raise UserError(
            f"{base!r:.200} begins no IRI: it needs a scheme and has neither blanks nor any of"
            ' <>"{}|\\^`, as "https://example.org/"'
        )
    from rdflib import Graph

    path = folder / "graph.nt"
    with atomic_file(path) as file:
        some = Graph()
        for statement in _statements(graph, base):
            some.add(statement)
            if len(some) >= AT_ONCE:
                file.write(_lines(some))
                some = Graph()
        file.write(_lines(some))
    return [path]


def _lines(graph: Graph) -> bytes:
    """Sorted: rdflib's own order is another in each process."""
    lines: bytes = graph.serialize(format="nt", encoding="utf-8")
    return b"".join(sorted(lines.splitlines(keepends=True)))


def _statements(graph: WholeGraph, base: str) -> Iterator[tuple[URIRef, URIRef, Any]]:
    from rdflib import RDF, RDFS, Literal, URIRef

    def iri(kind: str, name: str) -> URIRef:
        return URIRef(f"{base}{kind}/{quote('_'.join(name.split()), safe='')}")

    for node in graph.nodes:
        entity = iri("entity", node.name)
        yield entity, RDFS.label, Literal(node.name)
        if node.type is not None:
            yield entity, RDF.type, iri("type", node.type)
    for relation in dict.fromkeys(edge.relation for edge in graph.edges):
        yield iri("relation", relation), RDFS.label, Literal(relation)
    for edge in graph.edges:
        head, tail = (iri("entity", graph.nodes[place].name) for place in (edge.head, edge.tail))
        yield head, iri("relation", edge.relation), tail


FORMATS: dict[str, Callable[[WholeGraph, Path], list[Path]]] = {
    "parquet": write_parquet,
    "graphml": write_graphml,
    "nt": write_ntriples,
    "svg": write_svg,
}


def _in_xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
