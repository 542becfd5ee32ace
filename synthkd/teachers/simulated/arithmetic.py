"""The world `arithmetic`: solves word problems of a few sentences, and writes down each step.

It follows one amount through the story ("She buys 5 more", "He gives half of them away") and does
what each sentence says. A sentence that it cannot follow leaves it without an answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import orjson

from synthkd.rows import Fields
from synthkd.teachers.simulated.judging import hardness, judgement
from synthkd.teachers.simulated.tagging import Truth, tags
from synthkd.teachers.simulated.world import (
    Role,
    role_of,
    text_in,
)

ABLE: tuple[Role, ...] = (
    *("rationale", "generate", "judges", "thoughts", "strong_prompt", "s3ft", "tag"),
)
HARDEST = 6
"""Steps of a story than which none is longer here."""

WORDS = "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
NUMBERS: Mapping[str, int] = {word: value for value, word in enumerate(WORDS.split("|"))}
TIMES: Mapping[str, int] = {"double": 2, "twice": 2, "triple": 3}

NUMBER = rf"(\d{{1,9}}|{WORDS})"
VERBS_OF_GAIN = "buys|finds|gets|picks|bakes|makes|collects|wins|receives|earns|adds"
VERBS_OF_LOSS = "gives|loses|sells|eats|breaks|spends|uses|throws|drops|lends|donates"

Change = Callable[[int, Sequence[int]], tuple[str, int]]
"""The amount so far and the sentence's numbers -> the sum as it is written, and the new amount."""


def _start(_: int, numbers: Sequence[int]) -> tuple[str, int]:
    return str(numbers[0]), numbers[0]


