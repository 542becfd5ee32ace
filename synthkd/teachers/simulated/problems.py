"""The world `problems`: small problems of three kinds, each as hard as one likes.

    Math          Start with 3, add 4, double, take 2: what is the last digit?
    Reasoning     Ann is taller than Bob. Bob is taller than Cid. Who is tallest?
    Common-Sense  How many of these can fly: owl, cat, bee?

How hard a problem is, is how many steps it takes (its level). The world solves them, says of what
class they are, judges answers to them, and writes new ones like those that it is shown: of the same
kind, and as hard or a step harder. So it can teach any student by a curriculum.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from synthkd.errors import PromptError
from synthkd.rows import Fields
from synthkd.teachers.simulated.judging import judgement
from synthkd.teachers.simulated.tagging import Truth, tags
from synthkd.teachers.simulated.world import Role, role_of, text_in

ABLE: tuple[Role, ...] = ("generate", "rationale", "respond", "s3ft", "instruct", "tag", "judges")
LEVELS = 5
"""The most steps that a new problem takes."""
HARDER = 0.4
"""How often a new problem takes one step more than the one it is like."""
PEOPLE = ("Ann", "Bob", "Cid", "Dora", "Ede", "Fay", "Gil", "Hana")
CAN: Mapping[str, Sequence[str]] = {
    "fly": ("owl", "bee", "crow", "moth", "gull", "wasp"),
    "swim": ("cod", "seal", "shark", "trout", "whale", "otter"),
    "bark": ("dog", "fox", "jackal"),
}
CANNOT = ("chair", "stone", "spoon", "lamp", "brick", "shelf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem, understood."""

    task: str
    """Its class, by TAPIR's names."""
    steps: Sequence[str]
    """How it is worked out; as many as its level."""
    answer: str
    wrong: Sequence[str]
    """Other answers that somebody might give."""

    @property
    def level(self) -> int:
        """How many steps it takes."""
        return len(self.steps)


# --- writing


def write(task: str, level: int, rng: random.Random) -> str:
    """A new problem of a class that takes so many steps."""
    return _WRITERS[task](level, rng)


def _write_math(level: int, rng: random.Random) -> str:
    amount = rng.randrange(1, 10)
    told = [f"Start with {amount}"]
    for _ in range(level):
        change = rng.choice(["add", "take", "double"] if amount else ["add"])
        by = rng.randrange(1, min(amount, 9) + 1 if change == "take" else 10)
        told.append(change if change == "double" else f"{change} {by}")
        amount = {"add": amount + by, "take": amount - by, "double": 2 * amount}[change]
    return f"{', '.join(told)}: what is the last digit?"


def _write_reasoning(level: int, rng: random.Random) -> str:
    people = rng.sample(PEOPLE, level + 1)
    told = [
        f"{one} is taller than {other}."
        if rng.random() < 0.5
        else f"{other} is shorter than {one}."
        for one, other in pairwise(people)
    ]
    rng.shuffle(told)
    return f"{' '.join(told)} Who is {rng.choice(['tallest', 'shortest'])}?"


def _write_common_sense(level: int, rng: random.Random) -> str:
    can = rng.choice(sorted(CAN))
    others = [thing for other in CAN if other != can for thing in CAN[other]]
    listed: list[str] = []
    while len(listed) < level:
        pool = CAN[can] if rng.random() < 0.5 else [*others, *CANNOT]
        thing = rng.choice(pool)
        if thing not in listed:
            listed.append(thing)
    return f"How many of these can {can}: {', '.join(listed)}?"


_WRITERS: Mapping[str, Callable[[int, random.Random], str]] = {
    "Math": _write_math,
    "Reasoning": _write_reasoning,
    "Common-Sense": _write_common_sense,
}
TASKS = tuple(_WRITERS)


# --- solving

_MATH = re.compile(
    r"Start with (\d+)((?:, (?:double|add \d+|take \d+))+): what is the last digit\?"
)
_ORDER = re.compile(r"(\w+) is (taller|shorter) than (\w+)\.")
_REASONING = re.compile(r"((?:\w+ is (?:taller|shorter) than \w+\. )+)Who is (tallest|shortest)\?")
_COMMON_SENSE = re.compile(r"How many of these can (\w+): ([\w, ]+)\?")
DIGITS = tuple("0123456789")


