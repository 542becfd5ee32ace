"""`difficulty.agreement`: how much the candidates of a row disagree; nobody is asked, no gold.

    difficulty = 1 - share of all candidates with the most frequent answer    # 0 = all agree

Where teachers that answer well agree, the question is easy: a measure for pools that are there
already. It is of the teachers, not of the student, and a mistake that all make looks easy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from synthkd.curate.choose.chosen import ChoiceSettings, pool_of, usable
from synthkd.curate.difficulty.measured import DifficultySettings, fields_of, measured
from synthkd.recipes.spread import with_spread
from synthkd.rows import Json, Row
from synthkd.steps import Kit, step

BY = "difficulty.agreement"


class AgreementSettings(ChoiceSettings, DifficultySettings):
    """Settings of `difficulty.agreement`."""


def _needs(config: AgreementSettings) -> Iterable[str]:
    return [*fields_of(config), *config.needed]


@step(BY, needs=_needs, gives=lambda config: config.gives, sums_up=with_spread)
async def agreement(row: Row, kit: Kit, config: AgreementSettings, /) -> AsyncIterator[Row]:
    """Count how many candidates do not give the most frequent answer; an unreadable one does not.

    Gives `difficulty` (0 to less than 1) and `difficulty_parts`: the answer, candidates, how many
    agree, different answers. Rejects `no_candidate` (none is readable: it may be hard, or the
    question is none), `too_easy`.
    """
    pool = pool_of(row, config.candidates)
    able = usable(pool)
    found = config.clusters(row, able)
    agree = len(found[0].places)
    parts: dict[str, Json] = {
        "answer": able[found[0].places[0]].answer,
        "agree": agree,
        "candidates": len(pool),
        "answers": len(found),
    }
    yield measured(row, kit, config, 1 - agree / len(pool), by=BY, width=0.1, parts=parts)
