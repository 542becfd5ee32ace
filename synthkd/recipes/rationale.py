"""`rationale`: reasoning and answer, several times, put to the vote.

Distilling Step-by-Step (arXiv 2305.02301) with self-consistency (arXiv 2203.11171): the student
learns from the teacher's reasoning as well as from its answer, and how many samples agree says how
sure the teacher is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from synthkd.answers import choices_of, gold_of, same
from synthkd.config import Samples
from synthkd.errors import Rejected
from synthkd.recipes.asking import Until
from synthkd.recipes.reasoning import SUPPLIES, ReasoningSettings, reasoned
from synthkd.recipes.replies import discard_all, give_up
from synthkd.recipes.votes import clusters
from synthkd.rows import Row
from synthkd.steps import Kit, step


class RationaleSettings(ReasoningSettings):
    """Settings of `rationale`."""

    teacher: str
    """The teacher to ask."""
    samples: Samples = 1
    """Answers per row that vote. The paper uses 1; votes of 5 and more tell sure from unsure."""
    until: Until | None = None
    """Stop asking about a row once its answer is sure, as of `candidates`."""
    gold: str | None = None
    """The field with the right answer; a row whose vote differs from it is rejected. A row where
    it is null is not checked."""


def _needs(config: RationaleSettings) -> Iterable[str]:
    return [name for name in (config.gold, config.reads.choices) if name is not None]


@step(
    "rationale",
    needs=_needs,
    gives=("rationale", "answer", "agreement", "finish"),
    supplies=SUPPLIES,
)
async def rationale(row: Row, kit: Kit, config: RationaleSettings, /) -> AsyncIterator[Row]:
    """Ask for reasoning and an answer; keep the answer that most samples give.

    Gives the `answer`, the `rationale` and `finish` of the first sample that gave it, and
    `agreement`, the share of all samples asked that gave it. Rejects `refused`, `empty_answer`,
    `truncated`, `no_cue`, `several_cues`, `several_answers`, `bad_label`, `wrong_answer`; and,
    before anybody is asked, `bad_gold`: gold that is no answer of the type.
    """
    choices = choices_of(row.fields, config.reads)
    gold = None if config.gold is None else gold_of(row.fields, config.gold, config.reads, choices)
    heard = await reasoned(
        row,
        kit,
        config,
        teachers=[config.teacher],
        samples=config.samples,
        until=config.until,
    )
    losses = [one.loss for one in heard if one.loss is not None]
    if len(losses) == len(heard):
        give_up([one.reply for one in heard], losses)
    answers = [one.candidate.answer for one in heard]
    winners = clusters(answers, config=config.reads, choices=choices)[0].places
    first = heard[winners[0]].candidate
    if gold is not None and not same(first.answer, gold, config.reads, choices):
        raise Rejected(
            "wrong_answer", f"answered {first.answer}, gold {row.fields[config.gold or '']}"
        )
    discard_all(kit, losses)
    yield row.with_fields(
        rationale=first.rationale,
        answer=first.answer,
        agreement=len(winners) / len(heard),
        finish=first.finish,
    )
