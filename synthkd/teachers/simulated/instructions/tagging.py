"""What an instruction of the grammar is and how hard, and a student who errs on the hard ones.

The kind is told by the words that an instruction of that kind has, so that instructions that were
made harder keep theirs; how hard it is, by its kind and by how much it demands.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping

from synthkd.rows import Fields
from synthkd.teachers.simulated.instructions import talks
from synthkd.teachers.simulated.judging import hardness
from synthkd.teachers.simulated.tagging import Truth, tags
from synthkd.teachers.simulated.world import text_in

WORLD = "instructions"
KINDS: Mapping[str, tuple[str, str, str, float]] = {
    r"classify|whether|fact or an? opinion|identify if|sort the given": (
        *("Others", "Common-Sense", "classification"), 0.1
    ),
    r"rewrite|shorten|turn the given": ("Paraphrase", "Writing", "rewriting", 0.2),
    r"grammar": ("Grammar", "Writing", "correction", 0.2),
    r"how many hours|tickets? for|what do \w+ cost": ("Math", "Reasoning", "arithmetic", 0.4),
    r"plan a|budget|timetable|prepare for": ("Reasoning", "Common-Sense", "planning", 0.5),
    r"compare|which is harder|in common": ("Reasoning", "Common-Sense", "comparison", 0.5),
    r"story|poem|letter|advertisement|novel|compose|draft": (
        *("Writing", "Literature", "creative writing"), 0.3
    ),
    r"list|ideas|name|titles|suggest|which \w+ things": (
        *("Complex Format", "Common-Sense", "list of ideas"), 0.2
    ),
    r"explain|describe|why|what|how": ("Common-Sense", "Others", "explanation", 0.3),
}  # fmt: skip
"""Words of a kind -> its class, another name for it, what is wanted, and how hard it is at least;
the first that are found count."""
OTHER = ("Others", "Common-Sense", "something else", 0.2)
DEMANDS = re.compile(
    r"[.;?]\s|\b(?:exactly|without|each|at least|at most|must|step by step|reasons?|examples?|"
    r"points? of view|in the form of|numbered|dialogue|compare|justify|assume|suppose)\b",
    re.IGNORECASE,
)
OF_A_DEMAND = 0.08


def answer(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the teacher says to a prompt of tag/."""
    truth = truth_of(text_in(inputs, prompt, WORLD))
    return tags(prompt, inputs, truth, error_rate, rng, WORLD)


def judged(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """How hard a judge says that an instruction is, or each of several that it sees together."""
    shown = inputs.get("instructions")
    if isinstance(shown, list | tuple):
        scores: dict[str, int] = {}
        for place, text in enumerate(shown, 1):
            told = hardness(prompt, inputs, truth_of(str(text)).hard, error_rate, rng)
            scores[f"item_{place}"] = next(iter(json.loads(told)["scores"].values()))
        return json.dumps({"reasoning": "I compared them.", "scores": scores})
    hard = truth_of(text_in(inputs, prompt, WORLD)).hard
    return hardness(prompt, inputs, hard, error_rate, rng)


def own(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """The answer of a student, who errs the more often the harder the instruction is."""
    question = text_in(inputs, prompt, WORLD)
    errs = min(1.0, 2 * error_rate * truth_of(question).hard)
    return talks.respond(prompt, {"instruction": question}, errs, rng)


def truth_of(question: str) -> Truth:
    """What an instruction really is."""
    low = question.casefold()
    found = (kind for words, kind in KINDS.items() if re.search(rf"\b(?:{words})\b", low))
    task, also, wanted, least = next(found, OTHER)
    demands = len(DEMANDS.findall(low))
    intents = [wanted, *(["constraints"] if demands else [])]
    hard = min(1.0, least + OF_A_DEMAND * demands)
    return Truth(task=(task, also), domain="everyday life", hard=hard, intents=intents)
