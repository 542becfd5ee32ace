"""Whom a recipe asks, how often, and when it has asked enough.

Adaptive-consistency (arXiv 2305.11860): samples are drawn one after another, and no more once it is
sure enough which answer most of them would give. Of the answer that leads with `a` votes and the
runner-up with `b` it is asked which of the two the teacher gives more often; with a flat prior that
is a Beta(a + 1, b + 1), and

    P(the leader is the more frequent) = P(Binomial(a + b + 1, 1/2) <= a)

Beside that, nothing is asked that could change nothing: when the rest, all together for the
runner-up, would not reach the leader. `sure: 1` is that rule alone, and gives the answers that all
samples would have given.

Which samples are asked for depends on the answers alone, in a fixed order (sample 0 of every
teacher, then sample 1 of every teacher), so a run that is resumed or replayed asks for the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from synthkd.answers import AnswerSettings
from synthkd.config import Samples
from synthkd.errors import TeacherError
from synthkd.kit import Kit
from synthkd.recipes.votes import ANY, clusters
from synthkd.rows import Fields
from synthkd.steps import StepSettings
from synthkd.teachers.request import Completion

SAVED = "calls saved"
STOPPED = "rows that stopped early"


class Until(StepSettings):
    """When enough is asked."""

    sure: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """How probable it must be that the answer in the lead is the one given most often."""
    first: Samples = 3
    """Questions that go out at once before anything is looked at; then one after another."""


class Asked(NamedTuple):
    """A reply, and whose."""

    teacher: str
    sample: int
    reply: Completion | TeacherError


class WhomSettings(StepSettings):
    """Whom to ask: what recipes that take one teacher or several have in common."""

    teacher: str | None = None
    """The teacher to ask; or `teachers`."""
    teachers: list[str] | None = None
    """The teachers to ask, all of them about every row; the first wins a tie."""
    samples: Samples = 1
    """Answers per teacher. 3 is the least that can outvote one slip."""

    @model_validator(mode="after")
    def _somebody_to_ask(self) -> Self:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("must have exactly one of teacher, teachers")
        if self.teachers and len(set(self.teachers)) != len(self.teachers):
            raise ValueError("teachers must name each teacher once; `samples` asks one repeatedly")
        return self

    @property
    def asked(self) -> list[str]:
        """The teachers, however they were given."""
        return self.teachers or [self.teacher or ""]


class AskingSettings(WhomSettings):
    """Whom to ask, and when it is enough."""

    until: Until | None = None
    """Stop asking about a row once its answer is sure: `{sure: 0.95, first: 3}`. Saves calls, takes
    longer: beyond the first, questions about a row leave one after another."""


async def ask_panel(
    kit: Kit,
    prompt: str,
    inputs: Fields,
    *,
    teachers: Sequence[str],
    samples: int,
    until: Until | None = None,
    longer: int | None = None,
    answer_of: Callable[[Completion | TeacherError], str | None],
    config: AnswerSettings = ANY,
    choices: Sequence[str] | None = None,
) -> list[Asked]:
    """The replies, teacher by teacher; with `until`, those that were needed.

    Args:
        kit: of the row.
        prompt: its name.
        inputs: what it declares.
        teachers: whom to ask.
        samples: answers of each.
        until: when to stop early; None = never.
        longer: tokens, as of `Kit.ask`.
        answer_of: what a reply votes for; None = it has no vote.
        config: which votes are the same.
        choices: the row's.
    """
    everybody = [(teacher, sample) for teacher in teachers for sample in range(samples)]
    if until is None or len(everybody) <= until.first:
        replies = await kit.ask_many(
            prompt, inputs, teachers=teachers, samples=samples, longer=longer
        )
        return [Asked(*who, reply) for who, reply in zip(everybody, replies, strict=True)]
    turns = sorted(everybody, key=lambda who: who[1])  # stable: each teacher once, then again
    heard: dict[tuple[str, int], Completion | TeacherError] = {}
    votes: list[str | None] = []
    while len(heard) < len(turns) and not settled(
        votes, len(turns) - len(heard), until, config, choices
    ):
        now = turns[len(heard) : max(until.first, len(heard) + 1)]
        replies = await kit.ask_these(prompt, inputs, whom=now, longer=longer)
        heard.update(zip(now, replies, strict=True))
        votes += map(answer_of, replies)
    saved = len(turns) - len(heard)
    kit.count(SAVED, saved)
    kit.count(STOPPED, int(saved > 0))
    return [Asked(*who, heard[who]) for who in everybody if who in heard]


def settled(
    votes: Sequence[str | None],
    left: int,
    until: Until,
    config: AnswerSettings = ANY,
    choices: Sequence[str] | None = None,
) -> bool:
    """Whether enough is known: the leader is sure, or cannot be reached any more.

    Args:
        votes: so far.
        left: how many could still come.
        until: how sure is sure.
        config: which votes are the same.
        choices: the row's.
    """
    found = clusters(votes, config=config, choices=choices)
    standing = [len(cluster.places) for cluster in found]
    if not standing:
        return False
    leader, second = standing[0], standing[1] if len(standing) > 1 else 0
    if second + left < leader:
        return True
    return until.sure < 1 and leads(leader, second) >= until.sure


def leads(leader: int, second: int) -> float:
    """How probable it is that the answer with more votes is the more frequent of the two."""
    of = leader + second + 1
    ways = sum(math.comb(of, heads) for heads in range(leader + 1))
    return float(ways / 2**of)
