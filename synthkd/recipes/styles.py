"""How an answer is to be written, by the class of its task.

TAPIR (arXiv 2405.13448, section 3 on response refinement): reasoning step by step before the
answer, code with comments and an explanation, all else as a good answer is. The classes are the 32
of EasyDistill's task distribution; which of them wants which style is a default of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from synthkd.recipes.tasks import spelling

Style = Literal["plain", "stepwise", "code"]

STYLES: Mapping[str, Style] = {
    **dict.fromkeys(("Math", "Reasoning"), "stepwise"),
    **dict.fromkeys(("Code Generation", "Code Debug"), "code"),
    **dict.fromkeys(
        (
            *("Writing", "Computer Science", "Complex Format", "Common-Sense", "Counterfactual"),
            *("Multilingual", "Roleplay", "Biology", "Technology", "Ethics", "Sport", "Law"),
            *("Medicine", "Literature", "Entertainment", "Art", "Music", "Toxicity", "Economy"),
            *("Physics", "History", "Chemistry", "Philosophy", "Health", "Ecology", "Grammar"),
            *("Paraphrase", "Others"),
        ),
        "plain",
    ),
}
"""Task class -> style."""


def style_of(task: object, own: Mapping[str, Style], other: Style) -> Style:
    """The style for a task class.

    Args:
        task: the class as the row has it, in any spelling that `tag` takes for the same.
        own: what the settings say, before the table of ours.
        other: of a class that neither has, and of a row without one.
    """
    name = spelling(task) if isinstance(task, str) else ""
    for table in (own, STYLES):
        for known, style in table.items():
            if spelling(known) == name:
                return style
    return other
