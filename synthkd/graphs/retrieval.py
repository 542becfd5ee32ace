"""Which propositions of a graph bear on a question.

    asked = Propositions(whole)
    for hit in asked.best(question, cosines, keep=5):
        print(hit.proposition, hit.document, hit.hops)

The retriever of SynthKG (arXiv 2410.16597, section on retrieval): the propositions nearest to the
question by their vectors are put forward, with their entities they are a graph, and those within so
many hops of an entity that the question names come first. A question about two facts ("Where was
she born who wrote Notes?") names the entity of one of them only; the other is a hop away, and many
like it, which are about others, are not. Their numbers are not known from the paper: the defaults
are what did best in tests/bench/study_retrieval.py, on made documents.

Whose vectors they are is the caller's choice; so is asking a model to rank what comes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from synthkd.graphs.ground import folded
from synthkd.graphs.triple import spelling
from synthkd.graphs.whole import WholeGraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PUT_FORWARD = 50
HOPS = 2
Among = Literal["all", "put_forward"]
LONGEST_LETTERS = 80
"""Of a name that is looked for in a question: what is longer is no name that people write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A proposition that was found."""

    proposition: str
    document: str
    """The id of the first document that states it."""
    cosine: float
    hops: int | None
    """1 = it has an entity that the question names; 2 = it shares one with such a proposition;
    None = none is so near."""


class Propositions:
    """The propositions of a graph and their entities; triples without a proposition are left out.

    Args:
        whole: the graph, which is not changed.
    """

    def __init__(self, whole: WholeGraph) -> None:
        places: dict[tuple[str, str], int] = {}
        entities: defaultdict[int, set[int]] = defaultdict(set)
        for edge in whole.edges:
            if edge.proposition and edge.proposition.strip():
                key = (edge.proposition, edge.document)
                entities[places.setdefault(key, len(places))] |= {edge.head, edge.tail}
        self._stated = list(places)
        self._entities = [frozenset(entities[place]) for place in range(len(places))]
        self._named = {spelling(node.name): place for place, node in enumerate(whole.nodes)}

    def __len__(self) -> int:
        return len(self._stated)

    @property
    def texts(self) -> Sequence[str]:
        """Each proposition, for whoever makes vectors of them."""
        return [proposition for proposition, _ in self._stated]

    def best(
        self,
        question: str,
        cosines: NDArray[np.floating],
        *,
        keep: int = 5,
        put_forward: int = PUT_FORWARD,
        hops: int = HOPS,
        among: Among = "all",
    ) -> list[Hit]:
        """The propositions that bear on the question, the best first.

        Args:
            question: in words; the entities that it names are looked for by their spelling.
            cosines: (n,) of the question with each of `texts`.
            keep: so many are given, or all where there are fewer.
            put_forward: so many nearest ones make the graph; at least `keep`.
            hops: how far from an entity of the question; 0 = by cosine alone.
            among: whether hops lead to any proposition, or to those put forward alone (the paper).
        """
        import numpy as np

        ranked = np.argsort(-cosines, kind="stable")[: max(keep, put_forward)]
        forward = [int(place) for place in ranked]
        within = range(len(self)) if among == "all" else forward
        near = self._hops(within, self.named_in(question), hops)
        reached = sorted(near, key=lambda place: (near[place], -cosines[place], place))
        chosen = [*reached, *forward]
        return [
            Hit(
                proposition=self._stated[place][0],
                document=self._stated[place][1],
                cosine=float(cosines[place]),
                hops=near.get(place),
            )
            for place in list(dict.fromkeys(chosen))[:keep]
        ]

    def named_in(self, question: str) -> set[int]:
        """Entities whose name stands in the question as whole words, the longest of each place."""
        letters, edges = folded(question).letters, sorted(folded(question).edges)
        found: set[int] = set()
        reached = 0
        for start in edges:
            if start < reached:
                continue
            for end in reversed([e for e in edges if start < e <= start + LONGEST_LETTERS]):
                entity = self._named.get(spelling(letters[start:end]))
                if entity is not None:
                    found.add(entity)
                    reached = end
                    break
        return found

    def _hops(self, within: Iterable[int], entities: set[int], hops: int) -> dict[int, int]:
        """Proposition -> how far it is, of those that are near enough."""
        left = list(within)
        reached = set(entities)
        near: dict[int, int] = {}
        for hop in range(1, hops + 1):
            next_to = [place for place in left if self._entities[place] & reached]
            if not next_to:
                break
            near |= dict.fromkeys(next_to, hop)
            reached = reached.union(*(self._entities[place] for place in next_to))
            left = [place for place in left if place not in near]
        return near
