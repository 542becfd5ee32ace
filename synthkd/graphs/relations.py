"""Relations of commonsense: how each is asked for and put into words, as data (relations.yaml).

    >>> known_relations()["xWant"].statement("PersonX bakes bread", "to eat it")
    'PersonX bakes bread. Afterwards, PersonX wants to eat it.'

Seven come along, with the names of ATOMIC and what Symbolic Knowledge Distillation (West et al.,
arXiv 2110.07178) asks for by them; others are a block of the same form.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from synthkd.graphs.triple import spelling
from synthkd.rows import digest

HEAD, TAIL = "{head}", "{tail}"
FULL_STOP = "."


class Pair(NamedTuple):
    """What happens, and what is inferred from it."""

    head: str
    tail: str


class Relation(BaseModel):
    """A relation between an event (head) and what it comes with (tail)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """What it is called in a triple."""
    asks: Annotated[str, Field(min_length=1)]
    """The question that a tail answers, about "the person"."""
    states: str
    """Head and tail as a sentence, `{head}` first and `{tail}` at its end."""
    examples: Annotated[tuple[Pair, ...], Field(min_length=1)]
    """Heads with a right tail, persons as PersonX and PersonY."""

    @field_validator("states")
    @classmethod
    def _both_in_place(cls, states: str) -> str:
        states = states.rstrip(FULL_STOP)
        once = states.count(HEAD) == states.count(TAIL) == 1
        if not (once and states.startswith(HEAD) and states.endswith(f" {TAIL}")):
            raise ValueError(
                "must begin with {head} and end with a blank and {tail}, as"
                f' "{{head}}. As a result, PersonX {{tail}}", got {states!r:.80}'
            )
        return states

    @model_validator(mode="after")
    def _examples_with_words(self) -> Relation:
        for one in self.examples:
            if not (one.head.strip() and one.tail.strip()):
                raise ValueError(
                    f"examples: head and tail must not be empty, got {list(one)!r:.80}"
                )
        return self

    def opening(self, head: str) -> str:
        """The statement up to where its tail begins, without a blank at the end."""
        return self.states.removesuffix(TAIL).rstrip().replace(HEAD, _bare(head))

    def statement(self, head: str, tail: str) -> str:
        """Head and tail as one sentence or two."""
        return f"{self.opening(head)} {_bare(tail)}{FULL_STOP}"


def head_key(head: str) -> str:
    """The same for all spellings of an event: letters and digits alone, case folded; "" = none."""
    key = spelling(head)
    return key if any(map(str.isalnum, key)) else ""


def share_of(head: str, purpose: str, seed: int) -> float:
    """From 0 up to 1, the same for all spellings of an event: whole events are drawn by it.

    Args:
        head: the event.
        purpose: draws for one purpose tell nothing of those for another.
        seed: of the run.
    """
    return int(digest(seed, purpose, head_key(head)), 16) / 16**16


@cache
def known_relations() -> dict[str, Relation]:
    """The relations that come along, by name."""
    text = resources.files("synthkd.graphs").joinpath("relations.yaml").read_text("utf-8")
    listed = TypeAdapter(list[Relation]).validate_python(yaml.safe_load(text))
    return {relation.name: relation for relation in listed}


def _bare(text: str) -> str:
    return text.strip().rstrip(FULL_STOP)
