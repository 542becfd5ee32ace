"""Pairs of rows that are alike -> groups -> one row kept of each.

A pair joins the groups of its two rows (union-find; Tarjan, Journal of the ACM 22, 1975), so that
being alike reaches from row to row: of a chain a-b-c, where a and c are less alike than the
threshold, one row stays. Rows of earlier rounds and of other datasets may be in a group too; they
are never thrown out, and where there is one, none of ours is kept.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from synthkd.curate.others import OtherData
from synthkd.curate.texts import FieldOrFields, text_or_none, text_or_reject
from synthkd.io.spool import Table
from synthkd.rows import Row
from synthkd.steps import TableKit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthkd.curate.embed import Texts, Vectors

    Index = NDArray[np.int64]
    Floats = NDArray[np.float64]


MANY_PAIRS = 50_000
"""More pairs than so many are thinned out to a forest before they are joined one by one."""


class GroupConfig(FieldOrFields):
    """Which fields are compared, against what else, and which row of a group is kept."""

    keep: Literal["first", "longest", "score"] = "first"
    """Which row of a group: the first by order; the one with the longest text (characters); the one
    with the greatest number in `score`. Of equals, the first by order."""
    score: str | None = None
    """The field with the number that `keep: score` goes by; a row without one comes last."""
    against: list[OtherData] = Field(default=[])
    """Other datasets: a row that is like one of theirs goes, theirs are only looked at."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return self.all_fields if self.score is None else (*self.all_fields, self.score)

    def faults(self, folder: Path) -> Iterator[str]:
        """Look at the files of `against`."""
        for index, other in enumerate(self.against):
            yield from other.faults_at(f"against[{index}]", folder)

    @model_validator(mode="after")
    def _sensible(self) -> GroupConfig:
        if (self.keep == "score") != (self.score is not None):
            raise ValueError("keep: score and the field `score` go together")
        return self


