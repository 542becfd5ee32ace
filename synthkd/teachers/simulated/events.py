"""The world `commonsense`: things that people do, what comes with them, and what does not.

It knows five kinds of events, and for each kind what is wanted, felt, needed and so on. A mistake
is a tail of another kind of event, one that answers another question ("tired" where it is asked
what somebody wants), or one that says nothing: what a critic is to find.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import orjson

from synthkd.errors import PromptError
from synthkd.graphs.persons import with_names
from synthkd.graphs.relations import known_relations
from synthkd.rows import Fields
from synthkd.teachers.simulated.world import Role, role_of

ABLE: tuple[Role, ...] = ("commonsense",)
RELATIONS = ("xWant", "xAttr", "xIntent", "xEffect", "xReact", "xNeed", "HinderedBy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Events that much the same comes with."""

    frames: Sequence[tuple[str, Sequence[str]]]
    """What is done, with `{}` for one of these."""
    tails: Sequence[Sequence[str]]
    """Right ones, by relation in the order of `RELATIONS`."""

    def events(self) -> Iterator[str]:
        """All of them."""
        for frame, things in self.frames:
            yield from (f"PersonX {frame.format(thing)}" for thing in things)


KINDS: Mapping[str, Kind] = {
    "help": Kind(
        frames=(
            ("repairs PersonY's {}", ("bike", "roof", "radio", "fence")),
            ("carries PersonY's {}", ("bags", "boxes", "shopping")),
            ("helps PersonY with the {}", ("garden", "homework", "luggage")),
        ),
        tails=(
            ("to hear a thank you", "to have a rest", "to wash both hands"),
            ("kind", "helpful", "handy"),
            ("to be of use to PersonY", "to spare PersonY the work"),
            ("gets tired", "is thanked by PersonY", "gets dirty hands"),
            ("useful", "content", "needed"),
            ("to have an hour to spare", "to be asked by PersonY"),
            ("PersonY wants no help", "PersonX has hurt a hand"),
        ),
    ),
    "cook": Kind(
        frames=(
            ("bakes a {} for PersonY", ("cake", "pie", "loaf of bread")),
            ("cooks {} for dinner", ("soup", "rice", "fish", "noodles")),
            ("makes {} for the guests", ("coffee", "pancakes", "lemonade")),
        ),
        tails=(
            ("to taste it", "to set the table", "to do the dishes"),
            ("hospitable", "a good cook", "caring"),
            ("to have something to eat", "to feed everybody"),
            ("smells of food", "makes the kitchen messy", "is asked for the recipe"),
            ("hungry", "proud of the meal"),
            ("to buy the ingredients", "to read a recipe", "to heat the stove"),
            ("the stove is broken", "there is no flour in the house"),
        ),
    ),
    "lose": Kind(
        frames=(
            ("loses the {}", ("keys", "wallet", "passport", "umbrella")),
            ("forgets PersonY's {}", ("birthday", "name", "address")),
            ("misses the {}", ("bus", "flight", "appointment")),
        ),
        tails=(
            ("to say sorry", "to look everywhere", "to make up for it"),
            ("forgetful", "careless", "scatterbrained"),
            ("by mistake", "without meaning to"),
            ("is late", "has to start again", "gets a reproach"),
            ("annoyed", "ashamed", "worried"),
            ("to be in a hurry", "to think of something else"),
            ("PersonX has written it down", "somebody reminds PersonX of it"),
        ),
    ),
    "learn": Kind(
        frames=(
            ("studies {} at night", ("chemistry", "Latin", "law")),
            ("practises the {} every day", ("violin", "piano", "high jump")),
            ("takes lessons in {}", ("Spanish", "swimming", "chess", "driving")),
        ),
        tails=(
            ("to pass the test", "to show what was learnt", "to go on to the next level"),
            ("ambitious", "eager to learn", "patient"),
            ("to get better at it", "to find a better job"),
            ("makes progress", "has little free time", "learns something new"),
            ("proud of the progress", "challenged"),
            ("to find a teacher", "to have a goal", "to set an alarm"),
            ("the lessons cost too much", "PersonX gives up easily"),
        ),
    ),
    "quarrel": Kind(
        frames=(
            ("shouts at PersonY in the {}", ("street", "office", "kitchen")),
            ("breaks PersonY's {}", ("window", "phone", "guitar")),
            ("tells lies about PersonY's {}", ("past", "work", "marriage", "family")),
        ),
        tails=(
            ("to get even with PersonY", "to leave in anger", "to be right"),
            ("rude", "hot-tempered", "unfair"),
            ("to hurt PersonY", "to let off steam"),
            ("is avoided by PersonY", "loses a friend", "has to apologise"),
            ("furious", "guilty afterwards"),
            ("to be provoked by PersonY", "to have lost all patience"),
            ("PersonX keeps calm", "PersonY is far away"),
        ),
    ),
}
MISTAKES = ("another event", "another relation", "says nothing")
EMPTY = ("to do something", "things like that", "to be there", "is a person", "it is what it is")
NO_EVENTS = (
    "It rains all day",
    "A friend of PersonX is there",
    "PersonX (who is old) walks / runs",
    "PersonX wakes up, gets dressed, has tea, feeds the cat, opens the door, goes out and runs",
)


