"""How the simulated worlds judge answers, in the shapes that the prompts in judges/ ask for.

A world says how good a text really is, from 0 to 1; what is told is that, or, at the world's error
rate, what a judge says that does not look: of one answer the opposite, of a pair the one that is
shown first. So a pair that is judged in both orders catches the error, as it does with real judges.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synthkd.errors import PromptError
from synthkd.rows import Fields, Json
from synthkd.teachers.simulated.world import candidate_in

Quality = Callable[[str], float]
"""How good a text really is, 0 to 1."""
CLOSE = 0.05
"""Two texts that differ by less in quality are equally good."""


def judgement(
    prompt: str, inputs: Fields, quality: Quality, error_rate: float, rng: random.Random, world: str
) -> str:
    """What the judge says: of a pair which is better, by criteria a number each, else a digit.

    Raises:
        PromptError: the prompt shows nothing that could be judged.
    """
    errs = rng.random() < error_rate
    criteria = inputs.get("criteria")
    if {"first", "second"} <= inputs.keys() and criteria is not None:
        goods = {place: quality(str(inputs[place])) for place in ("first", "second")}
        return _both_scored(_listed(criteria, prompt), goods, errs=errs)
    if {"first", "second"} <= inputs.keys():
        gap = quality(str(inputs["first"])) - quality(str(inputs["second"]))
        better = "tie" if abs(gap) < CLOSE else "first" if gap > 0 else "second"
        return _told("I worked it out and compared.", verdict="first" if errs else better)
    good = quality(candidate_in(inputs, prompt, world))
    good = 1 - good if errs else good
    if criteria is None:
        return str(round(9 * good))
    scores = {one["name"]: _on_scale(one, good) for one in _listed(criteria, prompt)}
    return _told("I worked it out and compared.", scores=scores)


def hardness(
    prompt: str, inputs: Fields, hard: float, error_rate: float, rng: random.Random
) -> str:
    """What the judge says of how hard a task is, by criteria a number each.

    Args:
        prompt: its name.
        inputs: of the prompt, with `criteria`.
        hard: how hard it really is, 0 to 1.
        error_rate: how often the judge takes what is hard for easy, and the other way round.
        rng: its chance.
    """
    hard = 1 - hard if rng.random() < error_rate else hard
    criteria = _listed(inputs.get("criteria"), prompt)
    scores = {one["name"]: _on_scale(one, hard) for one in criteria}
    return _told("I counted the steps.", scores=scores)


def _listed(criteria: Json, prompt: str) -> list[Mapping[str, Any]]:
    if not isinstance(criteria, list | tuple):
        raise PromptError(f"the prompt {prompt!r} must give `criteria` as a list to be judged by")
    return [one for one in criteria if isinstance(one, Mapping)]


def _both_scored(
    criteria: Sequence[Mapping[str, Any]], goods: Mapping[str, float], *, errs: bool
) -> str:
    """Two answers in one reply; a judge that does not look gives the first all points."""
    seen = {"first": 1.0, "second": 0.0} if errs else goods
    scores = {
        f"{place}_{one['name']}": _on_scale(one, good)
        for place, good in seen.items()
        for one in criteria
    }
    return _told("I worked it out and compared.", scores=scores)


def _on_scale(criterion: Mapping[str, Any], good: float) -> int:
    least, most = int(criterion["least"]), int(criterion["most"])
    return least + round(good * (most - least))


def _told(reasoning: str, **said: Any) -> str:
    return json.dumps({"reasoning": reasoning, **said})
