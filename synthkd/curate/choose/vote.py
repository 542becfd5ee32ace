"""`choose.vote`: the answer that most candidates give, or that weighs most.

Self-consistency (arXiv 2203.11171): different ways to a right answer end in one place, mistakes in
many. A candidate counts 1, or what a judge, its teacher's own probability or its teacher's weight
says.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Literal

from synthkd.config import Share
from synthkd.curate.choose.chosen import (
    GIVES,
    WeighedSettings,
    chosen,
    pool_of,
    usable,
    weights_of,
)
from synthkd.curate.gates.answers import ROUNDING
from synthkd.errors import Rejected
from synthkd.rows import Row
from synthkd.steps import Kit, step


class VoteSettings(WeighedSettings):
    """Settings of `choose.vote`."""

    ties: Literal["first", "reject"] = "first"
    """Of answers that weigh the same: the one whose first candidate comes first; or no row."""
    at_least: Share | None = None
    """The share of all candidates that must give the answer, else the row is rejected."""


@step("choose.vote", needs=lambda config: config.needed, gives=(*GIVES, "confidence"))
async def vote(row: Row, kit: Kit, config: VoteSettings, /) -> AsyncIterator[Row]:
    """Choose the answer that weighs most among a row's candidates.

    Gives the heaviest candidate with that answer (the first of equals), `agreement`: the share of
    all candidates with that answer, and `confidence`: its share of the weight. Rejects
    `no_candidate`, `tie`, `few_votes`.
    """
    pool = pool_of(row, config.candidates)
    able = usable(pool)
    weights = weights_of(able, config)
    found = config.clusters(row, able, weights)
    best = found[0]
    if config.ties == "reject" and len(found) > 1 and found[1].weight == best.weight:
        one, other = (able[cluster.places[0]].answer for cluster in found[:2])
        raise Rejected("tie", f"{one} and {other} weigh {best.weight:g} each")
    agreement = len(best.places) / len(pool)
    if config.at_least is not None and agreement < config.at_least - ROUNDING:
        raise Rejected("few_votes", f"agreement {agreement:.4g}, at_least is {config.at_least:g}")
    total = math.fsum(cluster.weight for cluster in found)
    candidate = able[max(best.places, key=lambda place: weights[place])]
    yield chosen(
        row,
        candidate,
        agreement=agreement,
        confidence=best.weight / total if total else 0.0,
    )
