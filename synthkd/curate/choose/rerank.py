"""`choose.rerank`: the best candidate by a judge, among the answers that are given most often.

Solution-cluster re-ranking (arXiv 2310.10047): candidates with equivalent answers are one cluster,
the `top` largest clusters stay, and a judge's score decides inside of them: a lone answer that the
judge overrates is no danger, and a vote is not the last word. The weighted way adds up the scores
of each cluster instead, so that votes and scores decide together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field, model_validator

from synthkd.curate.choose.chosen import (
    GIVES,
    WeighedSettings,
    chosen,
    pool_of,
    usable,
    weights_of,
)
from synthkd.rows import Row
from synthkd.steps import Kit, step


class RerankSettings(WeighedSettings):
    """Settings of `choose.rerank`; `weight` and `teacher_weights` are the judge's score."""

    weight: str | None = "score"
    top: Annotated[int, Field(ge=1, le=10_000)] = 8
    """How many of the largest clusters stay; 8 in the paper, of 64 candidates."""
    weighted: bool = False
    """Whether the scores of a cluster are added up; by default its best one counts."""

    @model_validator(mode="after")
    def _something_to_rank_by(self) -> RerankSettings:
        if self.weight is None and self.teacher_weights is None:
            raise ValueError("must have a score to rank by: weight, teacher_weights or both")
        return self


@step("choose.rerank", needs=lambda config: config.needed, gives=GIVES)
async def rerank(row: Row, kit: Kit, config: RerankSettings, /) -> AsyncIterator[Row]:
    """Choose by score among the candidates whose answers are given most often.

    Of equal scores the larger cluster wins, of equal clusters the earlier one. Gives `agreement`:
    the share of all candidates with the chosen answer. Rejects `no_candidate`.
    """
    pool = pool_of(row, config.candidates)
    able = usable(pool)
    scores = weights_of(able, config)
    best_place, best_score, agreement = 0, -1.0, 0.0
    for cluster in config.clusters(row, able)[: config.top]:
        place = max(cluster.places, key=lambda place: scores[place])
        own = [scores[each] for each in cluster.places]
        score = round(sum(own), 12) if config.weighted else scores[place]
        if score > best_score:  # strictly: the larger cluster keeps a tie
            best_place, best_score = place, score
            agreement = len(cluster.places) / len(pool)
    yield chosen(row, able[best_place], agreement=agreement)
