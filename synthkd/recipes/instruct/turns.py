"""How chat templates open a user's turn: what a model is given so that it writes one itself.

The pieces are data: a template of a model is a program, which nobody here runs. No piece begins
with the mark of a text's beginning (such as `<|begin_of_text|>`), because servers put it there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import model_validator

from synthkd.recipes.replies import Loss
from synthkd.steps import StepSettings
from synthkd.text import tail

PLACE = "{system}"


class TurnTemplate(StepSettings):
    """The pieces of a chat template around a user's turn."""

    opening: str
    """What stands before the user's words, where there is no system message."""
    system: str | None = None
    """The same with a system message, at `{system}`; None = the template has none."""
    end: str
    """What ends the user's turn."""
    assistant: str
    """What opens the assistant's turn, which has no place in a user's."""

    @model_validator(mode="after")
    def _usable(self) -> TurnTemplate:
        if not (self.opening.strip() and self.end.strip() and self.assistant.strip()):
            raise ValueError("opening, end and assistant must have marks in them")
        if self.system is not None and self.system.count(PLACE) != 1:
            raise ValueError(f"system must have {PLACE} exactly once")
        return self

    def opened(self, system: str | None) -> str:
        """What the model continues.

        Args:
            system: the system message; None = none.

        Raises:
            ValueError: there is one, and the template has no place for it.
        """
        if system is None:
            return self.opening
        if self.system is None:
            raise ValueError("the template has no place for a system message")
        before, _, after = self.system.partition(PLACE)
        return f"{before}{system}{after}"


KNOWN: Mapping[str, TurnTemplate] = {
    # Qwen, Hermes, Yi, SmolLM and many others.
    "chatml": TurnTemplate(
        opening="<|im_start|>user\n",
        system="<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n",
        end="<|im_end|>",
        assistant="<|im_start|>assistant\n",
    ),
    "llama3": TurnTemplate(
        opening="<|start_header_id|>user<|end_header_id|>\n\n",
        system=(
            "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n"
        ),
        end="<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "llama2": TurnTemplate(
        opening="[INST] ",
        system="[INST] <<SYS>>\n{system}\n<</SYS>>\n\n",
        end="[/INST]",
        assistant="[/INST]",
    ),
    "mistral": TurnTemplate(opening="[INST] ", end="[/INST]", assistant="[/INST]"),
    "gemma": TurnTemplate(
        opening="<start_of_turn>user\n", end="<end_of_turn>", assistant="<start_of_turn>model\n"
    ),
    "phi3": TurnTemplate(
        opening="<|user|>\n",
        system="<|system|>\n{system}<|end|>\n<|user|>\n",
        end="<|end|>",
        assistant="<|assistant|>\n",
    ),
    "zephyr": TurnTemplate(
        opening="<|user|>\n",
        system="<|system|>\n{system}</s>\n<|user|>\n",
        end="</s>",
        assistant="<|assistant|>\n",
    ),
}
"""Families of models -> pieces, as their published templates have them."""

# A pipe with an arrow alone is code: `x |> head()`.
_MARKS = re.compile(r"<\|(?:\w|\s*\Z)|\w\|>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|</?s>")
_ROLES = re.compile(
    r"^\W{0,3}(?:(?:assistant|user|system|model)\W{0,3}$|(?:assistant|user|human)\s*:)",
    re.IGNORECASE,
)


def turn_in(text: str, template: TurnTemplate) -> str | Loss:
    """The one user's turn that a model wrote, or why there is none.

    A `Loss` is `empty_turn`, `several_turns` (it went on behind the turn's end) or `template_leak`
    (marks of a template within).
    """
    turn, ended, rest = text.partition(template.end)
    if ended and rest.strip():
        return Loss("several_turns", f"behind the end of the turn: {rest.strip()[:200]}")
    # A server may leave special tokens out of the text: what is left of a turn is its role's name.
    lines = turn.strip().split("\n")
    if template.assistant.strip() in turn or any(_ROLES.match(line) for line in lines[1:]):
        return Loss("several_turns", tail(turn))
    if not turn.strip():
        return Loss("empty_turn", f"{text!r:.200}")
    if (mark := mark_in(turn, template)) is not None:
        return Loss("template_leak", f"{mark!r} in: {turn.strip()[:200]}")
    return turn.strip()


def mark_in(text: str, template: TurnTemplate) -> str | None:
    """The first mark of this or a known chat template in a text that should have none."""
    own = (template.end.strip(), template.assistant.strip())
    if (mark := next((mark for mark in own if mark in text), None)) is not None:
        return mark
    return found[0] if (found := _MARKS.search(text)) else None
