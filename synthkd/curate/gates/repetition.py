"""`gate.repetition`: texts that go round in circles.

Two signs. The end repeats one chunk, at least eight times over (`loop_in`, which also breaks off
streamed answers, at several lengths); and the share of words that stand in a run of `words` words
which came before, as in Rae et al., "Scaling Language Models" (Gopher, 2021, appendix A.1.1), where
texts with too many characters in repeated 5- to 10-grams are dropped.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from pydantic import Field

from synthkd.config import Share
from synthkd.curate.fields import excerpt, text_of
from synthkd.errors import Rejected
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.teachers.stream import loop_in
from synthkd.text import UNSPACED_CLASS

LOOPS = (4096, 1024, 256)
"""Lengths in characters of the ends that are looked at: the longer, the longer the chunk may be."""
LEAST_TIMES = 8
"""So often an end repeats its chunk before it is a loop, as for streamed answers."""
_WORD = re.compile(rf"[{UNSPACED_CLASS}]|[^\W_{UNSPACED_CLASS}]+")
"""A run of letters and digits; each character in scripts without spaces, such as Chinese."""


class RepetitionConfig(StepSettings):
    """How much a text may repeat itself."""

    field: str
    """The field with the text that is looked at."""
    max_share: Share = 0.4
    """The share of words in runs that came before; 1 looks at the end only."""
    words: int = Field(default=8, ge=2, le=50)
    """How long a run is."""
    min_words: int = Field(default=50, ge=1)
    """Shorter texts have no share: a list of three equal lines is no loop."""
    loops: bool = True
    """Whether an end that repeats one chunk is looked for."""


@step("gate.repetition", needs=lambda config: [config.field])
async def repetition(row: Row, kit: Kit, config: RepetitionConfig, /) -> AsyncIterator[Row]:
    """Rejects texts that end in a loop or mostly repeat themselves (`repetition`)."""
    text = text_of(row, config.field)
    if config.loops and (chunk := ending_loop(text)) is not None:
        raise Rejected("repetition", f"{config.field} ends by repeating {excerpt(chunk)}")
    if config.max_share < 1:
        share = repeated_share(text, words=config.words, min_words=config.min_words)
        if share > config.max_share:
            raise Rejected(
                "repetition",
                f"{config.field} has {share:.2f} of its words in runs of {config.words} that came"
                f" before, max_share is {config.max_share:g}",
            )
    yield row


def ending_loop(text: str) -> str | None:
    """The chunk that the end repeats; None = it does not. Rules and blanks are no loops."""
    text = text.rstrip()
    for chars in LOOPS:
        chunk = loop_in(text[-chars:], chars=chars, longest=chars // LEAST_TIMES)
        if chunk is not None and any(c.isalnum() for c in chunk):
            return chunk
    return None


def repeated_share(text: str, *, words: int, min_words: int = 1) -> float:
    """The share of words in a run of `words` words that came before; 0 for shorter texts.

    Memory: a hash for each word of the text.
    """
    found = [hash(word) for word in _WORD.findall(text.casefold())]
    if len(found) < max(min_words, words):
        return 0.0
    seen: set[int] = set()
    repeated, covered = 0, 0  # covered: words before this index are counted already
    for start in range(len(found) - words + 1):
        run = hash(tuple(found[start : start + words]))
        if run in seen:
            repeated += start + words - max(start, covered)
            covered = start + words
        seen.add(run)
    return repeated / len(found)
