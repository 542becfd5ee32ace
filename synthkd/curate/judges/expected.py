"""`judge.expected`: one number from 0 to 9, as the judge's expected one where it has probabilities.

Self-J (arXiv 2409.00935): the judge answers with a single digit, and the score is the mean of the
digits weighted by their probabilities, made to add up to 1 over the digits that are among the
likeliest tokens. That tells 6.4 from 6.0, of one answer and without chance. It takes `logprobs:
true` and `top_logprobs: 20` in the teacher's `params`. Where a reply has no probabilities, the
digit itself counts, and the mean over `samples` stands in for the expected value.

A digit without reasons before it is judged less well than one with them; it is for judges that were
trained for it, and for what such a judge is trained on (docs/recipes/selfj.md).
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from statistics import fmean

from synthkd.config import Samples
from synthkd.curate.judges.reference import SAME
from synthkd.curate.judges.scoring import (
    ScoredSettings,
    as_text,
    judged_text,
    pass_on,
    same_score,
    seen,
)
from synthkd.curate.judges.verdict import NO_VERDICT, OFF_SCALE, answer_of, unusable
from synthkd.errors import TeacherError
from synthkd.recipes.replies import Loss, discard_all, give_up
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion, Logprob
from synthkd.text import normalised

MOST = 9
"""The scale is 0 to 9: each number is one token in nearly every vocabulary."""
LEAST_MASS = 0.5
"""Of probability on digits: below it, a digit is not what the judge was about to say."""
_NUMBER = re.compile(r"[^\w-]*(-?\d+)(?:\s*/\s*9)?\W*", re.ASCII)


class ExpectedSettings(ScoredSettings):
    """Settings of `judge.expected`."""

    teacher: str
    """The judge; with `logprobs: true` and `top_logprobs: 20` in its `params` if it has them."""
    reference: str | None = None
    """The field with a reference for the judge to see; needs a prompt that shows it."""
    prompt: str = "judges/digit"
    """The prompt; also shipped: judges/digit_reference, which shows the `reference`."""
    samples: Samples = 1
    """Answers of which the mean counts; more than 1 needs a temperature above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """What one reply says: a number of the scale, or a loss."""

    number: float | None = None
    """0 to 9."""
    by: str = "text"
    """`logprobs`, where it is the expected number; `text`, where it is the digit itself."""
    loss: Loss | None = None


def _needs(config: ExpectedSettings) -> Iterable[str]:
    return [*seen(config), *([config.reference] if config.reference is not None else [])]


@step(
    "judge.expected",
    needs=_needs,
    gives=lambda config: [config.into],
    supplies=("question", "candidate", "reference"),
    warns=same_score,
)
async def expected(row: Row, kit: Kit, config: ExpectedSettings, /) -> AsyncIterator[Row]:
    """Have an answer scored from 0 to 9: the expected number where the judge has probabilities.

    Gives the verdict (`into`): `score` from 0 to 1, `number` from 0 to 9, `by` (logprobs, text, or
    definition where the answer is the reference itself) and all `answers`. Rejects `low_score`;
    where no answer can be read, `no_verdict`, `off_scale`, `refused`, `empty_answer` and its kin.
    """
    inputs: dict[str, Json] = {
        "question": as_text(row, config.question),
        "candidate": judged_text(row, config.all_fields),
    }
    if config.reference is not None:
        inputs["reference"] = as_text(row, config.reference)
        if normalised(str(inputs["reference"])) == normalised(str(inputs["candidate"])):
            kit.count(SAME)
            yield pass_on(row, kit, config, _verdict([float(MOST)], "definition", []))
            return
    replies = await kit.ask_many(
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, **inputs),
        teachers=[config.teacher],
        samples=config.samples,
    )
    digits = [read_digit(reply) for reply in replies]
    losses = [digit.loss for digit in digits if digit.loss is not None]
    if len(losses) == len(digits):
        give_up(replies, losses)
    discard_all(kit, losses)
    answers: list[Json] = [
        answer_of(
            reply,
            digit.loss,
            teacher=config.teacher,
            sample=sample,
            number=digit.number,
            by=digit.by,
        )
        for sample, (reply, digit) in enumerate(zip(replies, digits, strict=True))
    ]
    read = [digit for digit in digits if digit.number is not None]
    numbers = [digit.number for digit in read if digit.number is not None]
    kit.count("scored by probabilities", sum(digit.by == "logprobs" for digit in read))
    yield pass_on(row, kit, config, _verdict(numbers, read[0].by, answers))


def read_digit(reply: Completion | TeacherError) -> Digit:
    """The number in a reply: expected over the digits where there are probabilities."""
    if (loss := unusable(reply)) is not None:
        return Digit(loss=loss)
    assert isinstance(reply, Completion)  # noqa: S101  all others are unusable
    found = _NUMBER.fullmatch(reply.text)
    if found is None:
        return Digit(loss=Loss(NO_VERDICT, reply.text[-200:]))
    if len(found[1]) > 1:  # a digit is one token: "07" may be the beginning of anything
        reason = NO_VERDICT if found[1].lstrip("-")[0] == "0" else OFF_SCALE
        return Digit(loss=Loss(reason, f"{found[1]:.40} is no digit from 0 to {MOST}"))
    number = float(found[1])
    by_probability = expected_number(reply.logprobs)
    if by_probability is None:
        return Digit(number=number)
    return Digit(number=by_probability, by="logprobs")


def expected_number(tokens: Iterable[Logprob]) -> float | None:
    """The mean of the digits, weighted by their probabilities at the first token that is one.

    None = there are no probabilities, or too little of them is on digits to be about a number.
    """
    for token in tokens:
        if _digit(token.token) is None:
            continue
        likely = dict(token.top) or {token.token: token.logprob}
        mass: dict[int, float] = {}
        for text, logprob in likely.items():
            if (digit := _digit(text)) is not None:
                mass[digit] = mass.get(digit, 0.0) + math.exp(min(logprob, 0.0))
        total = math.fsum(mass.values())
        if not total >= LEAST_MASS:  # nor is a NaN, which JSON of Python has
            return None
        return math.fsum(digit * share for digit, share in mass.items()) / total
    return None


def _digit(token: str) -> int | None:
    """A token that is one digit, with white space around it perhaps."""
    text = token.strip(" \n\t\u0120\u2581")  # as byte-level and sentence-piece vocabularies have it
    return int(text) if len(text) == 1 and text.isascii() and text.isdigit() else None


def _verdict(numbers: list[float], by: str, answers: list[Json]) -> dict[str, Json]:
    number = fmean(numbers)
    return {"score": number / MOST, "number": number, "by": by, "answers": answers}