class Events:
    """See the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float) -> None:
        self._error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """Events, tails or a verdict, as the inputs ask: `statement`, `opening` or `examples`."""
        role_of(prompt, ABLE, "commonsense")
        if "statement" in inputs:
            right = holds(str(inputs["statement"]))
            right = not right if rng.random() < self._error_rate else right
            labels = inputs.get("labels")
            words = labels if isinstance(labels, Sequence) else ("holds", "fails")
            return orjson.dumps({"label": words[0 if right else 1], "confidence": 0.9}).decode()
        count = int(str(inputs.get("count", 5)))
        if "opening" in inputs:
            return orjson.dumps(self._tails(str(inputs["opening"]), count, rng)).decode()
        told = [
            rng.choice(NO_EVENTS) if rng.random() < self._error_rate else rng.choice(_all_events())
            for _ in range(count)
        ]
        return orjson.dumps(told).decode()

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """A next event of its own."""
        return '\n\nPersonX feeds the neighbours\' cat\n["to be thanked"]'

    def _tails(self, opening: str, count: int, rng: random.Random) -> list[str]:
        """Ways to go on; at the error rate of another kind of event, or of another relation."""
        kind, relation, names = _read(opening)
        told: list[str] = []
        for _ in range(count):
            whose, which = kind, relation
            mistake = rng.choice(MISTAKES) if rng.random() < self._error_rate else None
            if mistake == "says nothing":
                told.append(rng.choice(EMPTY))
                continue
            if mistake == "another event":
                whose = rng.choice([one for one in KINDS if one != kind])
            elif mistake == "another relation":
                which = rng.choice([one for one in RELATIONS if one != relation])
            told.append(with_names(rng.choice(_right(whose, which)), names))
        return told


def holds(statement: str) -> bool:
    """Whether the tail of a statement is one of its event and relation."""
    kind, relation, names = _read(statement)
    right = (with_names(tail, names) for tail in _right(kind, relation))
    return any(statement.rstrip(". ").endswith(f" {tail}") for tail in right)


def _right(kind: str, relation: str) -> Sequence[str]:
    return KINDS[kind].tails[RELATIONS.index(relation)]


@cache
def _all_events() -> tuple[str, ...]:
    return tuple(event for kind in KINDS.values() for event in kind.events())


@cache
def _openings() -> Sequence[tuple[re.Pattern[str], str, str]]:
    """How each event begins a statement of each relation, with groups for the names."""
    known = known_relations()
    return [
        (re.compile(_with_groups(known[relation].opening(event))), kind, relation)
        for kind, about in KINDS.items()
        for event in about.events()
        for relation in RELATIONS
    ]


def _with_groups(opening: str) -> str:
    """A pattern in which a person is any word, and the same one at all its places."""
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        person = match[0]
        if person in seen:
            return f"(?P={person})"
        seen.add(person)
        return rf"(?P<{person}>\w+)"

    return re.sub("Person[XY]", group, re.escape(opening))


def _read(text: str) -> tuple[str, str, dict[str, str]]:
    """Kind of event, relation and names of a statement or its opening."""
    for form, kind, relation in _openings():
        if match := form.match(text):
            return kind, relation, match.groupdict()
    raise PromptError(f"the simulated world 'commonsense' knows nothing of {text!r:.120}")
