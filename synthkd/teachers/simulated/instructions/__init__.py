"""The world `instructions`: a teacher that writes instructions and what belongs to them.

Each folder of prompts is a part of its own, in a module of its own. To add one:

1. write a module here with a function `answer(prompt, inputs, error_rate, rng) -> str`: what the
   teacher says to a prompt of that folder, wrong at the error rate but well-formed, a function of
   its arguments alone. It raises `PromptError` for a prompt that it cannot do;
2. add a line to `PARTS` (folder of prompts -> function) or, for a prompt of a folder that another
   part has, to `PROMPTS` (name of the prompt -> function), and the folder to `Role` in world.py;
3. raise `VERSION` whenever a question gets another answer than before.

    talks.py        stepwise answers, code, conversations, tool calls, and a judge of answers
    writing.py      lists of instructions from a grammar, whether one is a classification, instances
    documents.py    questions that a passage answers, and answers to them
    cards.py        rows of task cards
    evolving.py     instructions made harder or better, from texts, to measure; users' turns; plain
                    answers, which keep what an instruction made to measure demands
    tagging.py      what an instruction is and how hard; what a student answers
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from synthkd.rows import Fields
from synthkd.teachers.simulated.instructions import (
    cards,
    documents,
    evolving,
    tagging,
    talks,
    writing,
)
from synthkd.teachers.simulated.world import Role, role_of

Answer = Callable[[str, Fields, float, random.Random], str]
"""Of prompt, inputs, error rate and chance, what the teacher says."""

VERSION = 1
PARTS: Mapping[Role, Answer] = {
    "instruct": writing.answer,
    "evolve": evolving.answer,
    "refine": evolving.answer,
    "back": evolving.answer,
    "grid": evolving.answer,
    "magpie": evolving.answer,
    "respond": talks.respond,
    "dialogue": talks.dialogue,
    "tools": talks.tools,
    "judges": talks.judged,
    "tag": tagging.answer,
    "documents": documents.answer,
    "cards": cards.answer,
}
"""Folder of prompts -> who answers."""
PROMPTS: Mapping[str, Answer] = {
    "s3ft/own": tagging.own,
    "judges/difficulty": tagging.judged,
    "judges/together": tagging.judged,
}
"""Name of a prompt -> who answers, where its folder's part does not."""


class Instructions:
    """Instructions and what belongs to them; see the package."""

    version = VERSION
    knows = ""

    def __init__(self, error_rate: float = 0.0) -> None:
        self.error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """See `World`."""
        said = PROMPTS.get(prompt)
        if said is None:
            said = PARTS[role_of(prompt, tuple(PARTS), "instructions")]
        return said(prompt, inputs, self.error_rate, rng)

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """See `World`."""
        return "\n\nInstruction: " + writing.instruction(rng)
