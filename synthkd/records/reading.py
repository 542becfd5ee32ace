"""A record out of what somebody wrote. Pure: text in, leaves out, nothing raised.

    >>> read_record('{"Total": {"value": "5 EUR", "evidence": "Sum: 5 EUR"}, "da', schema).leaves
    [Leaf(path=('total',), state='value', value={'amount': 5, ...}, evidence='Sum: 5 EUR'),
     Leaf(path=('date',), state='missing')]

JSON is read alone, in a fence, among words, with a comma too many, or cut: what was whole before
the cut counts. Names of fields are read in any case. A value may stand alone, as students write
it, or in an object with its evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from pydantic_core import from_json

from synthkd.graphs.notation import json_values
from synthkd.records.faults import NotNormal
from synthkd.records.schema import EVIDENCE, VALUE, RecordField, RecordSchema, key_of
from synthkd.records.values import normal
from synthkd.rows import Fields, Json
from synthkd.schemas import Read, Schema

State = Literal["value", "null", "missing", "lost"]
Path = tuple[str | int, ...]
LONGEST_EVIDENCE = 2_000
"""Characters: what is longer is the document over again."""
MOST_ITEMS = 1_000
"""Of a list: what goes on for ever ends there."""
_EVIDENCES = (EVIDENCE, "quote")
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+(?:"|\\?\Z))|,(?=\s*[}\]])', re.DOTALL)
"""A string that does not close goes to the end, so that it is looked at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a reply says about one value of a record."""

    path: Path
    """`("total",)`; `("lines", 0, "item")`."""
    state: State
    """`null` = the reply says that there is none; `missing` = it says nothing; `lost` = what it
    says cannot be used, and `reason` says why."""
    value: Json = None
    """In its one spelling; an empty list is a value."""
    evidence: str | None = None
    """As quoted."""
    span: Fields | None = None
    """Where the evidence stands in the document: `{start, end, how}`, in code points."""
    reason: str = ""
    detail: str = ""

    @property
    def name(self) -> str:
        """The field's name, whichever item of a list it is: `lines.item`."""
        return ".".join(part for part in self.path if isinstance(part, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRecord:
    """What a text says."""

    leaves: list[Leaf] = field(default_factory=list)
    """In the order of the schema, at least one for each field; none = there is no record."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """What could not be used: (`no_record` | `cut` | `unknown_field` | the reason of a lost value,
    the part)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordShape(Schema):
    """The JSON Schema as it goes out, for replies that are asked for again only if need be.

    What our reading can mend (another case, a fence, a field too many) is worth no second question.
    """

    fields: RecordSchema = field(repr=False, compare=False)

    @classmethod
    def of_record(cls, schema: RecordSchema) -> RecordShape:
        """Of the records of a schema."""
        strict = schema.json_schema
        return cls(name=strict.name, wire=strict.wire, check=strict.check, fields=schema)

    def read(self, text: str) -> Read:
        """Whether any field can be read."""
        there = bool(read_record(text, self.fields).leaves)
        return Read(faults=() if there else ("it is no JSON object with any of the fields",))


def read_record(said: Json, schema: RecordSchema) -> ReadRecord:
    """The record in a reply.

    Args:
        said: the reply as it came, or an object.
        schema: whose fields are looked for.
    """
    found = ReadRecord()
    known = frozenset(map(key_of, schema.fields))
    if isinstance(said, str):
        record = _in_text(said.lstrip("\ufeff"), known, found)
    else:
        record = _best(said, known)
    if record is None:
        found.faults.append(("no_record", f"{said!r:.200}"))
        return found
    _read_fields(record, schema.fields, (), found)
    for leaf in found.leaves:
        if leaf.state == "lost":
            found.faults.append((leaf.reason, f"{leaf.name}: {leaf.detail}"))
    return found


def _in_text(text: str, known: frozenset[str], found: ReadRecord) -> Fields | None:
    plain = _STRING_OR_COMMA.sub(lambda match: match[1] or "", text)
    values = list(json_values(plain))
    best = max(
        (record for value in values if (record := _best(value, known)) is not None),
        key=lambda record: _hits(record, known),
        default=None,
    )
    if values and values[0] is not None:
        return best
    # The first brace does not close: of what it opens, the parts before the cut.
    start = plain.find("{")
    if start >= 0:
        try:
            whole = _without_cut_number(plain[start:].rstrip())
            value = from_json(whole, allow_partial=True, allow_inf_nan=False)
        except ValueError:
            value = None
        cut = _best(value, known)
        if cut is not None and (best is None or _hits(cut, known) >= _hits(best, known)):
            found.faults.append(("cut", text[-80:]))
            return cut
    return best


def _without_cut_number(text: str) -> str:
    """Without the digits at the end: 12 may be of 1,234."""
    bare = text.rstrip("+-.0123456789eE")
    return bare if any(c.isdigit() for c in text[len(bare) :]) else text


def _hits(record: Fields, known: frozenset[str]) -> int:
    return len(known.intersection(map(key_of, record)))


def _best(value: Json, known: frozenset[str]) -> Fields | None:
    """The object with most of the fields: the value itself, or one right inside of it."""
    inside: list[Json] = [value]
    if isinstance(value, Mapping):
        inside.extend(value.values())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        inside.extend(value)
    records = [one for one in inside if isinstance(one, Mapping) and _hits(one, known)]
    return max(records, key=lambda one: _hits(one, known), default=None)


def _read_fields(
    record: Fields, fields: Mapping[str, RecordField], before: Path, found: ReadRecord
) -> None:
    """Leaves for all fields of a record, and what is said of others as faults."""
    named = {key_of(name): name for name in fields}
    said: dict[str, Json] = {name: record[name] for name in fields if name in record}
    for key, value in record.items():
        name = named.get(key_of(key))
        if name is None or (name in said and key != name):
            found.faults.append(("unknown_field", f"{key}: {value!r}"[:200]))
        else:
            said[name] = value
    for name, one in fields.items():
        path = (*before, name)
        if name not in said:
            found.leaves.append(Leaf(path=path, state="missing"))
        elif one.many:
            _read_list(said[name], one, path, found)
        else:
            _read_one(said[name], one, path, found)


def _read_one(said: Json, one: RecordField, path: Path, found: ReadRecord) -> None:
    if one.type == "record":
        inner = _best(said, frozenset(map(key_of, one.fields)))
        if inner is not None:
            _read_fields(inner, one.fields, path, found)
        else:
            value, _ = _apart(said)
            found.leaves.append(_empty(value, path))
        return
    value, evidence = _apart(said)
    if evidence is not None and len(evidence) > LONGEST_EVIDENCE:
        evidence = None
    # An object was cut before its value came.
    if isinstance(said, Mapping) and not _has_value(said) and (value is None or not said):
        found.leaves.append(Leaf(path=path, state="missing", evidence=evidence))
        return
    try:
        plain = normal(_alone(value), one)
    except NotNormal as error:
        lost = Leaf(path=path, state="lost", reason=error.reason, detail=error.detail[:200])
        found.leaves.append(replace(lost, evidence=evidence))
        return
    state: State = "null" if plain is None else "value"
    found.leaves.append(Leaf(path=path, state=state, value=plain, evidence=evidence))


def _read_list(said: Json, one: RecordField, path: Path, found: ReadRecord) -> None:
    shared: str | None = None
    if isinstance(said, Mapping) and _has_value(said):
        said, shared = _apart(said)
    if isinstance(said, str) or not isinstance(said, Sequence):
        said = [said] if said is not None else None
    items = [item for item in said or () if item is not None][:MOST_ITEMS]
    if not items:
        none = Leaf(path=path, state="null")
        found.leaves.append(none if said is None else replace(none, state="value", value=[]))
        return
    for at, item in enumerate(items):
        if shared is not None and not isinstance(item, Mapping):
            item = {VALUE: item, EVIDENCE: shared}
        _read_one(item, one, (*path, at), found)


def _empty(value: Json, path: Path) -> Leaf:
    """For a record that is none."""
    if value is None:
        return Leaf(path=path, state="null")
    detail = f"no object with the fields of {path[0]}: {value!r:.200}"
    return Leaf(path=path, state="lost", reason="not_a_record", detail=detail)


def _has_value(said: Fields) -> bool:
    return any(key_of(key) == VALUE for key in said)


def _apart(said: Json) -> tuple[Json, str | None]:
    """A value, and the evidence that stands beside it."""
    if not isinstance(said, Mapping):
        return said, None
    named = {key_of(key): part for key, part in said.items()}
    quotes = (_text_of(named[key]) for key in _EVIDENCES if key in named)
    evidence = next((quote for quote in quotes if quote is not None), None)
    if VALUE in named:
        return named[VALUE], evidence
    if evidence is not None:
        return None, evidence
    return said, None  # an amount with its currency


def listed(one: RecordField, path: Path, leaves: Sequence[Leaf]) -> list[tuple[int, Json]]:
    """The items of a list that have a value, each with its place in the reply."""
    places = sorted({p for leaf in leaves if isinstance(p := _at(leaf, path), int)})
    items = [(place, _item(one, (*path, place), leaves)) for place in places]
    return [(place, item) for place, item in items if not is_void(item)]


def _text_of(value: Json) -> str | None:
    """A text, or the first one of a list of quotes."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = next((one for one in value if isinstance(one, str)), None)
    return value if isinstance(value, str) else None


def _alone(value: Json) -> Json:
    """The one item of a list, where one value was asked for."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
        return value[0]
    return value


def _built(one: RecordField, path: Path, leaves: Sequence[Leaf]) -> Json:
    here = [leaf for leaf in leaves if leaf.path[: len(path)] == path]
    if not one.many:
        return _item(one, path, here)
    if any(leaf.path == path and leaf.value == [] for leaf in here):
        return []
    return [item for _, item in listed(one, path, here)] or None


def _at(leaf: Leaf, path: Path) -> str | int | None:
    """The next part of the leaf's path, where it goes on from this one."""
    goes_on = len(leaf.path) > len(path) and leaf.path[: len(path)] == path
    return leaf.path[len(path)] if goes_on else None


def _item(one: RecordField, path: Path, leaves: Sequence[Leaf]) -> Json:
    if one.type == "record":
        parts = {name: _built(sub, (*path, name), leaves) for name, sub in one.fields.items()}
        return None if is_void(parts) else parts
    return next((leaf.value for leaf in leaves if leaf.path == path), None)


def is_void(value: Json) -> bool:
    """Whether nothing is known: null, or a record of nulls."""
    if isinstance(value, Mapping):
        return all(part is None for part in value.values())
    return value is None


def as_rows(leaves: Sequence[Leaf]) -> list[Json]:
    """The leaves as JSON, for a row."""
    rows: list[Json] = []
    for leaf in leaves:
        row: dict[str, Json] = {"path": [*leaf.path], "state": leaf.state, "value": leaf.value}
        row["evidence"] = leaf.evidence
        row |= {} if leaf.span is None else {"span": leaf.span}
        row |= {"reason": leaf.reason, "detail": leaf.detail} if leaf.reason else {}
        rows.append(row)
    return rows


def from_rows(value: Json) -> Iterator[Leaf]:
    """The leaves that `as_rows` wrote.

    Raises:
        ValueError: they are none; the message shows what is there.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list of leaves, got {value!r:.80}")
    for one in value:
        said = one if isinstance(one, Mapping) else {}
        path, state, span = said.get("path"), said.get("state"), said.get("span")
        known = [name for name in get_args(State) if name == state]
        if not isinstance(path, Sequence) or isinstance(path, str) or not known:
            raise ValueError(f"must hold leaves ({{path, state, ...}}), got {one!r:.80}")
        evidence = said.get("evidence")
        yield Leaf(
            path=tuple(part if isinstance(part, int) else str(part) for part in path),
            state=known[0],
            value=said.get("value"),
            evidence=evidence if isinstance(evidence, str) else None,
            span=span if isinstance(span, Mapping) else None,
            reason=str(said.get("reason", "")),
            detail=str(said.get("detail", "")),
        )
