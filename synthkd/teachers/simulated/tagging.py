"""How the simulated worlds say what an instruction is, as the prompts in tag/ ask for it.

A world says what is true; what is told is that, or, at the world's error rate, something wrong of
each kind: another class, the other end of the scale, one intent less.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthkd.errors import PromptError
from synthkd.rows import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What an instruction really is."""

    task: Sequence[str]
    """Names that its class may have, the best first; the first that the prompt lists counts."""
    domain: str
    hard: float
    """0 to 1."""
    intents: Sequence[str]


def tags(
    prompt: str, inputs: Fields, truth: Truth, error_rate: float, rng: random.Random, world: str
) -> str:
    """What the teacher says: JSON with a name for each kind that is asked for.

    Raises:
        PromptError: the prompt lists no kinds, or no class that the world knows.
    """
    kinds = inputs.get("kinds")
    if not isinstance(kinds, list | tuple):
        raise PromptError(f"the prompt {prompt!r} must give `kinds`, a list of what is wanted")
    errs = rng.random() < error_rate
    told: dict[str, Any] = {}
    for kind in kinds:
        if kind == "task":
            told[kind] = _class(prompt, inputs, truth.task, world, rng if errs else None)
        elif kind == "domain":
            told[kind] = _domain(inputs, truth.domain, rng if errs else None)
        elif kind == "difficulty":
            told[kind] = 1 + round(9 * (1 - truth.hard if errs else truth.hard))
        elif kind == "intents":
            said = truth.intents[1:] if errs and len(truth.intents) > 1 else truth.intents
            told[kind] = [{"tag": one, "explanation": f"It asks for {one}."} for one in said]
    return json.dumps(told)


def _class(
    prompt: str, inputs: Fields, names: Sequence[str], world: str, errs: random.Random | None
) -> str:
    """The class that is listed; wrong = another one of the list."""
    given = inputs.get("tasks")
    listed = [str(one) for one in given] if isinstance(given, list | tuple) else []
    known = [name for name in names if name in listed]
    if not known:
        raise PromptError(
            f"the simulated world {world!r} calls its tasks {', '.join(names)}, and the prompt"
            f" {prompt!r} lists none of these"
        )
    others = [name for name in listed if name != known[0]]
    return errs.choice(others) if errs is not None and others else known[0]


def _domain(inputs: Fields, domain: str, errs: random.Random | None) -> str:
    listed = inputs.get("domains")
    if not isinstance(listed, list | tuple) or not listed:
        return domain if errs is None else "everyday life"
    named = [str(one) for one in listed]
    right = domain if domain in named else named[0]
    others = [one for one in named if one != right]
    return errs.choice(others) if errs is not None and others else right
