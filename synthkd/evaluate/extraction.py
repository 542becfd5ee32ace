"""F1 of spans, of triples and of mentions, over all rows together (micro-average).

All are strict: a span counts when start, end and label are gold's, a triple when all three parts
are, a mention when its letters and what was asked for are. What a row names twice counts once.
Answers may be lists, or JSON text of a list, as a student writes it; one that cannot be read names
nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence

import orjson

from synthkd.evaluate.scored import Scored, f1_of
from synthkd.graphs.notation import json_values, read_triples
from synthkd.graphs.triple import triple_of
from synthkd.rows import Json
from synthkd.text import equivalent, normalised

Things = frozenset[Hashable]
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def span_f1(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """F1 of `[{start, end, label}, ...]`; `type` is another name for the label."""
    return _f1(gold, given, spans_of)


def triple_f1(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """F1 of `[[subject, predicate, object], ...]`, or of objects with such keys.

    Each part is compared as answers are (`synthkd.text.equivalent`). A text is read as a teacher's
    is (`synthkd.graphs.notation`): the lines that `triples.write` makes, whole or cut, count too.
    """
    return _f1(gold, given, triples_of)


def spans_of(value: Json) -> Things | None:
    """Start, end and label of each span; None = the value is no list of spans."""
    return _things(value, _span)


def triples_of(value: Json) -> Things | None:
    """The parts of each triple; None = the value is no list of triples."""
    if isinstance(value, str):
        written = read_triples(value)
        value = None if written.way == "none" else [list(one.parts) for one in written.triples]
    return _things(value, _triple)


def mention_f1(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """F1 of (question, mention), without offsets.

    Of `["Ada", ...]`, the answer to one question, `[{type, mentions: [...]}, ...]`, or
    `[{text, type}, ...]`. As UniversalNER (arXiv 2308.03279) compares mentions: in lower case,
    without punctuation, articles and further blanks. The first JSON list in a text counts; brackets
    inside of a mention do not end it.
    """
    return _f1(gold, given, mentions_of)


def mentions_of(value: Json) -> Things | None:
    """(question, mention) of each mention; None = the value is no list of them."""
    if isinstance(value, str):
        value = next((one for one in json_values(value) if one is not None), None)
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        return None
    found: set[Hashable] = set()
    for one in value:
        if isinstance(one, str):
            found.add(("", _mention(one)))
            continue
        said = one if isinstance(one, Mapping) else {}
        kind, names = said.get("type"), said.get("mentions", [said.get("text")])
        if not isinstance(kind, str) or not isinstance(names, Sequence) or isinstance(names, str):
            return None
        for name in names:
            if not isinstance(name, str):
                return None
            found.add((equivalent(kind), _mention(name)))
    return frozenset(found)


def _mention(name: str) -> str:
    """One spelling for all mentions that count as the same; a sign alone stays."""
    text = normalised(name)
    letters = "".join(c for c in text if unicodedata.category(c)[0] not in "PS")
    return " ".join(_ARTICLE.sub(" ", letters).split()) or text


def _f1(
    gold: Sequence[Json], given: Sequence[Json], read: Callable[[Json], Things | None]
) -> Scored:
    wanted = [read(one) or frozenset() for one in gold]
    named = [read(one) or frozenset() for one in given]
    hits = [len(w & n) for w, n in zip(wanted, named, strict=True)]
    return f1_of(hits, list(map(len, named)), list(map(len, wanted)))


def _things(value: Json, read: Callable[[Json], Hashable]) -> Things | None:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        return None
    things = [read(one) for one in value]
    return None if None in things else frozenset(things)


def _span(value: Json) -> Hashable:
    if not isinstance(value, Mapping):
        return None
    start, end, label = value.get("start"), value.get("end"), value.get("label", value.get("type"))
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str)):
        return None
    return start, end, label


def _triple(value: Json) -> Hashable:
    triple = triple_of(value)
    return None if triple is None else tuple(map(equivalent, triple.parts))
