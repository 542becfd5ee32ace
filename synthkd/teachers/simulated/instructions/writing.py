"""Lists of instructions, whether one is a classification, and instances of one.

Its faults, at the error rate, are those of real models: it copies what it is shown or nearly so,
asks for pictures, breaks off, says the same again, takes a task for another kind, and gives an
answer that is its own input.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import orjson

from synthkd.errors import PromptError
from synthkd.rows import Fields, Json
from synthkd.teachers.simulated.instructions.grammar import FAMILIES, TOPICS, instruction, listed

__all__ = ["answer", "instruction"]

FRAGMENTS = ("Summarise it.", "And so on.", "Write more.", "The same again.")
BEYOND = (
    "Draw a picture of {}.",
    "Make a video about {} with music.",
    "Plot a graph of {} by month.",
)
CLASSIFIES = re.compile(
    r"\b(classify|whether|true or false|fact or an? opinion|sort the|identify if|which category|"
    r"detect|positive or negative|pleased or annoyed|multiple choice|is it a)\b",
    re.IGNORECASE,
)
GIVEN = re.compile(
    r"\b(given|following|below|the (?:message|comment|text|paragraph))\b", re.IGNORECASE
)


def answer(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the teacher says to a prompt of instruct/."""
    wrong = rng.random() < error_rate
    if "first" in inputs and "last" in inputs:
        return _list(inputs, error_rate, rng)
    if "instruction" not in inputs:
        raise PromptError(
            f"the simulated world 'instructions' reads the inputs instructions, first and last, or"
            f" instruction; the prompt {prompt!r} has {', '.join(sorted(inputs)) or 'no inputs'}"
        )
    task = str(inputs["instruction"])
    if "n" not in inputs:
        return "Yes" if bool(CLASSIFIES.search(task)) != wrong else "No"
    return _instances(task, int(str(inputs["n"])), error_rate, rng)


def _list(inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """Goes on with a numbered list."""
    shown = inputs.get("instructions")
    known = [str(one) for one in shown] if isinstance(shown, list | tuple) else []
    lines = []
    for number in range(int(str(inputs["first"])), int(str(inputs["last"])) + 1):
        item = _faulty(known, rng) if rng.random() < error_rate else instruction(rng)
        known.append(item)
        lines.append(f"{number}. {item}")
    return "\n".join(lines)


def _faulty(known: Sequence[str], rng: random.Random) -> str:
    topic = rng.choice(listed(TOPICS))
    ways: list[Callable[[], str]] = [
        lambda: rng.choice(FRAGMENTS),
        lambda: rng.choice(BEYOND).format(topic),
        lambda: f"- {instruction(rng)}",
    ]
    if known:
        ways += [lambda: rng.choice(known), lambda: _nearly(rng.choice(known), rng)]
    return rng.choice(ways)()


def _nearly(text: str, rng: random.Random) -> str:
    """The text with one word changed."""
    words = text.split()
    words[rng.randrange(len(words))] = rng.choice(("really", "good", "new", "some"))
    return " ".join(words)


def _instances(task: str, n: int, error_rate: float, rng: random.Random) -> str:
    """JSON: `{"instances": [{"input": ..., "output": ...}, ...]}`."""
    labels = _labels(task)
    made: list[dict[str, Json]] = []
    for place in range(n if labels or GIVEN.search(task) else 1):
        given = _text(rng) if labels or GIVEN.search(task) else ""
        told = labels[place % len(labels)] if labels else _reply(task, given, rng)
        if rng.random() < error_rate:
            told = given or task  # as a model does that has lost the thread
        made.append({"input": given, "output": told})
    return orjson.dumps({"instances": made}).decode()


def _labels(task: str) -> Sequence[str]:
    """The answers that a classification names."""
    if not CLASSIFIES.search(task):
        return ()
    low = task.casefold()
    for family in FAMILIES.values():
        if family.labels and all(label in low for label in family.labels):
            return family.labels
    pair = re.search(r"(\w+) or (?:an? )?(\w+)", low)
    return (pair[1], pair[2]) if pair else ("yes", "no")


def _text(rng: random.Random) -> str:
    """A few sentences to work on."""
    first, second = rng.sample(listed(TOPICS), 2)
    opening = rng.choice(("Last week I read about", "We talked a lot about", "Nobody expected"))
    view = rng.choice(("was better than we thought", "took far too long", "was as always"))
    return f"{opening} {first}. Then it was about {second}, and it {view}."


def _reply(task: str, given: str, rng: random.Random) -> str:
    words = re.findall(r"\w{4,}", given or task)
    about = " ".join(rng.sample(words, min(3, len(words)))).lower()
    opening = rng.choice(("In short,", "To begin with,", "Seen from nearby,"))
    return f"{opening} it comes down to {about}. The rest follows from it, one step at a time."
