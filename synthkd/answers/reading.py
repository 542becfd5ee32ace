r"""Reads the answer out of what a teacher wrote. Pure: text in, a `Reading` out, nothing raised.

    >>> reply = "Only (b) can be solved. So the answer is (b) a problem.\n\nQ: What is ..."
    >>> read(reply, AnswerSettings(), choices=["park", "math problem"]).answer
    'math problem'

The rules, in this order:

1. The text is cut where the model goes on into a next question that it invented (`stop_at`).
2. The answer stands behind a cue, on the first line there that says something (of a set or a list,
   also on the bullets there); in \boxed{}, if there is one. A cue may stand several times; two of
   them with different answers are `several_cues`, unless `take` says which one counts.
3. Where no cue has anything behind it, the answer is what stands in \boxed{}.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from synthkd.answers.faults import NotRead, SeveralRead
from synthkd.answers.series import BULLET
from synthkd.answers.settings import LISTED, AnswerSettings
from synthkd.answers.types import same, spelt
from synthkd.text import tail

Status = Literal[
    "ok", "run_on_cut", "no_cue", "several_cues", "several_answers", "bad_label", "truncated"
]
READ = frozenset({"ok", "run_on_cut"})
"""The statuses with an answer."""
_BRACES = re.compile(r"(\\(?:boxed|fbox)\s*\{)|(\\.)|([{}])", re.DOTALL)


_NOTHING = re.compile(r":|(?::?(?:\*\*|__):?)|```\w*|\$\$|\\\[")
"""A line between a cue and its answer: the rest of a heading, the begin of a block."""
_MOST_NOTHING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reply answers."""

    status: Status
    """`ok`; or `run_on_cut`, an answer too, of a reply that went on into a next question. Else
    `no_cue` (none, or nothing behind it), `several_cues` (with different answers),
    `several_answers` (behind one cue), `bad_label` (no answer of the type) or `truncated`."""
    answer: str | None = None
    """In canonical spelling; of choices, the choice's own text. None = the status has none."""
    said: str = ""
    """The same as the reply has it."""
    rationale: str = ""
    """What stands before the first cue."""
    detail: str = ""
    """What is wrong, and the part of the reply that shows it."""


class _Place(NamedTuple):
    """Words that should be an answer."""

    words: str
    cut: bool
    """Whether the reply ends with them, so that they may lack their end."""


def read(
    text: str,
    config: AnswerSettings,
    *,
    choices: Sequence[str] | None = None,
    cut_short: bool = False,
) -> Reading:
    """The rationale and the answer of a step-by-step reply.

    Args:
        text: the reply as it came.
        config: what the answer is, and where it stands.
        choices: the row's choices; by default the labels of `config`.
        cut_short: whether the reply ended at its `max_tokens`: no answer, or one that is right at
            the end and whose end cannot be known, is then `truncated`.
    """
    listed = choices if choices is not None else config.labels
    kept = before(text, config.stop_at)
    ran_on = len(kept) < len(text)
    rationale, places = _places(kept, config)
    unsure = cut_short and not ran_on
    if not places:
        status: Status = "truncated" if unsure else "no_cue"
        return Reading(status=status, rationale=rationale, detail=tail(kept or text))
    if config.take != "only":
        places = [places[0 if config.take == "first" else -1]]
    if unsure and places[-1].cut and config.type_for(listed) not in LISTED:
        detail = f"the answer may lack its end: {tail(places[-1].words)}"
        return Reading(status="truncated", rationale=rationale, detail=detail)
    return _settled(places, config, listed, rationale, ran_on=ran_on)


def before(text: str, markers: Iterable[str]) -> str:
    """The text up to the first of the markers, or all of it."""
    return text[: min((at for m in markers if m and (at := text.find(m)) >= 0), default=None)]


