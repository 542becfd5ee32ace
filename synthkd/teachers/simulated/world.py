"""What a simulated world is: something small that a teacher can really do, from the text alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, Protocol

from synthkd.errors import PromptError
from synthkd.rows import Fields

Role = Literal[
    "label",
    "rationale",
    "generate",
    "judges",
    "examples",
    "triples",
    "synthkg",
    "ner",
    "commonsense",
    "extract",
    "thoughts",
    "strong_prompt",
    "s3ft",
    "on_policy",
    "instruct",
    "respond",
    "dialogue",
    "tools",
    "tag",
    "evolve",
    "refine",
    "back",
    "grid",
    "magpie",
    "documents",
    "cards",
]
ROLES: tuple[Role, ...] = ("label", "rationale", "generate", "judges")


class World(Protocol):
    """A small world. Its answers are a function of the prompt's name, its inputs and `rng`."""

    version: int
    """Part of who answers: to be raised whenever the same question gets another answer."""
    knows: str
    """What else it answers from, in a few letters, such as a hash; empty = its own code alone."""

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """What the teacher says, wrong at the world's error rate but always well-formed.

        Raises:
            PromptError: the world cannot do what the prompt asks.
        """
        ...

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """How a model that does not stop goes on: into a next item of its own invention."""
        ...


def role_of(prompt: str, able: Sequence[Role], world: str) -> Role:
    """What the prompt asks for: the folder it lies in says so.

    Raises:
        PromptError: it is nothing that this world can do.
    """
    folder = prompt.rpartition("/")[0].rpartition("/")[2]
    for role in able:
        if folder == role:
            return role
    raise PromptError(
        f"the simulated world {world!r} cannot do the prompt {prompt!r}: it does "
        f"{', '.join(f'{role}/...' for role in able)}"
    )


def text_in(inputs: Fields, prompt: str, world: str) -> str:
    """The text to read: the input `text`, `question` or `instruction`, whichever there is.

    Raises:
        PromptError: there is none of them.
    """
    for name in ("text", "question", "instruction"):
        if name in inputs:
            return str(inputs[name])
    raise PromptError(
        f"the simulated world {world!r} reads the input text, question or instruction; the prompt "
        f"{prompt!r} has {', '.join(sorted(inputs)) or 'no inputs'}"
    )


def candidate_in(inputs: Fields, prompt: str, world: str) -> str:
    """The answer that is to be judged.

    Raises:
        PromptError: the prompt declares no input `candidate`.
    """
    if "candidate" not in inputs:
        raise PromptError(
            f"the simulated world {world!r} judges the input `candidate`, which the prompt "
            f"{prompt!r} does not declare"
        )
    return str(inputs["candidate"])
