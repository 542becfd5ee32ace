"""The triples of many documents as one graph, and how it looks in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from synthkd.graphs.passages import words_in
from synthkd.graphs.triple import Triple, spelling, triples_in
from synthkd.rows import Fields, Json

MOST_RELATIONS = 50
"""In the histogram: the others are counted together."""
DEGREES = ((1, "1"), (2, "2"), (5, "3 to 5"), (10, "6 to 10"), (100, "11 to 100"))
"""Edges at a node, up to so many, and what the histogram calls them."""


@dataclass(slots=True)
class Node:
    """An entity, in the spelling that came first."""

    name: str
    type: str | None = None
    documents: int = 0


@dataclass(slots=True)
class Edge:
    """A triple; `head` and `tail` are places in the list of nodes."""

    head: int
    relation: str
    tail: int
    document: str
    """The id of the first that states it."""
    proposition: str | None = None
    """The first one."""
    documents: int = 0


@dataclass(slots=True)
class WholeGraph:
    """Nodes and edges, each once, in the order in which documents bring them."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    documents: int = 0
    words: int = 0
    stated: int = 0
    """Triples of all documents, each once in a document."""
    _places: dict[str, int] = field(default_factory=dict)
    _relations: dict[str, str] = field(default_factory=dict)
    _known: dict[tuple[int, str, int], int] = field(default_factory=dict)

    def add(
        self,
        document: str,
        triples: Iterable[tuple[Triple, str | None]],
        *,
        types: Mapping[str, str | None],
        words: int,
    ) -> None:
        """Take a document in.

        Args:
            document: its id.
            triples: with their propositions, where they have one.
            types: of its entities, by name.
            words: how long it is.
        """
        self.documents += 1
        self.words += words
        kinds = {spelling(name): kind for name, kind in types.items()}
        nodes: set[int] = set()
        edges: set[int] = set()
        for triple, proposition in triples:
            head, tail = (self._node(name, kinds) for name in (triple.head, triple.tail))
            relation = self._relations.setdefault(spelling(triple.relation), triple.relation)
            place = self._known.setdefault((head, relation, tail), len(self.edges))
            if place == len(self.edges):
                self.edges.append(Edge(head, relation, tail, document, proposition))
            nodes |= {head, tail}
            edges.add(place)
        for place in nodes:
            self.nodes[place].documents += 1
        for place in edges:
            self.edges[place].documents += 1
        self.stated += len(edges)

    def take(self, document: str, fields: Fields, *, triples: str, text: str) -> None:
        """Take in a document as a row has it; one without the field has no triples.

        Args:
            document: its id.
            fields: of the row; `entities` says of what type each is, where it is there.
            triples: the field with the triples.
            text: the field with the document, whose words are counted.

        Raises:
            RowError: the field holds something else than triples.
        """
        if fields.get(triples) is None:
            return
        found = triples_in(fields[triples], triples)
        stated = [(one, _proposition(said)) for one, said in found if one.fault is None]
        written = fields.get(text)
        words = words_in(written) if isinstance(written, str) else 0
        self.add(document, stated, types=_types(fields.get("entities")), words=words)

    def figures(self) -> dict[str, Json]:
        """How dense the graph is, whether it hangs together, and what its relations are."""
        degrees = Counter(place for edge in self.edges for place in (edge.head, edge.tail))
        relations = Counter(edge.relation for edge in self.edges)
        parts = self._components()
        common = dict(relations.most_common(MOST_RELATIONS))
        return {
            "documents": self.documents,
            "entities": len(self.nodes),
            "triples": len(self.edges),
            "triples_per_100_words": _ratio(100 * self.stated, self.words),
            "components": len(parts),
            "largest_component": max(parts, default=0),
            "mean_degree": _ratio(2 * len(self.edges), len(self.nodes)),
            "highest_degree": max(degrees.values(), default=0),
            "degrees": {**Counter(map(_degree, sorted(degrees.values())))},
            "relations": len(relations),
            "triples_by_relation": {**common},
            "triples_of_other_relations": relations.total() - sum(common.values()),
        }

    def _node(self, name: str, types: Mapping[str, str | None]) -> int:
        key = spelling(name)
        place = self._places.setdefault(key, len(self.nodes))
        if place == len(self.nodes):
            self.nodes.append(Node(name))
        node = self.nodes[place]
        node.type = node.type or types.get(key)
        return place

    def _components(self) -> list[int]:
        """The sizes of the parts that hang together, whichever way edges point."""
        import numpy as np
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self.nodes)
        if not n:
            return []
        heads = np.fromiter((edge.head for edge in self.edges), dtype=np.int32)
        tails = np.fromiter((edge.tail for edge in self.edges), dtype=np.int32)
        links = coo_array((np.ones(len(heads), dtype=bool), (heads, tails)), shape=(n, n))
        _, part = connected_components(links.tocsr(), directed=False)
        return [int(size) for size in np.bincount(part)]


def _proposition(said: Json) -> str | None:
    proposition = said.get("proposition") if isinstance(said, Mapping) else None
    return proposition if isinstance(proposition, str) else None


def _types(entities: Json) -> dict[str, str | None]:
    if isinstance(entities, str) or not isinstance(entities, Sequence):
        return {}
    named = (one for one in entities if isinstance(one, Mapping) and one.get("name"))
    return {str(one["name"]): str(one["type"]) for one in named if one.get("type")}


def _ratio(over: int, under: int) -> float | None:
    return round(over / under, 4) if under else None


def _degree(edges: int) -> str:
    return next((name for most, name in DEGREES if edges <= most), "more")
