"""`confidence.correct`: a candidate that is surely better takes the place of a given target.

The auto-correct of CLEAR (Chen and Mueller, arXiv 2403.12776); see `synthkd.curate.confidence`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Annotated

from pydantic import Field, model_validator

from synthkd.config import Samples, Share
from synthkd.curate.confidence import SURE, asked, others_in, shown, verdict_in
from synthkd.curate.fields import text_of, value_of
from synthkd.errors import Rejected, RowError, TeacherError
from synthkd.recipes.pool import POOL
from synthkd.recipes.replies import Loss, discard_all
from synthkd.recipes.votes import clusters
from synthkd.rows import Fields, Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import same_answer

SIDES = ("A", "B", "tie")


class CorrectSettings(StepSettings):
    """Settings of `confidence.correct`."""

    teacher: str | None = None
    """The judge; with `pool` it is only asked whether the candidate is right, and null = not even
    that."""
    candidate: str | None = None
    """The field with the other answer, such as that of a student taught the filtered rows ..."""
    pool: bool = False
    """... or the answer that most of the row's `candidates` give takes its part, and the share of
    them that give it stands for the judge's preference. The one that `chosen` names does not count:
    it is the target."""
    question: str = "instruction"
    """The field with what was asked."""
    target: str = "response"
    """The field with the answer that may be replaced."""
    passed: str = "confident"
    """The field that says whether the target may stay where it is not replaced."""
    eta: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """The candidate takes the target's place where the judge prefers it with more confidence."""
    samples: Annotated[Samples, Field(ge=2)] = 5
    """Answers of the judge; the two change places from one to the next."""
    beta: Share = 0.7
    """Weight of the share of answers that agree against what the judge says of its own verdict."""
    prompt: str = "confidence/better"
    certain_prompt: str = "confidence/certain"
    into: str = "corrected"
    """The field for whether the target was replaced; `original` then holds what it was, and
    `<into>_evidence` what the judge said."""

    @model_validator(mode="after")
    def _one_candidate(self) -> CorrectSettings:
        if (self.candidate is None) != self.pool:
            raise ValueError("must have exactly one of candidate (a field), pool: true")
        if self.teacher is None and not self.pool:
            raise ValueError("must have teacher, or pool: true where the row has candidates")
        return self


def _needs(config: CorrectSettings) -> Iterable[str]:
    other = POOL if config.candidate is None else config.candidate
    return [config.question, config.target, other, config.passed]


@step(
    "confidence.correct",
    needs=_needs,
    gives=lambda config: [config.target, config.into, f"{config.into}_evidence", "original"],
    supplies=("question", "first", "second", "better", "worse"),
)
async def correct(row: Row, kit: Kit, config: CorrectSettings, /) -> AsyncIterator[Row]:
    """Put the candidate in the target's place where the judge is sure that it is better.

    Rejects `not_confident`: a target that is neither replaced nor passed; with `pool` also
    `no_candidate`. A verdict that cannot be read is none: it replaces nothing.
    """
    target = text_of(row, config.target)
    question, passed = text_of(row, config.question), value_of(row, config.passed)
    if not isinstance(passed, bool):
        raise RowError(f"{config.passed} must be true or false, got {passed!r:.80}")
    if config.candidate is None:
        candidate, agreement = _of_pool(row)
    else:
        candidate, agreement = text_of(row, config.candidate), None
    evidence: dict[str, Json] = {"agreement": 0.0, "reflection": 0.0, "confidence": 0.0}
    if candidate.strip() and not same_answer(target, candidate):
        if agreement is None:
            evidence = await _evidence(row, kit, config, question, target, candidate)
        else:
            evidence = await _agreed(row, kit, config, question, target, candidate, agreement)
    sure = evidence["confidence"]
    assert isinstance(sure, float)  # noqa: S101  made above
    made: dict[str, Json] = {f"{config.into}_evidence": evidence, "original": None}
    if sure > config.eta:
        kit.count("corrected")
        made |= {config.target: candidate, "original": target}
    elif not passed:
        raise Rejected("not_confident", f"better with {sure:.4f}, eta is {config.eta:g}")
    yield row.with_fields(**made, **{config.into: sure > config.eta})


def _of_pool(row: Row) -> tuple[str, float]:
    """The answer that most of the pool give, and how many do; what cannot be used is left out."""
    answers = others_in(row)
    found = clusters(answers)
    if not found:  # such as texts too long to be answers
        raise Rejected("no_candidate", f"no answer can be compared: {answers[0]!r:.80}")
    places = found[0].places
    return answers[places[0]], len(places) / len(answers)


async def _agreed(
    row: Row,
    kit: Kit,
    config: CorrectSettings,
    question: str,
    target: str,
    candidate: str,
    agreement: float,
) -> dict[str, Json]:
    """How sure the pool is of the candidate, and with a `teacher` what that one says of it."""
    if config.teacher is None:
        sure = confidence_in(agreement, 0.0, 1.0)
        return {"agreement": agreement, "reflection": None, "confidence": sure}
    certain = shown(
        row, kit, config.certain_prompt, question=question, better=candidate, worse=target
    )
    replies, _ = await asked(kit, config.teacher, (config.certain_prompt, certain, 1))
    told = verdict_in(replies[0], SURE)
    if isinstance(told, Loss):
        discard_all(kit, [told])
    reflection = 0.0 if isinstance(told, Loss) else SURE[told]
    sure = confidence_in(agreement, reflection, config.beta)
    return {"agreement": agreement, "reflection": reflection, "confidence": sure}


async def _evidence(
    row: Row, kit: Kit, config: CorrectSettings, question: str, target: str, candidate: str
) -> dict[str, Json]:
    """How sure the judge is that the candidate is better: agreement, and what it says of that."""
    straight = config.samples - config.samples // 2
    teacher = config.teacher
    assert teacher is not None  # noqa: S101  the settings say so

    def pair(first: str, second: str) -> Fields:
        return shown(row, kit, config.prompt, question=question, first=first, second=second)

    certain = shown(
        row, kit, config.certain_prompt, question=question, better=candidate, worse=target
    )
    as_is, others = await asked(
        kit,
        teacher,
        (config.prompt, pair(target, candidate), straight),
        (config.prompt, pair(candidate, target), config.samples - straight),
        (config.certain_prompt, certain, 1),
    )
    replies = [*as_is, *others[:-1]]
    said = [verdict_in(reply, SIDES) for reply in replies]
    wins = sum(one == "B" for one in said[:straight]) + sum(one == "A" for one in said[straight:])
    losses = [one for one in said if isinstance(one, Loss)]
    errors = [reply for reply in [*replies, others[-1]] if isinstance(reply, TeacherError)]
    if len(errors) == len(replies) + 1:
        raise errors[0]
    reflection = verdict_in(others[-1], SURE)
    if isinstance(reflection, Loss):
        losses.append(reflection)
    discard_all(kit, losses)
    agreement = wins / config.samples
    sure = 0.0 if isinstance(reflection, Loss) else SURE[reflection]
    return {
        "agreement": agreement,
        "reflection": sure,
        "confidence": confidence_in(agreement, sure, config.beta),
    }


def confidence_in(agreement: float, reflection: float, beta: float) -> float:
    """How sure the judge is of a candidate, 0 to 1; 0 where not more than half of it prefer it.

    Args:
        agreement: the share of the judge's answers that prefer the candidate.
        reflection: what it says of that verdict, 0 to 1.
        beta: weight of the agreement against the reflection.
    """
    return beta * agreement + (1 - beta) * reflection if agreement > 0.5 else 0.0
