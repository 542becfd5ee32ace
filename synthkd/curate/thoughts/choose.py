"""`thoughts.choose`: of the candidates that a row has already, the one thought to learn from.

Such as those of a dump (`import.replies`): what `thoughts` does with replies that it asks for, done
with replies that are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from synthkd.answers import choices_of
from synthkd.curate.thoughts.verdicts import (
    GIVES,
    ThoughtSettings,
    found_in,
    is_good,
    judged,
    read_candidate,
    why_lost,
)
from synthkd.errors import Rejected
from synthkd.recipes.pool import POOL, pool_of, told
from synthkd.rows import Row
from synthkd.steps import Kit, step


@step("thoughts.choose", needs=lambda config: [POOL, *config.row_fields], gives=GIVES)
async def choose(row: Row, kit: Kit, config: ThoughtSettings, /) -> AsyncIterator[Row]:
    """Keep of a row's candidates one with both parts and the right answer; asks nobody.

    Gives what `thoughts` gives. Rejects `unsolved`, `bad_gold`, `no_candidate`, or the commonest
    reason where no candidate has two parts and an answer.
    """
    choices = choices_of(row.fields, config.answer)
    read = [read_candidate(one, config, choices) for one in pool_of(row)]
    pool = judged(read, row, config, choices)
    if not any(map(is_good, pool)):
        if not pool:
            raise Rejected("no_candidate", "the row has none")
        reasons = Counter(map(why_lost, pool))
        reason = reasons.most_common(1)[0][0]
        answered = any(one.answer is not None for one in pool)
        raise Rejected("unsolved" if answered else reason, f"of {len(pool)}: {dict(reasons)}")
    for one in pool:
        if not is_good(one):
            kit.discard(why_lost(one), (one.text or "")[-200:])
    yield row.with_fields(**found_in(pool, config), **{POOL: told(pool)})
