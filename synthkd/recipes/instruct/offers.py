"""What a generator asks and is offered, and the pool of what was accepted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from synthkd.recipes.instruct.novelty import Novelty
from synthkd.recipes.replies import Loss
from synthkd.rows import Fields, Row
from synthkd.teachers.request import Completion
from synthkd.text import normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a wave."""

    prompt: str
    """The prompt's name."""
    inputs: Fields
    """What it declares."""
    parents: Sequence[Row]
    """The rows that the answer is made from; what is accepted is a child of the first one."""
    about: Fields = field(default_factory=dict)
    """Fields of each row that comes of it, such as which operation was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a reply offers."""

    text: str
    """The instruction."""
    fields: Fields = field(default_factory=dict)
    """Further fields."""
    check: Check | None = None
    """What is asked about it before it is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question about a candidate, which is asked if nothing else refuses the candidate.

    The checks of a wave are asked together, before any of its candidates is accepted.
    """

    question: Question
    says: Callable[[Completion], Loss | None]
    """Of the answer, why the candidate is refused; None = it is not."""


Gate = Callable[[Candidate], Loss | None]
"""Why a candidate is refused; None = it is not."""


class Writer(Protocol):
    """What one generator asks, and how it reads what comes."""

    @property
    def per_question(self) -> int:
        """Candidates that a question asks for, at least 1: fewer that come are lost ones."""
        ...

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """The next wave: at most `count` questions; fewer = there is nothing more to ask."""
        ...

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """What a reply offers; a `Loss` for what cannot be used."""
        ...


class Pool:
    """What is known so far, each in its order.

    Args:
        seeds: the rows that came in.
        earlier: what earlier rounds have kept.
        instruction: the field with the instruction.
        max_similarity: as in `GrowSettings`.
    """

    def __init__(
        self,
        seeds: Sequence[Row],
        earlier: Sequence[Row],
        instruction: str,
        max_similarity: float | None,
    ) -> None:
        self.seeds = seeds
        self.made: list[Row] = list(earlier)
        """Of earlier rounds, then of this one."""
        self._instruction = instruction
        self._texts: list[str] = []
        self._spelt: set[str] = set()
        """All texts, case and blanks aside."""
        self._known = None if max_similarity is None else Novelty(max_similarity)
        for row in (*seeds, *earlier):
            if row.fields.get(instruction) is not None:
                self._note(row)

    def text(self, row: Row) -> str:
        """Its instruction."""
        return str(row.fields[self._instruction])

    def add(self, row: Row) -> None:
        """Take in what was accepted."""
        self.made.append(row)
        self._note(row)

    def too_similar(self, text: str) -> Loss | None:
        """Why the text is too near to one that is known.

        The same text again is refused (`repeated`) where no similarity is computed, and where it
        has no word to be similar by, such as a row of emojis.
        """
        near = None if self._known is None else self._known.near(text)
        if near is None:
            return Loss("repeated", text[:200]) if normalised(text) in self._spelt else None
        known = self._texts[near.place]
        return Loss("too_similar", f"ROUGE-L {near.score:.2f} with {known[:120]!r}: {text[:200]}")

    def _note(self, row: Row) -> None:
        text = self.text(row)
        self._spelt.add(normalised(text))
        if self._known is not None:
            self._texts.append(text)
            self._known.add(text)
