"""What a written instruction must look like: Self-Instruct's filters, each with its reason.

Lists of a model come numbered; the items are told apart by their numbers. The filters are those of
Self-Instruct (arXiv 2212.10560, section 2.2 and its published code): what a model without eyes,
ears and files cannot do is not asked of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from synthkd.recipes.instruct.novelty import words_of
from synthkd.recipes.instruct.offers import Candidate
from synthkd.recipes.replies import Loss
from synthkd.steps import StepSettings

BLACKLIST = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to", "video", "audio", "music", "flowchart", "diagram"),
)
"""Of Self-Instruct's code, as whole words: what needs more than text."""
_ITEM = re.compile(
    r"^[ \t]*(\d{1,9})[ \t]*[.):\u3001\uff0e\uff09\uff1a](?!\d)[ \t]*(?:Instruction:|Task:)?[ \t]*",
    re.MULTILINE,
)
"""The signs behind a number are also those of Chinese lists."""
_OPENING_SIGNS = "\u00bf\u00a1"
"""Spanish questions and exclamations begin with them: no rest of a sentence does."""


class FormSettings(StepSettings):
    """What an instruction must look like."""

    min_words: Annotated[int, Field(ge=1)] = 4
    """Fewest words: below, most are fragments (Self-Instruct's code: more than 3)."""
    max_words: Annotated[int, Field(ge=1)] = 150
    """Most words."""
    blacklist: tuple[str, ...] = BLACKLIST
    """Words and phrases that no instruction may have, in any case."""
    programs: bool = True
    """Whether it may begin with "Write a program": Self-Instruct's code refuses these, since
    models wrote too many of them."""
    ascii_start: bool = False
    """Whether it must begin with an ASCII character, as in Self-Instruct's code, for English."""

    @model_validator(mode="after")
    def _possible(self) -> FormSettings:
        if self.max_words < self.min_words:
            raise ValueError(
                f"form: max_words is {self.max_words} and min_words {self.min_words}, which no"
                " instruction can fit"
            )
        return self


class Form:
    """The gate of these settings."""

    def __init__(self, config: FormSettings) -> None:
        self._config = config
        phrases = "|".join(re.escape(phrase) for phrase in config.blacklist)
        self._banned = re.compile(rf"\b(?:{phrases})\b", re.IGNORECASE) if phrases else None

    def __call__(self, candidate: Candidate) -> Loss | None:
        """Why it is refused."""
        text, config = candidate.text, self._config
        n = len(words_of(text))
        if n < config.min_words:
            return Loss("too_short", f"{n} words: {text[:200]}")
        if n > config.max_words:
            return Loss("too_long", f"{n} words: {text[:200]}")
        if self._banned is not None and (found := self._banned.search(text)):
            return Loss("blacklisted", f"{found[0]!r} in: {text[:200]}")
        if unicodedata.category(text[0])[0] == "P" and text[0] not in _OPENING_SIGNS:
            return Loss("starts_with_punctuation", text[:200])
        if config.ascii_start and not text[0].isascii():
            return Loss("not_ascii", text[:200])
        if not config.programs and text.casefold().startswith("write a program"):
            return Loss("program", text[:200])
        return None


def items_of(text: str) -> Iterator[str]:
    """The items of a numbered list, without their numbers; nothing where there is no list.

    Numbers must rise: "3. Mix 2. ..." inside of an item is text of the item.
    """
    ends: list[int] = []
    starts: list[int] = []
    last = -1
    for found in _ITEM.finditer(text):
        if (number := int(found[1])) > last:
            ends.append(found.start())
            starts.append(found.end())
            last = number
    for start, end in zip(starts, [*ends, len(text)][1:], strict=True):
        yield " ".join(text[start:end].split())
