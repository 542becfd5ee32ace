"""`contrast`: of one pool, rationales to learn beside rationales to keep away from.

    positives: [{teacher, sample, ...}, ...]      rationales that lead to the right answer
    negatives: [{teacher, sample, ...}, ...]      those that lead elsewhere

After QCRD (arXiv 2405.13014): right is gold, or without it what most of the teachers say; the
rationales that agree are positives, the others negatives. Teachers that are good err too seldom to
give negatives, so the method has an earlier student write some at a high temperature: a student is
a teacher, and what it adds to the pool neither votes nor becomes a positive.

    contrast              both lists, beside the pool
    contrast.pairs        each row becomes preference pairs, as `dpo` learns from

The losses of QCRD (the nearest positive, the farthest negative, a discriminator that weighs both)
are no part of this: what is made here is its data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import product
from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthkd.answers import choices_of, gold_of, same
from synthkd.config import Count
from synthkd.config.student import CUE
from synthkd.curate.choose.chosen import ChoiceSettings, usable
from synthkd.curate.choose.eligible import Written, agreeing, written
from synthkd.curate.pair_lengths import apart, count_pair, lean, with_gap, within
from synthkd.errors import Rejected
from synthkd.recipes.pool import Candidate, pool_of
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import normalised

POSITIVES, NEGATIVES = "positives", "negatives"


class ContrastSettings(ChoiceSettings):
    """Settings of `contrast`."""

    gold: str | None = None
    """The field with the right answer; without it, or where it is null, the vote of the teachers
    says what is right."""
    students: list[str] = Field(default=[])
    """Those of the pool that are students: they have no vote and give no positives."""
    student_negatives: Literal["wrong", "all"] = "wrong"
    """Which of the students' rationales are negatives. The paper takes all; a right one is hardly
    something to keep away from."""
    unread: bool = False
    """Whether replies without an answer (no cue, cut) are negatives too."""
    most: Annotated[int, Field(ge=1, le=256)] = 5
    """Positives a row, and negatives, at most; the paper's K is 5."""
    negatives_at_least: Annotated[int, Field(ge=0, le=256)] = 1
    """Rejects rows with fewer (`no_negative`); 0 keeps rows that have positives alone."""


@step(
    "contrast",
    needs=lambda config: [*config.needed, *([config.gold] if config.gold is not None else [])],
    gives=(POSITIVES, NEGATIVES, "answer", "agreement"),
)
async def contrast(row: Row, kit: Kit, config: ContrastSettings, /) -> AsyncIterator[Row]:
    """Sort the rationales of the pool into those that lead to the right answer and the others.

    Gives `positives` and `negatives` (candidates, each different rationale once), the right
    `answer` and `agreement`, the share of the teachers' candidates that gives it. Rejects
    `no_candidate`, `bad_gold`, `no_positive`, `no_negative`.
    """
    pool = pool_of(row, config.candidates)
    teachers = [one for one in pool if one.teacher not in config.students]
    right = _right(row, config, teachers)
    choices = choices_of(row.fields, config.answer)

    def gives(one: Candidate) -> bool:
        return one.is_usable and same(one.answer, right, config.answer, choices)

    good = [one for one in teachers if gives(one)]
    positives = _different(good, set())[: config.most]
    if not positives:
        given = dict.fromkeys(str(one.answer) for one in teachers if one.answer is not None)
        raise Rejected("no_positive", f"right is {right}, answered {'; '.join(given) or 'nothing'}")
    bad = [
        one
        for one in pool
        if (not gives(one) if one.is_usable else config.unread and one.answer is None)
        or (config.student_negatives == "all" and one.teacher in config.students)
    ]
    negatives = _different(bad, {normalised(one.rationale) for one in good})[: config.most]
    if len(negatives) < config.negatives_at_least:
        raise Rejected(
            "no_negative",
            f"{len(negatives)} different from the positives, negatives_at_least is"
            f" {config.negatives_at_least}",
        )
    kit.count(POSITIVES, len(positives))
    kit.count(NEGATIVES, len(negatives))
    kit.count("negatives of students", sum(one.teacher in config.students for one in negatives))
    yield row.with_fields(
        positives=[one.told for one in positives],
        negatives=[one.told for one in negatives],
        answer=right,
        agreement=len(good) / len(teachers),
    )


def _right(row: Row, config: ContrastSettings, teachers: Sequence[Candidate]) -> str:
    """What is right: gold where it is known, else what most of the teachers say."""
    if config.gold is not None:
        gold = gold_of(
            row.fields, config.gold, config.answer, choices_of(row.fields, config.answer)
        )
        if gold is not None:
            return gold
    return agreeing(row, usable(teachers), config)[0].answer or ""


