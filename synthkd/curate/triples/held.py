"""The triples that a row holds while they are filtered, each with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synthkd.curate.fields import value_of
from synthkd.errors import Rejected
from synthkd.graphs.triple import KEYS, Triple, is_part, triples_in
from synthkd.kit import Kit
from synthkd.rows import Json, Row

PARTS = KEYS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A triple of a row, and all that its object says."""

    triple: Triple
    more: Mapping[str, Json]
    """What else stands in the object: teachers, proposition, evidence, ..."""

    def as_json(self, **more: Json) -> Json:
        """The object again, with more said about it."""
        parts = dict(zip(PARTS, self.triple.parts, strict=True))
        return {**parts, **self.more, **more}


def held(row: Row, field: str) -> list[Held]:
    """The triples in a field of a row.

    Raises:
        RowError: it holds no list of triples; the message shows what it has.
    """
    pairs = triples_in(value_of(row, field), field)
    return [Held(triple=triple, more=_more(said)) for triple, said in pairs]


def _more(value: Json) -> Mapping[str, Json]:
    return {k: v for k, v in value.items() if not is_part(k)} if isinstance(value, Mapping) else {}


def lost(kit: Kit, reason: str, triple: Triple) -> None:
    """Count a triple that goes while its row lives on."""
    kit.discard(reason, " | ".join(triple.parts)[:200])


def kept(row: Row, field: str, triples: list[Json], *, before: int, keep_empty: bool) -> Row:
    """The row with the triples that are left.

    Raises:
        Rejected: `no_triples`: none is left of those there were, and such a row is of no use.
    """
    if not triples and not keep_empty:
        raise Rejected("no_triples", f"none of the {before} in {field} is left")
    return row.with_fields(**{field: triples})
