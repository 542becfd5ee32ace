"""`documents.pairs`: pairs of instruction and response that a raw text has, or supports.

The third operator of the augmentation family (arXiv 2412.04871, as EasyDistill has it), which takes
what the teacher says; here each pair is held against its passage as in `documents.questions`. One
call a passage, where that step has one for each question: cheaper, and the teacher answers only
what it chose to ask.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from synthkd.kit import Kit
from synthkd.recipes.documents.pair import DocumentSettings, Pair, asked_wrongly, fault_of, told
from synthkd.recipes.documents.reading import (
    PAIRS,
    Reading,
    borne_out,
    ended,
    gives,
    passage_replies,
    reading_of,
    usual_calls,
)
from synthkd.recipes.replies import Loss
from synthkd.rows import Row
from synthkd.steps import step
from synthkd.text import normalised


class PairsSettings(DocumentSettings):
    """Settings of `documents.pairs`."""

    prompt: str = "documents/pairs"
    """Asks for pairs; gets passage and count."""

    @property
    def calls_a_row(self) -> int:
        """Questions about a usual document; for the forecast."""
        return usual_calls(self, 1)


@step(
    "documents.pairs",
    needs=lambda config: [config.text],
    gives=gives,
    supplies=("passage", "count", "question", "answer"),
    fans_out=True,
)
async def pairs(row: Row, kit: Kit, config: PairsSettings, /) -> AsyncIterator[Row]:
    """Ask for the pairs of each passage; each that holds becomes a row.

    Gives `instruction`, `input`, `output`, `task`, `evidence` and `passage`. Discards
    `points_outside`, `not_of_the_document`, `repeated_question` and what `fault_of` and the judge
    find; rejects `no_text`, `no_pairs`, and for the most frequent of those reasons a document that
    has no pair left.
    """
    reading = reading_of(row, kit, config)
    found = await _found(reading, config)
    kept = await borne_out(reading, config, found)
    ended(reading, kept, "no_pairs")
    for pair in kept:
        yield row.with_fields(**told(pair, config)).with_made_by(*pair.keys)


async def _found(reading: Reading, config: PairsSettings) -> list[Pair]:
    replies = await passage_replies(reading, config, config.prompt, PAIRS)
    found: list[Pair] = []
    seen: set[str] = set()
    for number, reply in enumerate(replies):
        value, keys = reading.value(reply)
        for one in (value or {}).get("pairs", ())[: config.count]:
            pair = Pair(
                instruction=one["instruction"].strip(),
                answer=one["response"].strip(),
                document=reading.document,
                passage=number,
                span=reading.spans[number],
                keys=keys,
            )
            if (known := normalised(pair.instruction)) in seen:
                reading.losses.append(Loss("repeated_question", pair.instruction[:200]))
            elif not reading.lose(
                asked_wrongly(pair.instruction, pair.document, config) or fault_of(pair, config)
            ):
                found.append(pair)
            seen.add(known)
    reading.kit.count("pairs", len(seen))
    return found
