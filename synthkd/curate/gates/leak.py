"""`gate.leak`: words of a template that have no place in a text.

Four kinds, each of which can be left out. `tokens`: marks of chat formats (`<|im_start|>`,
`[INST]`). `headings`: those of instruction formats, alone on their line ("### Response:";
not "### Instructions:", as recipes have it). `variables`: fields that were never filled in
(`{{ name }}`, `{% if %}`), outside of code. `roles`: an answer that opens with its speaker
("Assistant:"). Where datasets hold dialogues of users and assistants, leave `roles` out.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Literal, get_args

from pydantic import Field

from synthkd.curate.fields import excerpt, text_of
from synthkd.errors import Rejected
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step

Kind = Literal["tokens", "headings", "variables", "roles"]

PATTERNS: Mapping[Kind, re.Pattern[str]] = {
    "tokens": re.compile(
        r"<\|[a-z][a-z_]{1,29}\|>|<\|begin[\u2581_]of[\u2581_]sentence\|>|\[/?INST\]|<</?SYS>>"
        r"|</?(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS)\]"
        r"|\A\s*<s>(?!(?s:.*)</s>\s*\S)|</s>\s*\Z"
    ),
    "headings": re.compile(
        r"^[ \t]{0,3}### ?(?:Instruction|Response|Input|Assistant|Human|User|System) ?:[ \t]*$"
        r"|Below is an instruction that describes a task",
        re.MULTILINE,
    ),
    "variables": re.compile(
        r"\{\{-? ?[A-Za-z_][\w.]{0,60} ?-?\}\}|\{%-? ?(?:if|for|end(?:if|for)|else|set|block)\b"
    ),
    "roles": re.compile(
        r"\A\s*(?:\*\*)?(?:Assistant|AI Assistant|AI Language Model|Chatbot|ChatGPT|Bot|Response)"
        r"(?:\*\*)?:(?:\*\*)?\s"
    ),
}
"""Kind -> what gives it away. Every repetition is bounded or of one class: linear time."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{0,200}`", re.DOTALL)
_MARKUP = re.compile(r"<[a-z!/][^>\n]{0,200}>|\$\w+|\bdef \w+|\bimport \w+")


class LeakConfig(StepSettings):
    """Which traces of a template are looked for."""

    field: str
    """The field with the text that is looked at."""
    kinds: list[Kind] = Field(default=list(get_args(Kind)), min_length=1)
    """tokens, headings, variables, roles: all of them by default."""


@step("gate.leak", needs=lambda config: [config.field])
async def leak(row: Row, kit: Kit, config: LeakConfig, /) -> AsyncIterator[Row]:
    """Rejects texts with words of a template in them (`template_leak`)."""
    text = text_of(row, config.field)
    for kind in config.kinds:
        if (found := leaked(text, kind)) is not None:
            raise Rejected("template_leak", f"{config.field} has {excerpt(found)} ({kind})")
    yield row


def leaked(text: str, kind: Kind) -> str | None:
    """What of that kind is in the text; None = nothing."""
    if kind == "variables":
        if "{{" not in text and "{%" not in text:
            return None
        text = _CODE.sub(" ", text)
        if _MARKUP.search(text):  # a template was asked for
            return None
    found = PATTERNS[kind].search(text)
    return None if found is None else found[0].strip()
