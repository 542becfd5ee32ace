"""Records against gold: precision, recall and F1 of values, exact records, and those that fit.

    scored = record_f1(gold, answers, schema)         # over all fields and rows (micro-average)
    by_field(gold, answers, schema)["total"].f1       # an interval

A value is right when it is gold's, each in its one spelling (`synthkd.records.values`); null names
nothing. Items of a list are a multiset. Records in a list are paired with gold's so that the
pairs have most values in common, the most alike first. Without a schema every value of the JSON
counts, compared as answers are. Answers may be records, or JSON text as a student writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from synthkd.evaluate.paired import figure
from synthkd.evaluate.scored import Scored, f1_of, ratio_of, share_right
from synthkd.graphs.notation import json_values
from synthkd.manifest import FieldScore
from synthkd.records.reading import ReadRecord, read_record
from synthkd.records.schema import RecordSchema, leaf_fields
from synthkd.rows import Json, canonical
from synthkd.text import answer_text, equivalent

Values = Counter[tuple[str, bytes]]
"""(field, value) and how often."""
_WRONG = b"!"
"""In place of a value that has no spelling: no JSON is it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a record says."""

    values: Values = field(default_factory=Counter)
    lists: dict[str, list[Values]] = field(default_factory=dict)
    """Of each list of records its items."""
    is_sound: bool = True
    """Whether each field could be read, and the record fits its schema."""

    def counts(self) -> Counter[str]:
        """How many values there are of each field."""
        found: Counter[str] = Counter()
        for values in (self.values, *(item for items in self.lists.values() for item in items)):
            for (name, _), times in values.items():
                found[name] += times
        return found


def record_f1(
    gold: Sequence[Json], given: Sequence[Json], schema: RecordSchema | None = None
) -> Scored:
    """F1 of values, over all fields and rows together."""
    return f1_of(*_sums(_pairs(gold, given, schema)))


def record_precision(
    gold: Sequence[Json], given: Sequence[Json], schema: RecordSchema | None = None
) -> Scored:
    """Share of the values that were given that are right."""
    hits, named, _ = _sums(_pairs(gold, given, schema))
    return ratio_of(hits, named)


def record_recall(
    gold: Sequence[Json], given: Sequence[Json], schema: RecordSchema | None = None
) -> Scored:
    """Share of gold's values that were given."""
    hits, _, wanted = _sums(_pairs(gold, given, schema))
    return ratio_of(hits, wanted)


def record_exact(
    gold: Sequence[Json], given: Sequence[Json], schema: RecordSchema | None = None
) -> Scored:
    """Share of records of which every value is right and none is lacking."""
    pairs = zip(gold, given, strict=True)
    found = [(facts_of(one, schema), facts_of(said, schema)) for one, said in pairs]
    return share_right(
        [
            said is not None and one is not None and _is_same(_counted(one, said))
            for one, said in found
        ]
    )


def record_valid(
    gold: Sequence[Json], given: Sequence[Json], schema: RecordSchema | None = None
) -> Scored:
    """Share of answers that fit the schema: see `Facts.is_sound`; without one, that are objects."""
    found = [facts_of(said, schema) for said in given]
    return share_right([one is not None and one.is_sound for one in found])


def by_field(
    gold: Sequence[Json],
    given: Sequence[Json],
    schema: RecordSchema | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, FieldScore]:
    """Precision, recall and F1 of each field, with 95 % intervals.

    Args:
        gold: records.
        given: answers, one a row.
        schema: of the records; its fields come in its order.
        resamples: draws behind each end.
        seed: of the draws.
    """
    rows = list(_pairs(gold, given, schema))
    names = [] if schema is None else [name for name, _ in leaf_fields(schema)]
    names += sorted({name for row in rows for counts in row for name in counts} - {*names})
    found = {}
    for name in names:
        hits, named, wanted = (
            [counts[name] for counts in part] for part in zip(*rows, strict=True)
        )
        scores = ratio_of(hits, named), ratio_of(hits, wanted), f1_of(hits, named, wanted)
        precision, recall, f1 = (figure([one], resamples=resamples, seed=seed) for one in scores)
        found[name] = FieldScore(
            wanted=sum(wanted), given=sum(named), precision=precision, recall=recall, f1=f1
        )
    return found


