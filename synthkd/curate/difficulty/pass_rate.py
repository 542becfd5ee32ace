"""`difficulty.pass_rate`: how often the student is wrong, of several tries, where gold is known.

    difficulty = 1 - right answers / answers        # 0 = always right, 1 = never

    - use: difficulty.pass_rate
      with: {student: own, samples: 8, gold: answer, answer: {type: number}, question: question}

What is right is told as everywhere (`answer:`). A try without a readable answer is not right: it
counts, and the figures tell how many there are. A try that nobody answered does not count, nor one
that the server refuses: it would make the forbidden look hard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable

from pydantic import model_validator

from synthkd.answers import choices_of, gold_of, same
from synthkd.config import Samples
from synthkd.curate.difficulty.measured import DifficultySettings, measured, no_student
from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.pool import FAILED, POOL, Candidate, pool_of
from synthkd.recipes.reasoning import SUPPLIES, ReasoningSettings, reasoned
from synthkd.recipes.replies import give_up
from synthkd.recipes.spread import with_spread
from synthkd.rows import Json, Row
from synthkd.steps import Kit, step

BY = "difficulty.pass_rate"
UNREAD = "tries without an answer that could be read"
NO_TRY = frozenset({FAILED, "refused", "content_filter"})
"""Of candidates: what says nothing of the student, and so is no try."""


class PassRateSettings(ReasoningSettings, DifficultySettings):
    """Settings of `difficulty.pass_rate`."""

    student: str | None = None
    """Who tries: `{student: {round: previous}}`, or any teacher; null = the tries are the row's
    `candidates`."""
    gold: str
    """The field with the right answer; the student is never shown it."""
    samples: Samples = 4
    """Tries; more than 1 need a temperature above 0. The rate has steps of 1 / samples."""

    @model_validator(mode="after")
    def _tries_are_different(self) -> PassRateSettings:
        if self.student is not None and self.samples < 2:
            raise ValueError("samples must be 2 or more: of one try there is no rate")
        return self

    @property
    def teachers(self) -> list[str]:
        """Who may be asked."""
        return [self.student] if self.student is not None else []


def _needs(config: PassRateSettings) -> Iterable[str]:
    fields = (
        config.question,
        config.gold,
        config.reads.choices,
        POOL if config.student is None else None,
    )
    return [name for name in fields if name is not None]


@step(
    BY,
    needs=_needs,
    gives=lambda config: config.gives,
    supplies=(*SUPPLIES, "question"),
    sums_up=with_spread,
)
async def pass_rate(row: Row, kit: Kit, config: PassRateSettings, /) -> AsyncIterator[Row]:
    """Have the student try several times; the share of wrong answers is how hard the row is.

    Gives `difficulty` (0 to 1) and `difficulty_parts`: right, tries, and how often each answer was
    given. Where there is no student yet, as in round 0, it is null. Rejects `no_gold`, `bad_gold`,
    `no_candidate`, `too_easy`; `refused` and `content_filter` where all tries are. The row fails
    where nobody replies.
    """
    choices = choices_of(row.fields, config.reads)
    gold = gold_of(row.fields, config.gold, config.reads, choices)
    if gold is None:
        raise Rejected("no_gold", f"{config.gold} is null: nobody knows what is right")
    if config.student is not None and not kit.can_ask(config.student):
        yield no_student(row, kit, config, by=BY)
        return
    tries = await _tries(row, kit, config)
    right = sum(one.is_usable and same(one.answer, gold, config.reads, choices) for one in tries)
    kit.count(UNREAD, sum(not one.is_usable for one in tries))
    answers = Counter(one.answer if one.is_usable else None for one in tries)
    parts: dict[str, Json] = {
        "right": right,
        "tries": len(tries),
        "answers": [{"answer": answer, "times": times} for answer, times in answers.most_common()],
    }
    yield measured(row, kit, config, 1 - right / len(tries), by=BY, width=0.1, parts=parts)


async def _tries(row: Row, kit: Kit, config: PassRateSettings) -> list[Candidate]:
    """What the student said, or what the row has; at least one.

    Raises:
        TeacherError: nobody replied.
        Rejected: `no_candidate`: the row has no reply; `refused`, `content_filter`: nothing else
            came.
    """
    if config.student is None:
        found = [one for one in pool_of(row) if one.status not in NO_TRY]
        if not found:
            raise Rejected("no_candidate", f"{POOL} has no reply")
        return found
    asked = row.with_fields(question=config.asked_in(row))
    heard = await reasoned(
        asked, kit, config, teachers=[config.student], samples=config.samples, until=None
    )
    came = [
        one.candidate
        for one in heard
        if not isinstance(one.reply, TeacherError) and one.candidate.status not in NO_TRY
    ]
    if not came:
        give_up([one.reply for one in heard], [one.loss for one in heard if one.loss is not None])
    return came