class Groups:
    """Which of n things belong together.

    Memory: 8 bytes a thing, and 24 for each pair that joined two groups.
    """

    def __init__(self, n: int) -> None:
        self._parent = array("q", range(n))
        self._one, self._other = array("q"), array("q")
        self._similarity = array("d")

    def join(self, one: int, other: int, similarity: float) -> None:
        """Say that two are alike, and how much."""
        a, b = self.root(one), self.root(other)
        if a != b:
            self._parent[max(a, b)] = min(a, b)  # the first of a group is its root
            self._one.append(one)
            self._other.append(other)
            self._similarity.append(similarity)

    def join_all(self, pairs: Index, similarity: Floats, n_ours: int) -> None:
        """Say of many pairs that they are alike; of theirs among themselves it makes no odds.

        Of more pairs than things can need, the likest are taken that join the same groups.

        Args:
            pairs: (n_pairs, 2), the smaller first.
            similarity: (n_pairs,) above -1.
            n_ours: how many things are rows of the table; they come first.
        """
        import numpy as np
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        roots = self.roots()
        new = (pairs[:, 0] < n_ours) & (roots[pairs[:, 0]] != roots[pairs[:, 1]])
        pairs, similarity = pairs[new], similarity[new]
        if len(pairs) > MANY_PAIRS:
            n = len(self._parent)
            # Weights above 0, which would be no pair to scipy.
            graph = coo_array((2.0 - similarity, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
            forest = minimum_spanning_tree(graph.tocsr()).tocoo()
            pairs, similarity = np.stack([forest.row, forest.col], axis=1), 2.0 - forest.data
        for (one, other), how in zip(pairs.tolist(), similarity.tolist(), strict=True):
            self.join(one, other, how)

    def root(self, thing: int) -> int:
        """The first of its group."""
        parent = self._parent
        while parent[thing] != thing:
            parent[thing] = parent[parent[thing]]
            thing = parent[thing]
        return thing

    def roots(self) -> Index:
        """(n,) int64: the first of each thing's group."""
        import numpy as np

        parent = np.array(self._parent, dtype=np.int64)
        while not np.array_equal(above := parent[parent], parent):
            parent = above
        return parent

    def twins(self) -> tuple[Index, Floats]:
        """(n,) each: the likest thing that each was joined with (-1 = none), and how like."""
        import numpy as np

        one, other = np.array(self._one, dtype=np.int64), np.array(self._other, dtype=np.int64)
        things, their = np.concatenate([one, other]), np.concatenate([other, one])
        similarity = np.tile(np.array(self._similarity, dtype=np.float64), 2)
        by = np.lexsort((-their, similarity, things))  # the last of each thing is the likest
        twin = np.full(len(self._parent), -1, dtype=np.int64)
        like = np.zeros(len(self._parent))
        twin[things[by]], like[things[by]] = their[by], similarity[by]
        return twin, like


class Compared:
    """All things that a duplicate step compares: rows of the table, of earlier rounds, of others.

    Iterating gives (index, text) of those that have one; then the rest is known too.
    """

    def __init__(self, table: Table, config: GroupConfig, folder: Path) -> None:
        self._table = table
        self._config = config
        self._folder = folder
        self.n_ours = len(table)
        self._ids: list[str] = []
        """Of the table's rows, then of those of earlier rounds."""
        self._theirs: list[tuple[str, array[int]]] = []
        self._rank = array("d")

    def __len__(self) -> int:
        return len(self._ids) + sum(len(numbers) for _, numbers in self._theirs)

    @property
    def n_of_rounds(self) -> int:
        """How many are rows of this round or an earlier one."""
        return len(self._ids)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        self._ids, self._theirs, self._rank = [], [], array("d")
        for index, row in enumerate(self._table):
            self._ids.append(row.id)
            text = text_or_none(row.fields, self._config.all_fields)
            self._rank.append(self._rank_of(row, text or ""))
            if text is not None:
                yield index, text
        for row in self._table.earlier:
            text = text_or_none(row.fields, self._config.all_fields)
            if text is not None:
                self._ids.append(row.id)
                yield len(self._ids) - 1, text
        index = len(self._ids)
        for other in self._config.against:
            numbers = array("q")
            self._theirs.append((other.called, numbers))
            for number, text in other.texts(self._folder):
                if text is not None:
                    numbers.append(number)
                    yield index, text
                    index += 1

    def texts(self) -> Texts:
        """The same as texts that can be read again: of those that have none, empty ones."""
        for _ in self:  # so that it is known how many there are
            pass
        return _Texts(self)

    def rank(self, ranks: Floats) -> None:
        """Say which row of a group is kept, in place of what `keep` says: the greatest."""
        self._rank = array("d", ranks[: self.n_ours].tolist())

    def _rank_of(self, row: Row, text: str) -> float:
        if self._config.keep == "longest":
            return len(text)
        score = row.fields.get(self._config.score or "")
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        return float(score) if is_number else -math.inf  # type: ignore[arg-type]

    def name(self, index: int) -> str:
        """What details call it: `row ID`, or `FILE row 17`."""
        if index < len(self._ids):
            return f"row {self._ids[index]}"
        index -= len(self._ids)
        for called, numbers in self._theirs:
            if index < len(numbers):
                return f"{called} row {numbers[index]}"
            index -= len(numbers)
        raise IndexError(index)

    def keepers(self, roots: Index) -> Index:
        """(n_ours,) int64: what is kept in each row's place; itself = the row is kept."""
        import numpy as np

        n = len(roots)
        rank = np.full(n, np.inf)  # theirs come before all of ours
        rank[: self.n_ours] = self._rank
        by = np.lexsort((np.arange(n), -rank, roots))
        is_first = np.diff(roots[by], prepend=-1) != 0
        best = np.empty(n, dtype=np.int64)
        best[roots[by[is_first]]] = by[is_first]
        return best[roots[: self.n_ours]]


class _Texts:
    def __init__(self, compared: Compared) -> None:
        self._compared = compared
        self._n = len(compared)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[str]:
        place = 0
        for index, text in self._compared:
            yield from [""] * (index - place)
            yield text
            place = index + 1
        yield from [""] * (self._n - place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a duplicate is thrown out."""

    reason: str
    measure: str
    """What the similarity is called in details."""
    threshold: float
    similarity: Callable[[Index], Floats]
    """(n, 2) pairs -> (n,) how alike they are."""


def kept_rows(
    table: Table,
    kit: TableKit,
    config: GroupConfig,
    compared: Compared,
    groups: Groups,
    verdict: Verdict,
    vectors: Vectors | None = None,
) -> Iterator[Row]:
    """The rows that stay; the others are rejected with the name of the one kept in their place.

    Of rows that were compared by `vectors`, those without one fail.
    """
    import numpy as np

    roots = groups.roots()
    keeper = compared.keepers(roots)
    twin, like = groups.twins()
    (gone,) = np.nonzero(keeper != np.arange(len(keeper)))
    similarity = np.zeros(len(keeper))
    similarity[gone] = verdict.similarity(np.stack([gone, keeper[gone]], axis=1))
    sizes = np.bincount(roots) if len(roots) else np.zeros(0, dtype=np.int64)
    kit.note(
        {
            "groups": int((sizes > 1).sum()),
            "largest_group": int(sizes.max(initial=0)),
            "duplicates": len(gone),
            "of_other_datasets": int((keeper[gone] >= compared.n_of_rounds).sum()),
        }
    )
    if (n_of_rounds := compared.n_of_rounds) > compared.n_ours:
        of_earlier = (keeper[gone] >= compared.n_ours) & (keeper[gone] < n_of_rounds)
        kit.note({"of_earlier_rounds": int(of_earlier.sum())})
    for index, row in enumerate(table):
        if text_or_reject(row, config.all_fields, kit) is None:
            continue
        if vectors is not None and index in vectors.errors:
            kit.fail(row, vectors.errors[index])
            continue
        kept = int(keeper[index])
        if kept == index:
            yield row if vectors is None else row.with_made_by(*vectors.made_by(index))
            continue
        detail = f"of {compared.name(kept)} ({verdict.measure} {similarity[index]:.3f})"
        if similarity[index] < verdict.threshold:
            detail += f", by way of {compared.name(int(twin[index]))} ({like[index]:.3f})"
        kit.reject(row, verdict.reason, detail)
