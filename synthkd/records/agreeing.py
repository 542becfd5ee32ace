"""Several readings of one document as one record: for each field what most of them say.

Readings vote with what they say of a field, in its one spelling; that there is nothing is a vote
too, and what a reading lost or left out is none. Of a list each item is voted on by itself, and
stays where more than half of the votes have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from synthkd.records.reading import Leaf, is_void, listed
from synthkd.records.schema import RecordField, RecordSchema
from synthkd.rows import Json, canonical

Ties = Literal["first", "abstain"]
ROUNDING = 1e-9
"""A support is a quotient of sums of weights; nothing goes for its last bit."""
EMPTY = "nothing listed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reply says."""

    teacher: str
    sample: int = 0
    leaves: Sequence[Leaf]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """One record of several readings."""

    record: dict[str, Json]
    support: dict[str, Json]
    """Of each field that has a value: `{support, teachers, spans}`; the support is the weight of
    those that say it, by that of all readings (of a list, of its least supported item)."""
    figures: list[tuple[str, str]]
    """(field, what became of it): `agree`, `outvoted`, `tie`, `alone` (one vote), `no vote`,
    `nothing listed` (most say that the list is empty), or `too little support`."""


@dataclass(slots=True, kw_only=True)
class _Side:
    """A value, and who is for it."""

    value: Json
    readings: list[int] = field(default_factory=list)
    spans: list[Json] = field(default_factory=list)
    """Of the first reading that has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vote:
    """The readings, and how one of them counts."""

    readings: Sequence[Reading]
    heavy: Sequence[Fraction]
    ties: Ties
    at_least: float

    def weight(self, readings: Iterable[int]) -> Fraction:
        return sum((self.heavy[at] for at in readings), Fraction(0))

    def support(self, side: _Side) -> float:
        return float(self.weight(side.readings) / (self.weight(range(len(self.heavy))) or 1))


def agree(
    readings: Sequence[Reading],
    schema: RecordSchema,
    *,
    weights: Mapping[str, float] | None = None,
    ties: Ties = "first",
    at_least: float = 0.0,
) -> Agreed:
    """The record that most readings have, field by field.

    Args:
        readings: in order; of equally heavy values `ties: first` takes the one that was said first.
        schema: their fields.
        weights: of teachers; 1 for those that are not named.
        ties: `abstain` = a tie is null, and what just half of the votes have of a list goes.
        at_least: the least support, 0 to 1; what has less is null.
    """
    heavy = [Fraction(str((weights or {}).get(one.teacher, 1.0))) for one in readings]
    vote = _Vote(readings=readings, heavy=heavy, ties=ties, at_least=at_least)
    agreed = Agreed(record={}, support={}, figures=[])
    for name, one in schema.fields.items():
        if one.type == "record" and not one.many:
            parts = one.fields.items()
            inner = {part: _settle(vote, (name, part), sub, agreed) for part, sub in parts}
            agreed.record[name] = None if is_void(inner) else inner
        else:
            agreed.record[name] = _settle(vote, (name,), one, agreed)
    return agreed


def _settle(vote: _Vote, path: tuple[str, ...], one: RecordField, agreed: Agreed) -> Json:
    """The value of one field; what became of it is noted."""
    said = {
        at: here
        for at, reading in enumerate(vote.readings)
        if (here := [leaf for leaf in reading.leaves if leaf.path[: len(path)] == path])
        and any(leaf.state in ("value", "null") for leaf in here)
    }
    chosen, what = (_of_lists if one.many else _of_values)(vote, path, one, said)
    kept = [side for side in chosen if vote.support(side) >= vote.at_least - ROUNDING]
    if len(kept) < len(chosen):
        what = "too little support"
    name = ".".join(path)
    agreed.figures.append((name, what))
    if kept:
        teachers = [vote.readings[at].teacher for side in kept for at in side.readings]
        spans = [span for side in kept for span in side.spans]
        least = min(map(vote.support, kept))
        whose: list[Json] = [*dict.fromkeys(teachers)]
        agreed.support[name] = {"support": least, "teachers": whose, "spans": spans}
    if one.many:
        empty = what == EMPTY
        return [side.value for side in kept] or ([] if empty else None)
    return kept[0].value if kept else None


def _of_values(
    vote: _Vote, path: tuple[str, ...], one: RecordField, said: Mapping[int, list[Leaf]]
) -> tuple[list[_Side], str]:
    """The value that wins, or none; and how."""
    sides: dict[bytes, _Side] = {}
    for at, leaves in said.items():
        leaf = next(leaf for leaf in leaves if leaf.state in ("value", "null"))
        side = sides.setdefault(canonical(leaf.value), _Side(value=leaf.value))
        side.readings.append(at)
        side.spans = side.spans or _spans(leaves)
    if not sides:
        return [], "no vote"
    most = max(vote.weight(side.readings) for side in sides.values())
    tops = [side for side in sides.values() if vote.weight(side.readings) == most]
    what = _what(len(said), len(sides))
    if len(tops) > 1:
        what = "tie"
    if (len(tops) > 1 and vote.ties == "abstain") or tops[0].value is None:
        return [], what
    return tops[:1], what


def _of_lists(
    vote: _Vote, path: tuple[str, ...], one: RecordField, said: Mapping[int, list[Leaf]]
) -> tuple[list[_Side], str]:
    """The items that more than half of the votes have; one that stands twice is two."""
    sides: dict[tuple[bytes, int], _Side] = {}
    for at, leaves in said.items():
        times: Counter[bytes] = Counter()
        for place, item in listed(one, path, leaves):
            key = canonical(item)
            side = sides.setdefault((key, times[key]), _Side(value=item))
            times[key] += 1
            side.readings.append(at)
            here = [leaf for leaf in leaves if leaf.path[: len(path) + 1] == (*path, place)]
            side.spans = side.spans or _spans(here)
    if not said:
        return [], "no vote"
    whole, first = vote.weight(said), min(said)
    kept = [
        side
        for side in sides.values()
        if 2 * vote.weight(side.readings) > whole
        or (
            2 * vote.weight(side.readings) == whole
            and vote.ties == "first"
            and first in side.readings
        )
    ]
    nothing = [at for at, leaves in said.items() if any(leaf.value == [] for leaf in leaves)]
    if not kept and 2 * vote.weight(nothing) > whole:
        return [], EMPTY
    alike = all(len(side.readings) == len(said) for side in sides.values())
    return kept, _what(len(said), 1 if alike else 2)


def _what(votes: int, sides: int) -> str:
    if sides > 1:
        return "outvoted"
    return "agree" if votes > 1 else "alone"


def _spans(leaves: Iterable[Leaf]) -> list[Json]:
    return [{"path": ".".join(map(str, x.path)), **x.span} for x in leaves if x.span is not None]
