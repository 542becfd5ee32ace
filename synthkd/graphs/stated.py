"""What several teachers state about the passages of one document, as one graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from synthkd.graphs.ground import Place
from synthkd.graphs.triple import PartsKey, Triple


class Origin(NamedTuple):
    """Where a triple was stated; of two the lesser came first."""

    chunk: int
    teacher: int
    sample: int
    number: int
    """Which triple of the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A triple that one reply states."""

    triple: Triple
    proposition: str
    origin: Origin
    evidence: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A triple of the document's graph."""

    first: Stated
    """Where it was stated first: its spelling, proposition, chunk and evidence."""
    chunks: tuple[int, ...]
    """All in which it was stated."""
    teachers: tuple[int, ...]
    replies: int
    """How many state it, of those to the chunk in which most do."""


def merged(stated: Iterable[Stated]) -> list[Merged]:
    """Each triple once, in the order of the document; the order in which they come is no matter."""
    groups: dict[PartsKey, list[Stated]] = {}
    for one in sorted(stated, key=lambda one: one.origin):
        groups.setdefault(one.triple.key, []).append(one)
    return [_merged(group) for group in groups.values()]


def _merged(group: list[Stated]) -> Merged:
    origins = [one.origin for one in group]
    replies = {origin[:3] for origin in origins}
    return Merged(
        first=next((one for one in group if one.evidence is not None), group[0]),
        chunks=tuple(sorted({origin.chunk for origin in origins})),
        teachers=tuple(sorted({origin.teacher for origin in origins})),
        replies=max(Counter(chunk for chunk, _, _ in replies).values()),
    )
