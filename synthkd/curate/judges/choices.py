"""Reads which of two answers a judge prefers. Pure and total: any text gives a choice or a loss.

{"reasoning": "...", "verdict": "second"}       what the shipped prompt asks for
[[B]]     Output (b)     Final verdict: 2      what other prompts of the field ask for
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synthkd.curate.judges.verdict import NO_VERDICT, SEVERAL
from synthkd.recipes.objects import begins_object, own_objects
from synthkd.recipes.replies import Loss
from synthkd.rows import clean
from synthkd.schemas import Schema

Outcome = Literal["first", "second", "tie"]
FLIPPED: Mapping[Outcome, Outcome] = {"first": "second", "second": "first", "tie": "tie"}

_NOUN = r"(?:output|answer|response|assistant|option|candidate|model)"
_LEAD = (
    r"(?:(?:so|thus|therefore|hence)\W+)?(?:(?:(?:my|the|final) )*(?:verdict|choice)(?: is)?\W+)?"
)
_WORDS: Mapping[Outcome, str] = {
    "first": rf"(?:{_NOUN}\W*)?(?:first|a|1)|first {_NOUN}",
    "second": rf"(?:{_NOUN}\W*)?(?:second|b|2)|second {_NOUN}",
    "tie": "tie|equal|both|neither|c|0",
}
_ALONE = {
    outcome: re.compile(
        rf"\W*{_LEAD}(?:the )?(?:{words})(?:\W+is (?:the )?better)?\W*", re.IGNORECASE
    )
    for outcome, words in _WORDS.items()
}
"""What stands for each where the line says nothing else, but perhaps that it is the verdict."""
_NOT = re.compile(r"[!~\u00ac\u2260]\s*\w|[-\u2212]\d")
"""What makes another thing of the word behind it: !A, ~~first~~, -1."""

# Names go out in alphabetical order, and a server that holds a model to the schema makes it write
# them in that order: the reasoning must come before the verdict in the alphabet too.
SCHEMA = Schema.of(
    "preference",
    {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string"},
            "verdict": {"type": "string", "enum": ["first", "second", "tie"]},
        },
        "required": ["reasoning", "verdict"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one reply prefers, of the two as it saw them; a choice or a loss."""

    better: Outcome | None = None
    reasoning: str | None = None
    loss: Loss | None = None


def read_choice(text: str) -> Choice:
    """The preference in a reply: a JSON object with `verdict` at its end, or a last line of it.

    A line counts only where it is a choice and nothing else, and where no object was begun: the
    words of a sentence ("The second answer is wrong.") are no verdict. Two objects with different
    preferences are `several_verdicts`: what was meant is not guessed.
    """
    if not begins_object(text):
        line = text.strip().rpartition("\n")[2]
        better = _alone(line)
        loss = Loss(NO_VERDICT, text[-200:] or "empty") if better is None else None
        return Choice(better=better, reasoning=text if line != text.strip() else None, loss=loss)
    objects = own_objects(text)
    if not objects or "verdict" not in objects[-1]:
        return Choice(loss=Loss(NO_VERDICT, text[-200:]))
    told = {_alone(value["verdict"]) for value in objects if "verdict" in value}
    if len(told) > 1:
        return Choice(loss=Loss(SEVERAL, text[-200:]))
    (better,) = told
    if better is None:
        return Choice(loss=Loss(NO_VERDICT, f"verdict is {objects[-1]['verdict']!r:.80}"))
    return Choice(better=better, reasoning=_reasoning(objects[-1]))


def _alone(value: Any) -> Outcome | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if len(text) > 60 or _NOT.search(text):
        return None
    return next((outcome for outcome, form in _ALONE.items() if form.fullmatch(text)), None)


def _reasoning(value: Mapping[str, Any]) -> str | None:
    reasoning = value.get("reasoning")
    return str(clean(reasoning, {})) if isinstance(reasoning, str) else None
