"""`pairs`: of a row's scored answers one that is preferred, and one that is not.

    candidates: [{..., text, score}, ...]   ->   chosen, rejected, margin

The best by score is preferred to the worst, to the second best, or to one by chance, if it leads by
a margin: the preference variant of EasyDistill (arXiv 2412.04871). Scores are numbers that a step
before has added to the candidates, as `choose.judged` does. Where right and wrong are known,
`contrast.pairs` goes by that instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from synthkd.answers import choices_of, gold_of, same
from synthkd.config.student import CUE
from synthkd.curate.choose.chosen import ChoiceSettings
from synthkd.curate.choose.eligible import Written, written
from synthkd.curate.gates.answers import ROUNDING
from synthkd.curate.pair_lengths import count_pair, lean, with_gap, within
from synthkd.errors import Rejected
from synthkd.recipes.pool import Candidate, pool_of
from synthkd.rows import Row
from synthkd.steps import Kit, step
from synthkd.text import normalised

UNSCORED = "candidates without a score"


class PairsSettings(ChoiceSettings):
    """Settings of `pairs`."""

    score: str = "score"
    """The number of the candidates that says how good they are; more is better."""
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    """By how much the preferred one must lead, on the scale of the score; a tie never does."""
    rejected: Literal["min", "second", "random"] = "min"
    """What it is preferred to: the worst, the best of the others, or one of them by chance; always
    among those that it leads by the margin."""
    require_chosen_right: bool = False
    """Rejects a row whose best answer is not right (`chosen_not_right`): by `gold`, or by what a
    step before has said of the candidate under `right`; what nobody has said is not right."""
    gold: str | None = None
    """The field with the right answer."""
    ratio: Annotated[float, Field(ge=1)] | None = None
    """Leaves out answers that are so many times as long as the preferred one, or as short."""
    write: Written = "text"
    """What is preferred to what: the `text` as it came, the `rationale`, or `rationale_first`."""
    cue: str = CUE
    """Before the answer, of `rationale_first`."""

    @model_validator(mode="after")
    def _gold_is_used(self) -> PairsSettings:
        if self.gold is not None and not self.require_chosen_right:
            raise ValueError("gold says which answers are right: set require_chosen_right too")
        return self


class Scored(NamedTuple):
    """A candidate that has a text and a score."""

    candidate: Candidate
    text: str
    score: float


def _needs(config: PairsSettings) -> Iterable[str]:
    return [*config.needed, *([config.gold] if config.gold is not None else [])]


@step(
    "pairs",
    needs=_needs,
    gives=("chosen", "rejected", "margin", "chosen_from", "rejected_from"),
    warns=lean,
    sums_up=with_gap,
)
async def pairs(row: Row, kit: Kit, config: PairsSettings, /) -> AsyncIterator[Row]:
    """Prefer the best answer of the pool to another.

    Gives the texts `chosen` and `rejected`, `margin` (the difference of their scores), and
    `chosen_from` and `rejected_from` (teacher, sample, key). Rejects `too_few_scored`, `tie`,
    `identical`, `low_margin`, `unlike_lengths`, `chosen_not_right`, `bad_gold`. Figures: pairs, and
    how the lengths differ.
    """
    scored = _scored(row, kit, config)
    best = scored[0]
    if config.require_chosen_right and not _is_right(row, best.candidate, config):
        raise Rejected("chosen_not_right", f"the best ({best.score:g}) is {best.text:.120}")
    other = _rejected(kit, config, best, scored[1:])
    count_pair(kit, best.text, other.text)
    yield row.with_fields(
        chosen=best.text,
        rejected=other.text,
        margin=best.score - other.score,
        chosen_from=best.candidate.whose,
        rejected_from=other.candidate.whose,
    )


def _scored(row: Row, kit: Kit, config: PairsSettings) -> list[Scored]:
    """The candidates with text and score, the best first; of equals, as in the pool.

    Raises:
        Rejected: `too_few_scored`: there are fewer than two.
    """
    pool = pool_of(row, config.candidates)
    found = []
    for one in pool:
        score = one.number(config.score)
        text = written(one, config.write, config.cue) if score is not None else ""
        if score is not None and text.strip():
            found.append(Scored(one, text, float(score)))
    kit.count(UNSCORED, len(pool) - len(found))
    if len(found) < 2:
        raise Rejected(
            "too_few_scored",
            f"{len(found)} of {len(pool)} candidates have a text and a {config.score!r}",
        )
    return sorted(found, key=lambda one: -one.score)


def _rejected(kit: Kit, config: PairsSettings, best: Scored, others: Sequence[Scored]) -> Scored:
    """Whom the best is preferred to.

    Raises:
        Rejected: `identical`: all say the same; `tie`: none has less; `low_margin`;
            `unlike_lengths`.
    """
    said = normalised(best.text)
    different = [one for one in others if normalised(one.text) != said]
    if not different:
        raise Rejected("identical", f"all {len(others) + 1} say {best.text:.120}")
    less = [one for one in different if best.score - one.score > ROUNDING]
    if not less:
        raise Rejected("tie", f"{len(different) + 1} different answers score {best.score:g}")
    led = [one for one in less if best.score - one.score >= config.min_margin - ROUNDING]
    if not led:
        raise Rejected(
            "low_margin",
            f"{best.score:g} over {less[-1].score:g}, min_margin is {config.min_margin:g}",
        )
    led = [one for one in led if within((best.text, one.text), config.ratio)]
    if not led:
        raise Rejected("unlike_lengths", f"the best has {len(best.text)} characters")
    if config.rejected == "random":
        return kit.rng.choice(led)
    return led[0] if config.rejected == "second" else led[-1]


def _is_right(row: Row, one: Candidate, config: PairsSettings) -> bool:
    """Whether the answer is right, by gold or as a step before has said.

    Raises:
        Rejected: `bad_gold`.
    """
    if config.gold is None:
        return one.more.get("right") is True
    choices = choices_of(row.fields, config.answer)
    gold = gold_of(row.fields, config.gold, config.answer, choices)
    return gold is not None and same(one.answer, gold, config.answer, choices)
