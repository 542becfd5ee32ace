"""`instruct.constraints`: an instruction gets constraints that a fixed checker can verify.

    - use: instruct.constraints          # draws them and says so in the instruction; asks nobody
      with: {most: 3}
    - use: respond
      with: {teacher: main}
    - use: gate.constraints              # what does not keep to them is rejected
      with: {field: output}

In the manner of IFEval (2311.07911). Sets that no answer could satisfy are never drawn: `clash`
says which two constraints exclude each other, and it errs on the safe side. Five at most stand in
one set, because then the words that the others demand always fit under the smallest limit of words.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field, field_validator, model_validator

from synthkd.errors import Rejected
from synthkd.hints import near
from synthkd.recipes.instruct.checkers import (
    CLASSES,
    Phrases,
    Sentences,
    Words,
    read_constraint,
    written,
)
from synthkd.recipes.instruct.constraint import Constraint, times_in
from synthkd.recipes.instruct.elimination import FUNCTION_WORDS
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import normalised

MOST = 5
"""Constraints in one set. More would need a proof that their words fit under `words: {max: 60}`."""
WORDS_IN_SENTENCE = 25
"""So many words a sentence may be forced to have; longer ones are no natural answer."""
VOCABULARY = (
    *("river", "window", "careful", "bridge", "balance", "morning", "garden", "signal"),
    *("history", "measure", "journey", "silver", "pattern", "winter", "market", "reason"),
    *("gentle", "engine", "letter", "harvest", "compass", "lantern", "village", "puzzle"),
)
"""Words that are demanded where `vocabulary` names none: common, and of no topic."""
_OWN = re.compile(r"[^\W\d_]{5,40}")
OPENINGS = ("Here is what matters", "To begin with", "In short", "Let us start at the beginning")
ENDINGS = ("That is all.", "Is there anything else?", "I hope this helps.", "So much for today.")
CHOICES = (["yes", "no", "it depends"], ["true", "false", "unknown"])
LANGUAGES = ("de", "es", "fr", "it", "nl", "pt")

ALONE = frozenset({"choice"})
"""Kinds that leave no room for another."""
EXCLUDE: Mapping[str, frozenset[str]] = {
    # JSON has its own form; what is inside of its strings may still be asked for.
    "json": frozenset(CLASSES)
    - {"words", "keywords", "no_keywords", "keyword", "letter", "no_commas"},
    "quoted": frozenset({"starts_with"}),
    "upper": frozenset({"lower", "capital_words", "language"}),
    # Where a sentence ends is also told by the capital that the next one begins with.
    "lower": frozenset({"capital_words", "language", "sentences"}),
    # English words in an answer that is in another language: nobody could tell which it is.
    "language": frozenset(
        {"keywords", "no_keywords", "keyword", "starts_with", "ends_with", "sections"}
    ),
    # Whether a list or a title is a paragraph of its own, people do not agree upon.
    "paragraphs": frozenset({"bullets", "sections", "title", "postscript"}),
    "sentences": frozenset({"bullets", "sections"}),
}  # fmt: skip
"""Which kinds exclude each other, one way round; `clash` looks both ways."""
SHORT = frozenset({"paragraphs", "title", "postscript"})
"""Where the sentences are limited above, each of these could be counted as one more."""


class Material(NamedTuple):
    """Words to draw from."""

    vocabulary: Sequence[str]
    own: Sequence[str] = ()
    """Of the instruction itself: what an answer would say if it were not forbidden."""


Draw = Callable[[random.Random, Material], Mapping[str, Any]]


def _least(*numbers: int) -> Draw:
    return lambda rng, of: {"min": rng.choice(numbers)}


def _exactly(*numbers: int) -> Draw:
    return lambda rng, of: dict.fromkeys(("min", "max"), rng.choice(numbers))


def _either(low: Sequence[int], high: Sequence[int]) -> Draw:
    def draw(rng: random.Random, of: Material) -> Mapping[str, Any]:
        return {"min": rng.choice(low)} if rng.random() < 0.5 else {"max": rng.choice(high)}

    return draw


def _always(**parameters: str) -> Draw:
    return lambda rng, of: parameters


def _some(rng: random.Random, words: Sequence[str]) -> Mapping[str, Any]:
    return {"words": rng.sample(words, rng.randint(1, min(3, len(words))))}


DRAWS: Mapping[str, Draw] = {
    "words": _either((50, 100, 150, 200), (60, 100, 150, 200, 300)),
    "sentences": _either((3, 4, 5, 6, 8), (4, 6, 8, 10, 12)),
    "paragraphs": _exactly(2, 3, 4, 5),
    "bullets": _exactly(3, 4, 5, 6),
    "placeholders": _least(1, 2, 3, 4),
    "highlights": _least(1, 2, 3, 4),
    "capital_words": _least(2, 3, 4, 5, 6),
    "sections": _exactly(2, 3, 4),
    "keyword": lambda rng, of: {"word": rng.choice(of.vocabulary), "min": rng.randint(2, 4)},
    "keywords": lambda rng, of: _some(rng, of.vocabulary),
    "no_keywords": lambda rng, of: _some(rng, of.own or of.vocabulary),
    "letter": lambda rng, of: {"letter": rng.choice("bfgkpvwy"), "min": rng.choice((5, 10, 15))},
    "starts_with": lambda rng, of: {"text": rng.choice(OPENINGS)},
    "ends_with": lambda rng, of: {"text": rng.choice(ENDINGS)},
    "title": _always(),
    "postscript": lambda rng, of: {"marker": rng.choice(("P.S.", "P.P.S."))},
    "quoted": _always(),
    "upper": _always(),
    "lower": _always(),
    "no_commas": _always(),
    "json": _always(),
    "choice": lambda rng, of: {"options": rng.choice(CHOICES)},
    "language": lambda rng, of: {"code": rng.choice(LANGUAGES)},
}
"""Kind -> what is drawn for it."""
BY_DEFAULT = [kind for kind in DRAWS if kind not in {"choice", "language"}]
"""Not those two: few instructions can be answered with yes or no, and a language needs an extra."""


class ConstraintsSettings(StepSettings):
    """Settings of `instruct.constraints`."""

    least: Annotated[int, Field(ge=1, le=MOST)] = 1
    """Constraints in a set, at least; fewer where no further one fits."""
    most: Annotated[int, Field(ge=1, le=MOST)] = 3
    """At most."""
    kinds: list[str] = BY_DEFAULT
    """Which kinds are drawn, all equally often; by default all but `choice` and `language`."""
    vocabulary: Phrases = Field(default=list(VOCABULARY))
    """Words that are demanded; at best such as fit the domain. Forbidden ones are taken from the
    instruction, or from here if it has none of five letters."""
    instruction: str = "instruction"
    """The field with the instruction, which gets the sentences behind an empty line."""
    into: str = "constraints"
    """The field for the constraints as data, `[{kind, ...}]`."""

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: list[str]) -> list[str]:
        for kind in kinds:
            if kind not in DRAWS:
                raise ValueError(f"there is no kind {kind!r}{near(kind, DRAWS)}")
        if not kinds or len(set(kinds)) < len(kinds):
            raise ValueError("must name at least one kind, and each once")
        return kinds

    @model_validator(mode="after")
    def _least_below_most(self) -> ConstraintsSettings:
        if self.least > self.most:
            raise ValueError(f"least {self.least} is above most {self.most}")
        return self


@step(
    "instruct.constraints",
    needs=lambda config: [config.instruction],
    gives=lambda config: [config.instruction, config.into],
)
async def constraints(row: Row, kit: Kit, config: ConstraintsSettings, /) -> AsyncIterator[Row]:
    """Draw constraints for an instruction; asks nobody.

    Gives the instruction with a sentence for each of them, and the constraints as data (`into`),
    for `gate.constraints`. Rejects `empty_instruction`. Figures: how often each kind was drawn.
    """
    instruction = row.fields[config.instruction]
    if not isinstance(instruction, str) or not instruction.strip():
        raise Rejected("empty_instruction", f"{config.instruction} is {instruction!r:.80}")
    found = drawn(kit.rng, config, instruction)
    for one in found:
        kit.count(f"drawn {one['kind']}")
    told = " ".join(read_constraint(one).sentence() for one in found)
    text = f"{instruction.rstrip()}\n\n{told}"
    made: dict[str, Json] = {config.instruction: text, config.into: found}
    yield row.with_fields(**made)


def own_words(instruction: str) -> list[str]:
    """The words of an instruction that say something, each once."""
    words = (word.casefold() for word in _OWN.findall(instruction))
    return [word for word in dict.fromkeys(words) if word not in FUNCTION_WORDS]


def drawn(
    rng: random.Random, config: ConstraintsSettings, instruction: str = ""
) -> list[dict[str, Json]]:
    """A set of constraints that one answer can keep to, as data."""
    material = Material(config.vocabulary, own_words(instruction))
    wanted = rng.randint(config.least, config.most)
    found: list[Constraint] = []
    for kind in rng.sample(config.kinds, len(config.kinds)):
        if len(found) == wanted:
            break
        one = read_constraint({"kind": kind, **DRAWS[kind](rng, material)})
        if not any(clash(one, other) for other in found):
            found.append(one)
    return [written(one) for one in found]


def clash(one: Constraint, other: Constraint) -> bool:
    """Whether no answer, or only an unnatural one, could keep to both."""
    return _excludes(one, other) or _excludes(other, one)


def _excludes(one: Constraint, other: Constraint) -> bool:
    kind, with_kind = kind_of(one), kind_of(other)
    if kind == with_kind or kind in ALONE or with_kind in EXCLUDE.get(kind, ()):
        return True
    if any(times_in(text, word) for text in one.demands for word in other.forbids):
        return True
    if with_kind == "no_commas" and any("," in text for text in one.demands):
        return True
    if isinstance(one, Sentences) and one.max is not None:
        if with_kind in SHORT:
            return True
        if isinstance(other, Words) and (other.min or 0) > WORDS_IN_SENTENCE * one.max:
            return True
    return kind == "keywords" and with_kind == "keyword" and _same_word(one, other)


def _same_word(one: Constraint, other: Constraint) -> bool:
    """A word that is demanded twice is demanded once."""
    words = {normalised(word) for word in one.demands}
    return any(normalised(word) in words for word in other.demands)


def kind_of(constraint: Constraint) -> str:
    """Its kind."""
    kind: str = getattr(constraint, "kind")  # noqa: B009  each class declares its own
    return kind