def solve(text: str) -> Problem | None:
    """What a text asks, worked out; None = it is no problem of this world."""
    text = " ".join(text.split())
    if found := _MATH.fullmatch(text):
        return _solved_math(int(found[1]), found[2].removeprefix(", ").split(", "))
    if found := _REASONING.fullmatch(text):
        return _solved_reasoning(_ORDER.findall(found[1]), tallest=found[2] == "tallest")
    if found := _COMMON_SENSE.fullmatch(text):
        return _solved_common_sense(found[1], found[2].split(", "))
    return None


def _solved_math(amount: int, changes: Sequence[str]) -> Problem:
    steps = []
    for change in changes:
        name, _, by = change.partition(" ")
        after = {"add": amount + int(by or 0), "take": amount - int(by or 0)}.get(name, 2 * amount)
        sign = {"add": f"{amount} + {by}", "take": f"{amount} - {by}"}.get(name, f"2 * {amount}")
        steps.append(f"{sign} = {after}")
        amount = after
    answer = str(abs(amount) % 10)
    wrong = [digit for digit in DIGITS if digit != answer]
    return Problem(task="Math", steps=steps, answer=answer, wrong=wrong)


def _solved_reasoning(said: Sequence[tuple[str, str, str]], *, tallest: bool) -> Problem | None:
    pairs = [(one, other) if how == "taller" else (other, one) for one, how, other in said]
    below = {one for _, one in pairs}
    above = {one for one, _ in pairs}
    ends = above - below if tallest else below - above
    if len(ends) != 1:
        return None
    (answer,) = ends
    return Problem(
        task="Reasoning",
        steps=[f"{one} > {other}" for one, other in pairs],
        answer=answer,
        wrong=sorted((above | below) - ends),
    )


def _solved_common_sense(can: str, things: Sequence[str]) -> Problem:
    able = [thing in CAN.get(can, ()) for thing in things]
    answer = str(sum(able))
    return Problem(
        task="Common-Sense",
        steps=[
            f"{thing}: {'yes' if yes else 'no'}" for thing, yes in zip(things, able, strict=True)
        ],
        answer=answer,
        wrong=[digit for digit in DIGITS[: len(things) + 1] if digit != answer],
    )


# --- the teacher


class Problems:
    """Problems; see the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float = 0.0) -> None:
        self.error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """See `World`."""
        role = role_of(prompt, ABLE, "problems")
        if role == "instruct":
            return _like(prompt, inputs, rng)
        problem = solve(text_in(inputs, prompt, "problems"))
        if role == "judges":
            return judgement(prompt, inputs, _quality(problem), self.error_rate, rng, "problems")
        if role == "tag":
            return tags(prompt, inputs, _truth(problem), self.error_rate, rng, "problems")
        if problem is None:
            return "I do not know what is asked."
        wrong = rng.random() < self.error_rate
        answer = rng.choice(problem.wrong) if wrong else problem.answer
        worked = "\n".join(problem.steps)
        if role == "rationale":
            return f"{worked}\nSo the answer is {answer}."
        return f"{worked}\nAnswer: {answer}" if prompt.endswith("/stepwise") else answer

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """See `World`."""
        return f"\n\nQ: {write(rng.choice(TASKS), 1, rng)}"


def _like(prompt: str, inputs: Fields, rng: random.Random) -> str:
    """A numbered list of new problems, each like one that is shown."""
    shown, count = inputs.get("instructions"), inputs.get("n")
    if not isinstance(shown, list | tuple) or not isinstance(count, int):
        raise PromptError(
            f"the prompt {prompt!r} must show `instructions` and ask for `n` new ones"
        )
    known = [problem for one in shown if (problem := solve(str(one))) is not None]
    if not known:
        raise PromptError(f"none that the prompt {prompt!r} shows is a problem of this world")
    first = inputs.get("first")
    told = []
    for number in range(count):
        like = rng.choice(known)
        level = min(LEVELS, like.level + (rng.random() < HARDER))
        place = number + (first if isinstance(first, int) else 1)
        told.append(f"{place}. {write(like.task, level, rng)}")
    return "\n".join(told)


def _truth(problem: Problem | None) -> Truth:
    if problem is None:
        return Truth(task=["Others"], domain="everyday life", hard=0.5, intents=["an answer"])
    hard = min(1.0, problem.level / LEVELS)
    return Truth(task=[problem.task], domain=problem.task.lower(), hard=hard, intents=["an answer"])


def _quality(problem: Problem | None) -> Callable[[str], float]:
    """How good an answer is: whether it is right counts, and a little whether it is worked out."""

    def quality(text: str) -> float:
        said = text.rpartition("Answer:")[2].strip(" .\n")
        right = problem is not None and said == problem.answer
        return 0.8 * right + 0.1 + 0.1 * ("Answer:" in text)

    return quality
