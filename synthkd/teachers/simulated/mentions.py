"""The world `mentions`: finds the names in plain sentences, with their types.

It reads the sentences of the world `facts` and knows of what type heads and tails are. A mistake is
one that models make: a name is left out (dropped), loses a word or takes the one before it along
(shifted), has another type (mistyped), or is one that the text does not have (invented).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import orjson

from synthkd.graphs.mention import type_name
from synthkd.rows import Fields
from synthkd.teachers.simulated.facts import INVENTED, facts_of
from synthkd.teachers.simulated.world import Role, role_of, text_in

ABLE: tuple[Role, ...] = ("ner",)
TYPES = {
    "born in": ("person", "city"),
    "works for": ("person", "company"),
    "founded": ("person", "company"),
    "located in": ("building", "city"),
    "capital of": ("city", "country"),
    "wrote": ("person", "book"),
    "married to": ("person", "person"),
}
"""Of what type head and tail of each relation are."""
DEFINITIONS = {
    "person": "a human being with a name",
    "city": "a settlement where many people live",
    "company": "a business that makes or sells things",
    "building": "a thing that was built, with walls or spans",
    "country": "a land with a government of its own",
    "book": "a longer text that somebody wrote and published",
}
MISTAKES = ("dropped", "shifted", "mistyped", "invented")


def names_of(text: str) -> dict[str, str]:
    """The names in the sentences that state something, each with its type."""
    names: dict[str, str] = {}
    for _, (head, relation, tail) in facts_of(text):
        for name, kind in zip((head, tail), TYPES[relation], strict=True):
            names.setdefault(name, kind)
    return names


class Mentions:
    """See the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float) -> None:
        self._error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """A JSON list of mentions, some of them wrong at the error rate."""
        role_of(prompt, ABLE, "mentions")
        text = text_in(inputs, prompt, "mentions")
        told: list[list[str]] = []
        for name, kind in names_of(text).items():
            mistake = rng.choice(MISTAKES) if rng.random() < self._error_rate else None
            if mistake == "dropped":
                continue
            if mistake == "shifted":
                name = _shifted(name, text, rng)
            elif mistake == "mistyped":
                kind = rng.choice([one for one in DEFINITIONS if one != kind])
            elif mistake == "invented":
                name = rng.choice(INVENTED)
            told.append([name, kind])
        wanted = inputs.get("types")
        if isinstance(wanted, Sequence) and not isinstance(wanted, str):
            spelled = {type_name(str(one), singular=True): str(one) for one in wanted}
            told = [[name, spelled[kind]] for name, kind in told if kind in spelled]
        elif prompt.endswith("/define"):
            told = [[name, kind, DEFINITIONS[kind]] for name, kind in told]
        return orjson.dumps(told).decode()

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """A next text with its mentions."""
        return '\n\nText: Lars Adler wrote Night Ferry.\n[["Lars Adler", "person"]]'


def _shifted(name: str, text: str, rng: random.Random) -> str:
    """Without its first or last word, or with the word before it."""
    words = name.split()
    if len(words) > 1:
        return " ".join(words[1:] if rng.random() < 0.5 else words[:-1])
    before = text[: text.find(name)].split()
    return " ".join([*before[-1:], name])