def _different(found: Sequence[Candidate], taken: set[str]) -> list[Candidate]:
    """Those with a rationale, each different one once, and none that is taken."""
    by_text = {normalised(one.rationale): one for one in reversed(found)}
    first = {id(one) for text, one in by_text.items() if text and text not in taken}
    return [one for one in found if id(one) in first]


# --- as pairs


class PairsSettings(StepSettings):
    """Settings of `contrast.pairs`."""

    write: Written = "rationale_first"
    """What is preferred to what: `rationale_first` (rationale, a new line, cue, answer), the
    `rationale`, or the `text` as it came."""
    cue: str = CUE
    """Before the answer, of `rationale_first`."""
    most: Count = 1
    """Pairs a row, at most; every positive and negative is used about as often."""
    near: bool = False
    """Of all pairs of a row, those of nearest length first: what is preferred is then hardly a
    matter of length."""
    ratio: Annotated[float, Field(ge=1)] | None = None
    """Leaves out pairs of which one side is so many times as long as the other."""
    score: str | None = None
    """A number of the candidates, such as `score` or `logprob`: the preferred one must have more of
    it, by `margin`."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """The least difference of scores."""

    @model_validator(mode="after")
    def _margin_of_scores(self) -> PairsSettings:
        if self.margin and self.score is None:
            raise ValueError("margin needs `score`, the number whose difference it is")
        return self

    @property
    def rows_a_row(self) -> int:
        """Rows that come of one, at most; for the forecast."""
        return self.most


@step(
    "contrast.pairs",
    needs=(POSITIVES, NEGATIVES),
    gives=("chosen", "rejected", "margin", "chosen_from", "rejected_from"),
    fans_out=True,
    warns=lean,
    sums_up=with_gap,
)
async def pairs(row: Row, kit: Kit, config: PairsSettings, /) -> AsyncIterator[Row]:
    """Make preference pairs of what `contrast` found: a positive is preferred to a negative.

    Gives `chosen` and `rejected`, `chosen_from` and `rejected_from` (teacher, sample, key) and
    `margin`, the difference of their scores; null without `score`. Rejects `no_pair`.
    """
    good, bad = pool_of(row, POSITIVES), pool_of(row, NEGATIVES)
    left: dict[tuple[int, int], tuple[str, str, float | None]] = {}
    for place, other in product(range(len(good)), range(len(bad))):
        texts = (
            written(good[place], config.write, config.cue),
            written(bad[other], config.write, config.cue),
        )
        margin = _margin(good[place], bad[other], config)
        if _may_be(texts, margin, config):
            left[place, other] = (*texts, margin)
    if not left:
        raise Rejected("no_pair", f"of {len(good)} positives and {len(bad)} negatives none may be")
    for place, other in spread(left, config.most, near=config.near):
        chosen, rejected, margin = left[place, other]
        count_pair(kit, chosen, rejected)
        yield row.with_fields(
            chosen=chosen,
            rejected=rejected,
            margin=margin,
            chosen_from=good[place].whose,
            rejected_from=bad[other].whose,
        )


def _margin(good: Candidate, bad: Candidate, config: PairsSettings) -> float | None:
    if config.score is None:
        return None
    more, less = good.number(config.score), bad.number(config.score)
    return None if more is None or less is None else more - less


def _may_be(texts: tuple[str, str], margin: float | None, config: PairsSettings) -> bool:
    """Whether two texts may be a pair: both are there, differ, and are as the settings want."""
    first, second = (normalised(text) for text in texts)
    if not first or not second or first == second:
        return False
    if config.score is not None and (margin is None or margin <= 0 or margin < config.margin):
        return False
    return within(texts, config.ratio)


def spread(
    left: Mapping[tuple[int, int], tuple[str, str, float | None]], most: int, *, near: bool
) -> list[tuple[int, int]]:
    """So many pairs that each side is used about as often; of equals the nearest, or the first.

    Args:
        left: (place of the positive, of the negative) -> what may be a pair.
        most: pairs, at most.
        near: those of nearest length first, whatever that does to how often a side is used.
    """
    uses: dict[tuple[str, int], int] = {}
    found: list[tuple[int, int]] = []
    gaps = {pair: apart(texts[:2]) if near else 0.0 for pair, texts in left.items()}

    def rank(pair: tuple[int, int]) -> tuple[float, int, tuple[int, int]]:
        return gaps[pair], uses.get(("+", pair[0]), 0) + uses.get(("-", pair[1]), 0), pair

    # Ranks only grow: what comes first by its old rank is the best if the rank has not grown.
    ranked = list(map(rank, left))
    heapify(ranked)
    while ranked and len(found) < most:
        old = heappop(ranked)
        best = old[-1]
        if (now := rank(best)) != old:
            heappush(ranked, now)
            continue
        found.append(best)
        for side in (("+", best[0]), ("-", best[1])):
            uses[side] = uses.get(side, 0) + 1
    return found
