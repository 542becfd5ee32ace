"""`gate.truncated`: answers that break off.

Where the row says how its answer ended (`generate` writes `finish`), that decides: `length` is cut,
`stop` is whole. Where it says nothing, the text is looked at: code that is fenced and never closed,
an opened bracket or quotation that never closes in the last paragraph, and an end in mid-sentence:
after a comma, an opening bracket, or a word that no sentence ends with ("the", "und", "de la").

A sentence that breaks off between two words which could both end it cannot be told from a whole one
without a full stop, and many good answers have none: `need_stop` rejects those as well, for prose.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from synthkd.curate.fields import text_of
from synthkd.errors import Rejected, RowError
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step

CUT, WHOLE = "length", frozenset({"stop", "tool_calls"})
"""How an answer ended, as the API says it: cut at max_tokens, or by itself."""
READ_CHARS = 2000
"""Of the end: an older bracket that was never closed says nothing about the end."""
LONG_WORDS = 8
"""`need_stop` asks for an end only of a last line with so many words: shorter are titles, items."""

_WORDS = (
    "the a an of and or but than whose because although into onto its their your our my "
    "der die das des dem den ein eine einer einem einen und oder aber mit von vom zum zur für weil "
    "dass wenn als im ins bei durch "
    "le la les un une des du de et ou mais avec pour dans par sur que qui parce "
    "el los las una del y o pero con para por en porque "
    "il lo gli uno della delle degli dei e ma per nel nella perché "
    "os um uma do da dos das com em no na porque "
    "het een van met voor omdat "
    "и в на с по для что потому"
)
NEVER_LAST = frozenset(_WORDS.split())
"""Words that hardly ever end a sentence, in several languages. Not the English prepositions and
auxiliaries, which end questions: "where did it come from", "what the rates are"."""
_ENDS_WORD = re.compile(r"([^\W\d_]+)$")
_STOPS = frozenset(
    ".!?\u2026\u3002\uff01\uff1f\u061f\u0964\u06d4:;)]}\"'\u201d\u2019\u300d\u00bb*`>|~"
)
_GOES_ON = frozenset(",([{\u201c\u300c\u00ab\uff0c\u3001\u2013\u2014-")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)", re.MULTILINE)
_LIST_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d+[.)]|[A-Za-z][.)]|#+|\|)\s*")


class TruncatedConfig(StepSettings):
    """What counts as broken off."""

    field: str
    """The field with the text that is looked at."""
    finish: str = "finish"
    """The field that says how the answer ended; a row without it is judged by its text alone."""
    need_stop: bool = False
    """Also reject a last line of eight or more words that ends without punctuation."""


@step("gate.truncated", needs=lambda config: [config.field])
async def truncated(row: Row, kit: Kit, config: TruncatedConfig, /) -> AsyncIterator[Row]:
    """Rejects answers that break off (`truncated`): `finish` says so, or else the text does."""
    text = text_of(row, config.field)
    finish = row.fields.get(config.finish)
    if not isinstance(finish, str | None):
        raise RowError(f"{config.finish} must be text or null, got {finish!r:.80}")
    if finish == CUT:
        raise Rejected("truncated", f"{config.finish} is {CUT}: cut at the longest answer allowed")
    if finish not in WHOLE and (sign := sign_of_a_cut(text, need_stop=config.need_stop)):
        raise Rejected("truncated", f"{config.field} {sign}, after {text.rstrip()[-40:]!r}")
    yield row


def sign_of_a_cut(text: str, *, need_stop: bool = False) -> str | None:
    """What shows that the text breaks off; None = nothing does, as in an empty text."""
    text = text.rstrip()
    if not text:
        return None
    if in_fence(text):
        return "ends inside a code fence"
    if text.endswith(("```", "~~~")):
        return None
    paragraph = text[-READ_CHARS:].rpartition("\n\n")[2]
    last_line = paragraph.rpartition("\n")[2]
    if is_prose(last_line):
        word = _ENDS_WORD.search(last_line)
        if text[-1] in _GOES_ON and last_line != text[-1]:
            return f"ends with {text[-1]!r}"
        # One letter may be a name or a unit: "plan A", "vitamin E".
        if word is not None and len(word[0]) > 1 and word[0] in NEVER_LAST:
            return f"ends with the word {word[0]!r}"
        if (bracket := open_bracket(last_line)) is not None:
            return f"ends inside {bracket!r}"
        if need_stop and text[-1] not in _STOPS and len(last_line.split()) >= LONG_WORDS:
            return "ends without punctuation"
    return None


def in_fence(text: str) -> bool:
    """Whether the text ends inside a code fence (CommonMark, fenced code blocks)."""
    opened: str | None = None
    for found in _FENCE.finditer(text):
        fence = found[1]
        if opened is None:
            opened = fence
        elif fence[0] == opened[0] and len(fence) >= len(opened):
            opened = None
    return opened is not None


def open_bracket(line: str) -> str | None:
    """The last bracket of the line that is opened and never closed."""
    opened: list[str] = []
    for sign in line:
        if sign in "([{":
            opened.append(sign)
        elif sign in _PAIRS and opened and opened[-1] == _PAIRS[sign]:
            opened.pop()
    return opened[-1] if opened else None


def is_prose(line: str) -> bool:
    """Whether the line is a sentence rather than an item, a heading or code."""
    words = _LIST_ITEM.sub("", line, count=1).split()
    return len(words) >= 3 and not re.search(r"[=;{}<>\\|_]|\(\)|//", line)
