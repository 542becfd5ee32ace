"""`choose.judged`: the answer of the pool that a judge scores best, as `judge.best_of` does."""

from __future__ import annotations

from collections.abc import AsyncIterator

from synthkd.config.student import CUE
from synthkd.curate.choose.chosen import GIVES
from synthkd.curate.choose.eligible import (
    ChoosingSettings,
    Written,
    eligible,
    with_choice,
    written,
)
from synthkd.curate.judges.best_of import MOST_ANSWERS, EachSettings, best_among, warnings
from synthkd.curate.judges.scoring import SUPPLIES
from synthkd.errors import RowError
from synthkd.rows import Row
from synthkd.steps import Kit, step


class JudgedSettings(EachSettings, ChoosingSettings):
    """Settings of `choose.judged`."""

    judged: Written = "text"
    """What the judge is shown: the `text` as it came, the `rationale`, or `rationale_first`
    (rationale, a new line, cue and answer)."""
    cue: str = CUE
    """Before the answer, of `rationale_first`."""


@step(
    "choose.judged",
    needs=lambda config: [config.question, *config.needed],
    gives=(*GIVES, "verdict", "confidence"),
    supplies=SUPPLIES,
    warns=warnings,
)
async def judged(row: Row, kit: Kit, config: JudgedSettings, /) -> AsyncIterator[Row]:
    """Take the answer that the judge scores best, the first of equals; equal texts are one.

    Gives what `choose.strongest` does, each candidate its `score`, `confidence` (the chosen one's)
    and `verdict`: `score`, `place` (among the different texts) and all `answers` of the judge.
    Rejects `no_candidate`, `wrong_answer`, and what `judge.best_of` rejects.
    """
    left = eligible(row, config)
    shown = [written(one, config.judged, config.cue) for one in left]
    texts = list(dict.fromkeys(shown))
    if len(texts) > MOST_ANSWERS:
        raise RowError(f"{len(texts)} different candidates, at most {MOST_ANSWERS} are judged")
    best = await best_among(row, kit, config, texts)
    scores = dict(zip(texts, best.scores, strict=True))
    said = {
        (one.teacher, one.sample): {"score": scores[text]}
        for one, text in zip(left, shown, strict=True)
    }
    made = with_choice(row, left[shown.index(texts[best.place])], config, said)
    yield made.with_fields(
        confidence=best.score,
        verdict={"score": best.score, "place": best.place, "answers": best.told},
    )