def facts_of(value: Json, schema: RecordSchema | None = None) -> Facts | None:
    """What a record says; None = the value is no record."""
    if schema is None:
        return _any_facts(value)
    if value is None:
        return None
    read = read_record(value, schema)
    if not read.leaves:
        return None
    facts = Facts(is_sound=_fits(read, schema))
    items: dict[tuple[str, int], Values] = {}
    for leaf in read.leaves:
        if leaf.state not in ("value", "lost") or leaf.value == []:
            continue
        key = leaf.name, _WRONG if leaf.state == "lost" else canonical(leaf.value)
        list_, place = leaf.path[0], leaf.path[1] if len(leaf.path) > 2 else None
        if isinstance(place, int) and isinstance(list_, str):
            items.setdefault((list_, place), Counter())[key] += 1
        else:
            facts.values[key] += 1
    for (name, _), values in items.items():
        facts.lists.setdefault(name, []).append(values)
    return facts


def gold_facts(value: Json, schema: RecordSchema | None = None) -> Facts | None:
    """The same of gold, which must be sound: what has no spelling could never be right."""
    facts = facts_of(value, schema)
    return facts if facts is not None and not _has_wrong(facts) else None


def _has_wrong(facts: Facts) -> bool:
    whole = (facts.values, *(item for items in facts.lists.values() for item in items))
    return any(value == _WRONG for values in whole for _, value in values)


def _fits(read: ReadRecord, schema: RecordSchema) -> bool:
    """Whether nothing of the answer had to be left out, and each required field has a value."""
    fields = dict(leaf_fields(schema))
    said = {leaf.path[0] for leaf in read.leaves if leaf.state == "value"}
    lacking = [leaf for leaf in read.leaves if leaf.state != "value" and leaf.name in fields]
    needed = [leaf for leaf in lacking if fields[leaf.name].required and len(leaf.path) > 1]
    whole = all(name in said for name, one in schema.fields.items() if one.required)
    return not read.faults and not needed and whole


Row = tuple[Counter[str], Counter[str], Counter[str]]
"""Of each field, values that are right, were given, and are wanted."""


def _pairs(
    gold: Sequence[Json], given: Sequence[Json], schema: RecordSchema | None
) -> Iterator[Row]:
    for one, said in zip(gold, given, strict=True):
        yield _counted(facts_of(one, schema) or Facts(), facts_of(said, schema) or Facts())


def _counted(gold: Facts, given: Facts) -> Row:
    hits: Counter[str] = Counter()
    _add(hits, gold.values & given.values)
    for name, items in gold.lists.items():
        for both in _matched(items, given.lists.get(name, [])):
            _add(hits, both)
    return hits, given.counts(), gold.counts()


def _matched(gold: Sequence[Values], given: Sequence[Values]) -> Iterator[Values]:
    """What the pairs of items have in common, those that have most of it first."""
    common = [
        (both.total(), -at, -to, both)
        for at, one in enumerate(gold)
        for to, other in enumerate(given)
        if (both := one & other)
    ]
    taken: set[tuple[str, int]] = set()
    for _, at, to, both in sorted(common, key=lambda pair: pair[:3], reverse=True):
        if ("gold", at) not in taken and ("given", to) not in taken:
            taken |= {("gold", at), ("given", to)}
            yield both


def _add(counts: Counter[str], values: Values) -> None:
    for (name, value), times in values.items():
        counts[name] += times if value != _WRONG else 0


def _is_same(row: Row) -> bool:
    hits, named, wanted = row
    return +hits == +named == +wanted


def _sums(rows: Iterator[Row]) -> tuple[list[int], list[int], list[int]]:
    """Over all fields, for each row."""
    hits, named, wanted = [], [], []
    for right, said, gold in rows:
        hits.append(right.total())
        named.append(said.total())
        wanted.append(gold.total())
    return hits, named, wanted


def _any_facts(value: Json) -> Facts | None:
    """Of any JSON object: each value by the names on the way to it."""
    if isinstance(value, str):
        value = next((one for one in json_values(value) if isinstance(one, Mapping)), None)
    if not isinstance(value, Mapping):
        return None
    facts = Facts()
    for name, part in value.items():
        is_list = isinstance(part, Sequence) and not isinstance(part, str)
        records = [one for one in part if isinstance(one, Mapping)] if is_list else []  # type: ignore[union-attr]
        if records:
            facts.lists[name] = [Counter(_leaves(one, name)) for one in records]
        else:
            facts.values.update(_leaves(part, name))
    return facts


def _leaves(value: Json, name: str) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, Mapping):
        for inner, part in value.items():
            yield from _leaves(part, f"{name}.{inner}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _leaves(part, name)
    elif (text := answer_text(value)) is not None:
        yield name, equivalent(text).encode("utf-8", "surrogatepass")
