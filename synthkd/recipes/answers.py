r"""Reads the answer out of what a teacher wrote. Pure: text in, a `Reading` out, nothing raised.

    >>> reply = "Only (b) can be solved. So the answer is (b) a problem.\n\nQ: What is ..."
    >>> read_answer(reply, choices=["park", "math problem"], stop_at=["\n\nQ:"])
    Reading(answer='math problem', rationale='Only (b) can be solved.', fault=None, detail='')

The rules, in this order:

1. The text is cut where the model goes on into a next question that it invented (`stop_at`).
2. The answer stands behind a cue, on the first line there that is not blank. A cue may stand
   several times; two of them with different answers are `several_answers`.
3. Among choices, a letter right behind the cue decides, and the answer is that choice's text: the
   words that the model wrote after the letter do not matter. Otherwise the line must name exactly
   one choice, by a letter in parentheses or, where there is no letter, by its text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from synthkd.text import OUTER_PUNCTUATION, equivalent

DEFAULT_CUES = ("So the answer is", "The answer is", "Answer:")
"""The wording of the chain-of-thought prompts of 2022 that most templates still follow."""

_LETTER_FIRST = re.compile(r"[^\w\n]*([A-Za-z])(?:[).:](?!\w)|[^\w\n]*$)")
_LETTERS = re.compile(r"\(([A-Za-z])\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reply says; either an answer or a fault."""

    answer: str | None
    """The answer: of choices, the choice's own text. None = there is a fault."""
    rationale: str = ""
    """What stands before the first cue."""
    fault: str | None = None
    """`no_answer`, `several_answers`, `bad_label` (none of the choices) or `truncated`."""
    detail: str = ""
    """The part of the reply that shows the fault."""


def read_answer(
    text: str,
    *,
    choices: Sequence[str] | None = None,
    cues: Sequence[str] = DEFAULT_CUES,
    stop_at: Sequence[str] = (),
    cut_short: bool = False,
) -> Reading:
    """The rationale and the answer of a step-by-step reply.

    Args:
        text: the reply as it came.
        choices: the allowed answers; None = any text.
        cues: what the answer stands behind, in any capitalisation.
        stop_at: markers of an invented next question; the first of them ends the reply.
        cut_short: whether the reply ended at its `max_tokens`: no answer is then `truncated`.
    """
    text = before(text, stop_at)
    rationale, *behind = _split_at(text, cues)
    rationale = rationale.strip()
    lines = [line for line in map(_first_line, behind) if line]
    if not lines:
        fault = "truncated" if cut_short else "no_answer"
        return Reading(answer=None, rationale=rationale, fault=fault, detail=_tail(text))
    said = [_named(line, choices) for line in lines]
    answers = {equivalent(answer): answer for answers in said for answer in answers}
    if len(answers) == 1:
        return Reading(answer=next(iter(answers.values())), rationale=rationale)
    fault = "several_answers" if answers else "bad_label"
    return Reading(answer=None, rationale=rationale, fault=fault, detail=_tail(" | ".join(lines)))


def named_choices(text: str, choices: Iterable[str]) -> list[str]:
    """The choices whose text stands in `text` as whole words, the longest first.

    Case, and spaces against underscores, make no difference. What belongs to a longer choice does
    not count for a shorter one: "sea world" does not name "sea".
    """
    found = []
    for choice in sorted(
        {c for c in choices if c.strip(OUTER_PUNCTUATION)}, key=lambda c: (-len(c), c)
    ):
        text, times = _whole_words(choice).subn("\n", text)
        if times:
            found.append(choice)
    return found


def before(text: str, markers: Iterable[str]) -> str:
    """The text up to the first of the markers, or all of it."""
    return text[: min((at for m in markers if m and (at := text.find(m)) >= 0), default=None)]


def _split_at(text: str, cues: Collection[str]) -> list[str]:
    """What stands before the first cue, and then behind each of them."""
    # The longest first, so that "So the answer is" leaves no "So" to the rationale.
    words = "|".join(re.escape(cue) for cue in sorted(cues, key=len, reverse=True) if cue)
    return re.split(words, text, flags=re.IGNORECASE) if words else [text]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _named(line: str, choices: Sequence[str] | None) -> list[str]:
    """The answers that a line names."""
    if choices is None:
        answer = line.removesuffix(".").strip(" *`\"'")
        return [answer] if answer else []
    exact = [choice for choice in choices if equivalent(choice) == equivalent(line)]
    if exact:
        return exact[:1]
    first = _LETTER_FIRST.match(line)
    letters = [first[1]] if first else _LETTERS.findall(line)
    if letters:
        places = [ord(letter.lower()) - ord("a") for letter in letters]
        return [choices[place] for place in places if place < len(choices)]
    return named_choices(line, choices)


@lru_cache(maxsize=4096)
def _whole_words(choice: str) -> re.Pattern[str]:
    words = r"[\s_]+".join(re.escape(word) for word in choice.replace("_", " ").split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def _tail(text: str) -> str:
    """Its end, where the answer should be, short enough for a table of rejections."""
    return text if len(text) <= 200 else "..." + text[-197:]