def boxed(text: str) -> list[tuple[int, str]]:
    r"""What stands in each \boxed{} that is closed and has none inside, and where it begins.

    One pass, however many are open.
    """
    found: list[tuple[int, str]] = []
    open_boxes: list[tuple[int, int, int]] = []  # of the command, of its content, the depth outside
    depth = 0
    for match in _BRACES.finditer(text):
        if match[1]:
            open_boxes.append((match.start(), match.end(), depth))
            depth += 1
        elif match[3] == "{":
            depth += 1
        elif match[3] == "}" and depth:
            depth -= 1
            if open_boxes and open_boxes[-1][2] == depth:
                start, inside, _ = open_boxes.pop()
                if not found or found[-1][0] < start:
                    found.append((start, text[inside : match.start()].strip()))
    return found


def _places(text: str, config: AnswerSettings) -> tuple[str, list[_Place]]:
    """What stands before the first cue or box, and the words that should be answers."""
    rationale, *behind = _split_at(text, config.cue) if config.cue else ("", text)
    lines = [_block(part, config) for part in behind]
    places = [
        place
        for number, line in enumerate(lines)
        for place in _in_boxes(line, cut=number == len(lines) - 1 and _ends(behind[-1], line))
    ]
    if places:
        return rationale.strip(), places
    boxes = [(at, content) for at, content in boxed(text) if content]
    if boxes:
        return text[: boxes[0][0]].strip(), [_Place(content, False) for _, content in boxes]
    return rationale.strip(), []


def _in_boxes(line: str, *, cut: bool) -> list[_Place]:
    if boxes := [content for _, content in boxed(line) if content]:
        return [_Place(content, False) for content in boxes]
    return [_Place(line, cut)] if line else []


def _ends(part: str, line: str) -> bool:
    """Whether nothing stands behind the line, not even its line break."""
    return part.endswith(line)


def _settled(
    places: Sequence[_Place],
    config: AnswerSettings,
    listed: Sequence[str] | None,
    rationale: str,
    *,
    ran_on: bool,
) -> Reading:
    """The answer of words that agree, or why there is none.

    Words that are no answer do not count beside others that are: "the answer is not obvious".
    """
    found: list[tuple[str, str]] = []
    faults: list[NotRead] = []
    for words in dict.fromkeys(place.words for place in places):
        if len(found) > 1:
            break  # nothing that follows would make them one
        try:
            answer = spelt(words, config, listed)
        except NotRead as fault:
            faults.append(fault)
            continue
        if not found or not same(found[0][0], answer, config, listed):
            found.append((answer, words))
    several = [fault for fault in faults if isinstance(fault, SeveralRead)]
    status: Status
    if several:
        status, detail = "several_answers", str(several[0])
    elif len(found) > 1:
        status, detail = "several_cues", tail(" | ".join(words for _, words in found))
    elif not found:
        status, detail = "bad_label", str(faults[0])
    else:
        answer, said = found[0]
        status = "run_on_cut" if ran_on else "ok"
        return Reading(status=status, answer=answer, said=said, rationale=rationale)
    return Reading(status=status, rationale=rationale, detail=detail)


def _split_at(text: str, cues: Collection[str]) -> list[str]:
    """What stands before the first cue, and then behind each of them."""
    # The longest first, so that "So the answer is" leaves no "So" to the rationale.
    words = "|".join(re.escape(cue) for cue in sorted(cues, key=len, reverse=True) if cue)
    return re.split(words, text, flags=re.IGNORECASE) if words else [text]


def _block(text: str, config: AnswerSettings) -> str:
    """The first line that is not blank, with the bullets below it if it is one of them."""
    text = text.lstrip()
    for _ in range(_MOST_NOTHING):
        line, _, rest = text.partition("\n")
        if not _NOTHING.fullmatch(line.strip()) or not rest or rest.isspace():
            break
        text = rest.lstrip()
    line = text.partition("\n")[0].strip()
    if config.type not in ("set", "list") or not BULLET.match(line):
        return line
    bullets = []
    for each in text.split("\n"):
        if not BULLET.match(each):
            break
        bullets.append(each.strip())
    return "\n".join(bullets)
