"""What a triple is: a head, a relation and a tail, and when two of them are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from synthkd.errors import RowError
from synthkd.rows import Json
from synthkd.text import answer_text

KEYS = (("head", "relation", "tail"), ("subject", "predicate", "object"))
"""What the parts are called where a triple is an object; the first is how we write it."""
OTHER_NAMES = {"sub": "head", "subj": "head", "rel": "relation", "pred": "relation", "obj": "tail"}
LONGEST_PART = 500
"""Characters: what is longer is no name but a passage."""

PartsKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Triple:
    """A fact: `Triple("Erfurt", "country", "Germany")`."""

    head: str
    relation: str
    tail: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """Head, relation and tail."""
        return self.head, self.relation, self.tail

    @property
    def key(self) -> PartsKey:
        """The same for all spellings of the triple: letters and digits alone, case folded."""
        return spelling(self.head), spelling(self.relation), spelling(self.tail)

    @property
    def fault(self) -> str | None:
        """Why it is none: `empty_part` or `too_long`; None = it is one."""
        if not all(self.key):
            return "empty_part"
        return "too_long" if max(map(len, self.parts)) > LONGEST_PART else None


@lru_cache(maxsize=65536)
def spelling(text: str) -> str:
    """Letters and digits alone, case folded: "cast_member" is "Cast member".

    A name without any letter or digit ("+", "C++" is no such case) stays as it is.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in folded if c.isalnum() or unicodedata.category(c) in ("Mn", "Mc"))
    return kept or "".join(folded.split())


def is_part(key: str) -> bool:
    """Whether an object's key names a part of its triple."""
    name = OTHER_NAMES.get(key.lower(), key.lower())
    return any(name in keys for keys in KEYS)


def triple_of(value: Json) -> Triple | None:
    """A list of three or an object as a triple; None = it is none. Numbers count as written out."""
    if isinstance(value, Mapping):
        named = {OTHER_NAMES.get(key.lower(), key.lower()): part for key, part in value.items()}
        keys = next((keys for keys in KEYS if named.keys() >= set(keys)), None)
        if keys is None:
            return None
        value = [named[key] for key in keys]
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != len(KEYS[0]):
        return None
    head, relation, tail = (answer_text(part) for part in value)
    if head is None or relation is None or tail is None:
        return None
    return Triple(*(" ".join(part.split()) for part in (head, relation, tail)))


def triples_in(value: Json, field: str) -> list[tuple[Triple, Json]]:
    """The triples that a row's field holds, each with the value that it was read from.

    Raises:
        RowError: it is no list of triples; the message shows the first that is none.
    """
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise RowError(f"{field} must be a list of triples, got {value!r:.80}")
    found: list[tuple[Triple, Json]] = []
    for one in value:
        triple = triple_of(one)
        if triple is None:
            raise RowError(
                f"{field} must hold triples ([head, relation, tail], or objects with these keys),"
                f" got {one!r:.80}"
            )
        found.append((triple, one))
    return found


def distinct(triples: Iterable[Triple]) -> list[Triple]:
    """Each triple once, in the spelling that came first."""
    seen: dict[PartsKey, Triple] = {}
    for triple in triples:
        seen.setdefault(triple.key, triple)
    return list(seen.values())
