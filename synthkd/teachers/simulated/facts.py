"""The world `facts`: reads what plain sentences state, as triples.

It knows the sentences of a few relations ("Ada was born in London.") and whom "she" means: the
subject of the sentence before. A mistake is one that models make: a name out of nowhere, the name
of a kind in place of a thing, or a relation that is another; of a passage that is to be rewritten a
short account, of its entities one left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

import orjson

from synthkd.rows import Fields
from synthkd.teachers.simulated.world import Role, role_of, text_in

ABLE: tuple[Role, ...] = ("triples", "synthkg")

_LINKS = r"(?: (?:of|the|and|for|from|to|de|von))*"
NAME = rf"[A-Z][\w'\u2019-]*(?:{_LINKS} [A-Z][\w'\u2019-]*)*"
PRONOUN = r"(?:He|She|It|They)"
FORMS = {
    "born in": r"was born in",
    "works for": r"works for",
    "founded": r"founded",
    "located in": r"(?:is located|lies|stands) in",
    "capital of": r"is the capital of",
    "wrote": r"wrote",
    "married to": r"is married to",
}
"""How each relation is put into words."""
TYPES = {
    "born in": ("person", "city"),
    "works for": ("person", "company"),
    "founded": ("person", "company"),
    "located in": ("building", "city"),
    "capital of": ("city", "country"),
    "wrote": ("person", "book"),
    "married to": ("person", "person"),
}
"""Of what kind heads and tails are."""
INVENTED = ("Nowhere Hall", "Lars Adler", "Port Amity", "Vera Quill")
KINDS = ("person", "city", "country", "company", "book")

Fact = tuple[str, str, str]


def facts_of(text: str) -> Iterator[tuple[str, Fact]]:
    """The sentences that state something, each with what it states."""
    subject = ""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        for relation, words in FORMS.items():
            form = rf"^(?:In \d{{4}},? )?(?P<head>{NAME}|{PRONOUN}) {words} (?P<tail>{NAME})"
            if match := re.search(form, sentence):
                head = subject if re.fullmatch(PRONOUN, match["head"]) else match["head"].strip()
                if head:
                    subject = head
                    yield sentence, (head, relation, match["tail"].strip())
                break


class Facts:
    """See the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float) -> None:
        self._error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """A JSON list of triples, some of them wrong at the error rate.

        Of `synthkg/...` the inputs say what is asked: with `before` a passage rewritten, with
        `entities` propositions, else entities. With `statements` it is whether the `premise` has
        each, as verdicts by number.
        """
        role = role_of(prompt, ABLE, "facts")
        if "statements" in inputs:
            return self._verdicts(inputs, rng)
        text = text_in(inputs, prompt, "facts")
        if role == "synthkg":
            return self._passage(text, inputs, rng)
        known = inputs.get("relations")
        wanted = None
        if isinstance(known, Sequence) and not isinstance(known, str):
            wanted = {str(one).partition(" (")[0] for one in known}
        facts = [fact for _, fact in facts_of(text)]
        told = [
            _wrong(fact, rng) if rng.random() < self._error_rate else fact
            for fact in facts
            if wanted is None or fact[1] in wanted
        ]
        return orjson.dumps(told).decode()

    def _passage(self, text: str, inputs: Fields, rng: random.Random) -> str:
        facts = list(facts_of(text))
        if "before" in inputs:
            errs = rng.random() < self._error_rate
            return f"It is about {text[:20]}." if errs else _named(text, str(inputs["before"]))
        if "entities" not in inputs:
            kinds: dict[str, str] = {}
            for _, (head, relation, tail) in facts:
                for name, kind in zip((head, tail), TYPES[relation], strict=True):
                    kinds.setdefault(name, kind)
            listed = [{"name": name, "type": kind} for name, kind in kinds.items()]
            return orjson.dumps([x for x in listed if rng.random() >= self._error_rate]).decode()
        said = [
            {
                "proposition": _named(sentence, fact[0]),
                "triples": [_wrong(fact, rng) if rng.random() < self._error_rate else fact],
            }
            for sentence, fact in facts
        ]
        return orjson.dumps(said).decode()

    def _verdicts(self, inputs: Fields, rng: random.Random) -> str:
        known = {fact for _, fact in facts_of(str(inputs.get("premise", "")))}
        said = inputs["statements"]
        statements = said if isinstance(said, Sequence) and not isinstance(said, str) else []
        told = {}
        for number, one in enumerate(statements, start=1):
            is_so = tuple(str(one).split(" | ")) in known
            right = is_so if rng.random() >= self._error_rate else not is_so
            told[str(number)] = "yes" if right else "unclear"
        return orjson.dumps(told).decode()

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """A next text with its facts."""
        return '\n\nText: Lars Adler wrote Night Ferry.\n[["Lars Adler", "wrote", "Night Ferry"]]'


def _named(text: str, before: str) -> str:
    """The text with a name in place of each pronoun that begins a sentence.

    Args:
        text: what is rewritten; its blanks stay as they are.
        before: a name, or a text whose last subject is the first that a pronoun may mean.
    """
    heads = [head for _, (head, _, _) in facts_of(before)]
    subject = heads[-1] if heads else before if re.fullmatch(NAME, before) else ""
    parts = re.split(r"((?<=[.!?])\s+)", text)
    for place, part in enumerate(parts):
        opening = re.match(rf"(?P<year>In \d{{4}},? )?{PRONOUN}\b", part)
        if opening and subject:
            parts[place] = f"{opening['year'] or ''}{subject}{part[opening.end() :]}"
        for _, (head, _, _) in facts_of(parts[place]):
            subject = head
    return "".join(parts)


def _wrong(fact: Fact, rng: random.Random) -> Fact:
    head, relation, tail = fact
    kind = rng.randrange(3)
    if kind == 0:
        return head, relation, rng.choice(INVENTED)
    if kind == 1:
        return head, relation, rng.choice(KINDS)
    return head, rng.choice([one for one in FORMS if one != relation]), tail