def _start_packed(_: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{numbers[0]} * {numbers[1]}", numbers[0] * numbers[1]


def _gain(amount: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{amount} + {numbers[0]}", amount + numbers[0]


def _gain_packed(amount: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{amount} + {numbers[0]} * {numbers[1]}", amount + numbers[0] * numbers[1]


def _loss(amount: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{amount} - {numbers[0]}", amount - numbers[0]


def _loss_each(amount: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{amount} - {numbers[0]} * {numbers[1]}", amount - numbers[0] * numbers[1]


def _half(amount: int, _: Sequence[int]) -> tuple[str, int]:
    return f"{amount} / 2", amount // 2


def _multiply(amount: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{amount} * {numbers[0]}", amount * numbers[0]


def _share(amount: int, numbers: Sequence[int]) -> tuple[str, int]:
    return f"{amount} / {numbers[0]}", amount // numbers[0] if numbers[0] else amount


@cache
def _sentences() -> Sequence[tuple[re.Pattern[str], Change]]:
    """What a sentence looks like, and what it does. The first that matches counts."""
    forms: list[tuple[str, Change]] = [
        (rf"\bhas {NUMBER} \w+ with {NUMBER} [\w ]+ (?:each|in each)", _start_packed),
        (rf"\b(?:has|starts with|owns|there are) {NUMBER}\b", _start),
        (rf"\b(?:{VERBS_OF_LOSS})\b.*\bhalf\b", _half),
        (rf"\bto each of (?:\w+ )?{NUMBER} \w+,? (?:\w+ )?gives {NUMBER}\b", _loss_each),
        (rf"\bgives (?:each of )?(?:\w+ )?{NUMBER} \w+ {NUMBER}\b", _loss_each),
        (rf"\b(?:{VERBS_OF_LOSS})\b\D*?{NUMBER}\b", _loss),
        (rf"\b(?:{VERBS_OF_GAIN})\b\D*?{NUMBER} \w+ (?:with|of) {NUMBER}\b", _gain_packed),
        (rf"\b(?:{VERBS_OF_GAIN})\b\D*?{NUMBER}\b", _gain),
        (rf"\b(double|twice|triple)\b|\b{NUMBER} times as many\b", _multiply),
        (rf"\b(?:shares|splits|divides|puts)\b.*\b(?:among|between|into) {NUMBER}\b", _share),
    ]
    return [(re.compile(form), change) for form, change in forms]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One sentence, understood."""

    sentence: str
    sum: str
    """As it is written: `12 + 5`."""
    amount: int
    """What it comes to."""


def solve(question: str) -> list[Step] | None:
    """The steps to the answer, which is the last one's amount; None = a sentence is not understood.

    The last sentence is the question itself and is not read.
    """
    sentences = [part.strip() for part in re.split(r"(?<=[.?!])\s+", question) if part.strip()]
    steps: list[Step] = []
    amount = 0
    for sentence in sentences[:-1]:
        done = _understood(sentence, amount)
        if done is None:
            return None
        steps.append(done)
        amount = done.amount
    return steps or None


def _understood(sentence: str, amount: int) -> Step | None:
    for pattern, change in _sentences():
        if found := pattern.search(sentence.lower()):
            numbers = [_number(word) for word in found.groups() if word is not None]
            written, result = change(amount, numbers)
            return Step(sentence=sentence.rstrip("."), sum=written, amount=result)
    return None


def _number(word: str) -> int:
    if word in TIMES:
        return TIMES[word]
    return NUMBERS[word] if word in NUMBERS else int(word)


class Arithmetic:
    """Word problems; see the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float = 0.0) -> None:
        self.error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """See `World`."""
        role = role_of(prompt, ABLE, "arithmetic")
        steps = solve(text_in(inputs, prompt, "arithmetic"))
        if role == "tag":
            return tags(prompt, inputs, _truth(steps), self.error_rate, rng, "arithmetic")
        if role == "judges" and not {"candidate", "first"} & inputs.keys():
            return hardness(prompt, inputs, _truth(steps).hard, self.error_rate, rng)
        if role == "judges":
            quality = _quality(steps)
            return judgement(prompt, inputs, quality, self.error_rate, rng, "arithmetic")
        if steps is None:
            return "I cannot follow this story, so I cannot count."
        wrong = rng.random() < self.error_rate
        if prompt.endswith("/right"):
            right = _last_number(str(inputs["answer"]).replace(",", "")) == str(steps[-1].amount)
            return orjson.dumps({"reasoning": "I have counted.", "right": right != wrong}).decode()
        slip = rng.choice([-10, -2, -1, 1, 2, 10]) if wrong else 0
        told = " ".join(_told(step) for step in steps[:-1])
        last = Step(sentence=steps[-1].sentence, sum=steps[-1].sum, amount=steps[-1].amount + slip)
        answer = f"{told} {_told(last)} So the answer is {last.amount}.".lstrip()
        if role == "strong_prompt":
            reason = f"{told} {_told(last)}".lstrip()
            return orjson.dumps({"reason": reason, "answer": str(last.amount)}).decode()
        if role == "thoughts":
            return _clean([*steps[:-1], last]) if "solution" in inputs else _aloud(steps, answer)
        return answer

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """See `World`."""
        bought, eaten = rng.randint(5, 20), rng.randint(1, 4)
        return (
            f"\n\nQ: Ola has {bought} pears. She eats {eaten}. How many pears are left?\n"
            f"A: Ola has {bought} pears and eats {eaten}: {bought} - {eaten} = {bought - eaten}. "
            f"So the answer is {bought - eaten}."
        )


def _aloud(steps: Sequence[Step], answer: str) -> str:
    """A thought in tags, which goes over each sum twice, and then the solution."""
    lines = [f"Let me see. {step.sentence}: that is {step.sum}." for step in steps]
    checks = [f"Wait, is that right? {step.sum} makes {step.amount}. Yes." for step in steps[1:]]
    thought = "\n".join([*lines, *checks, "Now I can tell it."])
    return f"<think>\n{thought}\n</think>\n\n{answer}"


def _clean(steps: Sequence[Step]) -> str:
    """A solution of sums alone."""
    sums = [f"{step.sum} = {step.amount}" for step in steps if step.sum != str(step.amount)]
    return "\n".join([*sums, f"So the answer is {steps[-1].amount}."])


def _truth(steps: list[Step] | None) -> Truth:
    """What a problem really is: as hard as it has steps, and a story without sums is none."""
    sums = {sign for step in steps or () for sign in "+-*/" if f" {sign} " in step.sum}
    return Truth(
        task=("Math", "Others") if steps else ("Others",),
        domain="arithmetic",
        hard=min(len(steps or ()), HARDEST) / HARDEST,
        intents=[SUMS[sign] for sign in "+-*/" if sign in sums] or ["reading"],
    )


SUMS: Mapping[str, str] = {
    **{"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}
}


def _quality(steps: list[Step] | None) -> Callable[[str], float]:
    """How good a solution is: the right result counts most, sums that are shown a little."""

    def quality(text: str) -> float:
        right = steps is not None and _last_number(text.replace(",", "")) == str(steps[-1].amount)
        return 0.8 * right + 0.2 * ("=" in text)

    return quality


def _last_number(text: str) -> str | None:
    found = re.findall(r"-?\d+", text)
    return found[-1] if found else None


def _told(step: Step) -> str:
    if step.sum == str(step.amount):
        return f"{step.sentence}."
    return f"{step.sentence}: {step.sum} = {step.amount}."
