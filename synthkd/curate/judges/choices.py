"""Reads which of two answers a judge prefers. Pure and total: any text gives a choice or a loss.

{"reasoning": "...", "verdict": "second"}       what the shipped prompt asks for
[[B]]     Output (b)     Answer 2     tie      what other prompts of the field ask for
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synthkd.curate.judges.verdict import NO_VERDICT, SEVERAL, objects_in
from synthkd.recipes.replies import Loss
from synthkd.rows import clean
from synthkd.schemas import Schema

Outcome = Literal["first", "second", "tie"]
FLIPPED: Mapping[Outcome, Outcome] = {"first": "second", "second": "first", "tie": "tie"}

_WORDS: Mapping[Outcome, str] = {
    "first": "first|a|1",
    "second": "second|b|2",
    "tie": "tie|equal|both|neither|c|0",
}
"""What stands for each where the answer is nothing else."""
_NOUN = r"(?:output|answer|response|assistant|option|candidate|model)"
_NAMED: Mapping[Outcome, str] = {
    "first": rf"\[\[a\]\]|\b{_NOUN}\s*\(?(?:a|1)\b\)?|\bfirst\b",
    "second": rf"\[\[b\]\]|\b{_NOUN}\s*\(?(?:b|2)\b\)?|\bsecond\b",
    "tie": r"\[\[c\]\]|\btie\b",
}
"""What names each within a sentence."""
_ALONE = {
    outcome: re.compile(rf"\W*(?:{_NOUN}\W*)?(?:{words})\W*", re.IGNORECASE)
    for outcome, words in _WORDS.items()
}
_WITHIN = {outcome: re.compile(words, re.IGNORECASE) for outcome, words in _NAMED.items()}

_SAID = re.compile(r'"verdict"\s*:\s*"([^"\\]{1,40})"')
"""A verdict wherever it stands, but for inside a string."""

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
    """The preference in a reply: a JSON object with `verdict`, or plain text that names one.

    Two objects with different preferences, or a text that names both answers, are
    `several_verdicts`: what was meant is not guessed.
    """
    objects = [value for value in objects_in(text) if "verdict" in value]
    if objects:
        told = {_alone(value["verdict"]) for value in objects}
        # An object that cannot be read may hold the real verdict, and quote a forged one.
        told |= {_alone(word) for word in _SAID.findall(text)}
        if len(told) > 1:
            return Choice(loss=Loss(SEVERAL, text[-200:]))
        (better,) = told
        if better is None:
            return Choice(loss=Loss(NO_VERDICT, f"verdict is {objects[-1]['verdict']!r:.80}"))
        return Choice(better=better, reasoning=_reasoning(objects[-1]))
    if (alone := _alone(text)) is not None:
        return Choice(better=alone)
    named = [outcome for outcome, pattern in _WITHIN.items() if pattern.search(text)]
    if len(named) == 1:
        return Choice(better=named[0], reasoning=text)
    return Choice(loss=Loss(SEVERAL if named else NO_VERDICT, text[-200:] or "empty"))


def _alone(value: Any) -> Outcome | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if len(text) > 40:
        return None
    return next((outcome for outcome, form in _ALONE.items() if form.fullmatch(text)), None)


def _reasoning(value: Mapping[str, Any]) -> str | None:
    reasoning = value.get("reasoning")
    return str(clean(reasoning, {})) if isinstance(reasoning, str) else None
