r"""Triples out of what somebody wrote. Pure: text in, a `Written` out, nothing raised.

    >>> read_triples("director(Bleach, Noriyuki Abe)\ncountry(Bleach, Japan").triples
    [Triple(head='Bleach', relation='director', tail='Noriyuki Abe')]

Four ways of writing are read, the first that has any triple:

* JSON: a list of triples, or objects with `triples` (or `triplets`) and perhaps a `proposition`;
  alone, in a fence, one object a line, or cut in the middle: what is whole before the cut counts.
* calls: `relation(head, tail)`, several on a line or one a line. Brackets inside of a part are read
  where they are balanced; of several commas the one that leaves both sides standing in the text
  divides, else the first.
* bars: `head | relation | tail`, `<head; relation; tail>`, tabs; one a line.

`write_graph` is the grammar that students learn: a line of JSON a proposition, or a triple. A comma
or a bracket needs no care there, and an answer that was cut loses its last line alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from synthkd.graphs.ground import stands_in
from synthkd.graphs.triple import Triple, triple_of
from synthkd.rows import Json

MOST_TRIPLES = 20_000
"""Of one text: what goes on for ever ends there."""
MOST_BROKEN = 200
"""Brackets that open and do not close."""
MOST_LEVELS = 100
"""Lists and objects inside of each other."""
_OPENING = re.compile(r"[\[{]")
_LISTS = ("triples", "triplets", "relations", "facts")
_PROPOSITIONS = ("propositions", "graph", "result", "data")
_CALL = re.compile(
    r"(?:^|(?<=[):,;]))\s*(?P<words>\w[\w\-/&'\u2019]*(?: [\w\-/&'\u2019]+){1,5})[ \t]*\("
    r"|(?<!\w)(?<!\w[\-/&'\u2019])(?P<word>\w[\w\-/&'\u2019]*)[ \t]*\("
)
"""A relation of several words begins a line, or follows what came before; in a line that is no list
of calls, as a sentence, it is the word before the bracket. No word is tried from its middle: a
reply that is one letter over and over would take a minute."""
_BULLET = re.compile(r"^\s*(?:\d{1,4}[.):]|[-*\u2022])\s+")
_BARS = (re.compile(r"\|"), re.compile(r"\t+"), re.compile(";"))
_NOTHING = re.compile(r"\W*(?:json)?\s*(?:\[\s*\]|\{\s*\"\w+\"\s*:\s*\[\s*\]\s*\})\W*")
"""An empty list, alone or in an object or a fence: an answer, which says that nothing is there."""
LONGEST_NOTHING = 200
"""Characters of a reply that says nothing: what is longer says something else."""
_ESCAPED = re.compile(r"\\([_*|()\[\]#-])")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a text says."""

    triples: list[Triple] = field(default_factory=list)
    """In the order of the text, twice where they stand twice."""
    propositions: list[str | None] = field(default_factory=list)
    """For each triple the sentence that it came with, if it came with one."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """What could not be used: (`empty_part` | `too_long` | `no_triple` | `cut`, the part)."""
    way: str = "none"
    """`json`, `calls`, `bars`, or `none`: nothing of the kind stands there."""


def read_triples(text: str, *, source: str = "") -> Written:
    """The triples in a reply.

    Args:
        text: the reply as it came.
        source: the text that the triples are about; tells which of several commas divides.
    """
    text = text.lstrip("\ufeff")
    faults: list[tuple[str, str]] = []
    for way, read in (("json", _json), ("calls", _calls), ("bars", _bars)):
        found = Written(way=way)
        read(text, source, found)
        if found.triples:
            return found
        faults = faults or found.faults
    short = text.strip()[: LONGEST_NOTHING + 1]
    is_nothing = len(short) <= LONGEST_NOTHING and _NOTHING.fullmatch(short)
    return Written(way="json" if is_nothing else "none", faults=faults)


def write_graph(graph: Iterable[tuple[str | None, Sequence[Triple]]]) -> str:
    """The grammar of students, one JSON value a line.

    `{"proposition": ..., "triples": [[head, relation, tail], ...]}` for each proposition, or
    `[head, relation, tail]` for each triple that came without one.

    Args:
        graph: propositions with their triples; None = they came without.
    """
    lines: list[Json] = []
    for proposition, triples in graph:
        parts: list[Json] = [list(triple.parts) for triple in triples]
        alone = proposition is None
        lines.extend(parts if alone else [{"proposition": proposition, "triples": parts}])
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


def _take(triple: Triple, proposition: str | None, found: Written) -> None:
    if (fault := triple.fault) is not None:
        found.faults.append((fault, " | ".join(triple.parts)[:200]))
    elif len(found.triples) < MOST_TRIPLES:
        found.triples.append(triple)
        found.propositions.append(proposition)


def _json(text: str, source: str, found: Written) -> None:
    broken = False
    for value in json_values(text):
        if value is None:
            broken = True
        else:
            _from_value(value, None, found)
    if broken and found.triples:
        found.faults.append(("cut", text[-80:]))


def json_values(text: str) -> Iterator[Json]:
    """Every JSON list or object in the text that is whole, and None for one that is not.

    Of one that is cut or broken its whole parts follow. A text of brackets alone is given up after
    `MOST_BROKEN` of them, since each may be read to the end of the text.
    """
    at = broken = 0
    while (match := _OPENING.search(text, at)) and broken < MOST_BROKEN:
        try:
            value, at = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            value = None
        if value is None or _is_deep(value):
            value, at, broken = None, match.start() + 1, broken + 1
        yield value


def _is_deep(value: Json) -> bool:
    """Whether it is nested beyond any sense: who walks through it would not come back."""
    level: list[Json] = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _from_value(value: Json, proposition: str | None, found: Written) -> None:
    """Takes what there is in a JSON value."""
    if (triple := triple_of(value)) is not None:
        _take(triple, proposition, found)
        return
    inner: Iterable[Json] = ()
    if isinstance(value, Mapping):
        named = {key.lower(): part for key, part in value.items()}
        said = named.get("proposition", named.get("sentence"))
        proposition = said if isinstance(said, str) else proposition
        inner = [named[key] for key in (*_LISTS, *_PROPOSITIONS) if key in named]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        inner = value
    for one in inner:
        _from_value(one, proposition, found)


def _lines(text: str) -> list[str]:
    """Its lines, without the backslashes that Markdown wants before `_` and its like."""
    return _ESCAPED.sub(r"\1", text).split("\n")


def _calls(text: str, source: str, found: Written) -> None:
    for line in _lines(text):
        line, at = _BULLET.sub("", line), 0
        listed = line.rstrip(" \r.;,").endswith(")")
        while match := _CALL.search(line, at):
            inside, at = _balanced(line, match.end())
            if inside is None:
                found.faults.append(("cut", line[match.start() :][:200]))
                break
            if _CALL.match(inside) and inside.endswith(")"):  # "the triple (born in(Ada, London))"
                at = match.end()
                continue
            relation = match["words"] or match["word"]
            relation = relation if listed else relation.split()[-1]
            pair = _divided(inside, source)
            if pair is None:
                found.faults.append(("no_triple", f"{relation}({inside})"[:200]))
            else:
                _take(Triple(pair[0], relation, pair[1]), None, found)


def _balanced(line: str, start: int) -> tuple[str | None, int]:
    """What stands up to the bracket that closes, and where to go on; None = none does."""
    depth = 1
    for at in range(start, len(line)):
        depth += (line[at] == "(") - (line[at] == ")")
        if depth == 0:
            return line[start:at], at + 1
    closing = line.rfind(")", start)  # an opening bracket too many: the last one closes
    return (None, len(line)) if closing < 0 else (line[start:closing], closing + 1)


def _divided(inside: str, source: str) -> tuple[str, str] | None:
    """Head and tail: at the comma that leaves both standing in the source, else at the first."""
    places = [at for at, c in enumerate(inside) if c == ","]
    if not places:
        return None
    sides = [(inside[:at].strip(), inside[at + 1 :].strip()) for at in places[:20]]
    if source and len(sides) > 1:
        for pair in sides:
            if all(part and stands_in(part, source) for part in pair):
                return pair
    return sides[0]


def _bars(text: str, source: str, found: Written) -> None:
    for line in _lines(text):
        bare = _BULLET.sub("", line).strip().strip("<>()[]| \t,")
        for bar in _BARS:
            parts = bar.split(bare)
            if len(parts) == len(Triple.__slots__):
                if set(bare) - set("|-: \t;"):
                    _take(Triple(*(part.strip() for part in parts)), None, found)
                break
