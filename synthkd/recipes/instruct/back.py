"""`instruct.back`: of a text, the instruction that it answers.

Instruction back-translation (Li et al., arXiv 2308.06259, section 2.2): good texts that people have
written are taken for answers, and a teacher writes what was asked. Whether the pair is worth
learning (the paper's self-curation) is a judge's to say, in a step behind this one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from synthkd.config import Count
from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.instruct.elimination import (
    TEMPLATE_WORDS,
    eliminated,
    instruction_in,
    replied,
)
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.teachers.request import Completion
from synthkd.text import is_unspaced, normalised, without_punctuation


class BackSettings(StepSettings):
    """Settings of `instruct.back`."""

    teacher: str
    """The teacher that writes the instruction."""
    text: str = "text"
    """The field with the text, which becomes the output."""
    prompt: str = "back/instruction"
    """The prompt; the shipped one shows `text`."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""
    copied_words: Annotated[int, Field(ge=2)] = 12
    """An instruction with so many words in a row from the text gives its answer away. Answers take
    up words of their instruction too: of Alpaca's pairs 1.3 % have twelve, 10 % have eight."""
    template_words: tuple[str, ...] = TEMPLATE_WORDS
    """Words of the prompt: an instruction with one that the text has not is eliminated."""
    instruction: str = "instruction"
    """The field for what is written."""
    input: str = "input"
    """The field for what belongs to it: nothing."""
    output: str = "output"
    """The field for the text."""

    @property
    def also_shown(self) -> list[str]:
        """The field that the teacher sees."""
        return [self.text]


@step(
    "instruct.back",
    needs=lambda config: [config.text],
    gives=lambda config: (config.instruction, config.input, config.output),
    supplies=("text",),
)
async def back(row: Row, kit: Kit, config: BackSettings, /) -> AsyncIterator[Row]:
    """Write the instruction that a text answers.

    Gives the instruction, an empty input, and the text as output. Rejects `empty_text`,
    `copies_text`, `unchanged`, `template_leak`, `no_content`, `no_instruction`,
    `several_instructions`, `cut`, and for what is wrong with the reply. A row fails where nobody
    replies.
    """
    text = row.fields[config.text]
    if not isinstance(text, str) or not text.strip():
        raise Rejected("empty_text", f"{config.text} is {text!r:.80}")
    (reply,) = await kit.ask_many(
        config.prompt, {"text": text}, teachers=[config.teacher], longer=config.longer
    )
    found = _found(replied(reply), text, config)
    if isinstance(found, Loss):
        raise Rejected(found.reason, found.detail)
    made: dict[str, Json] = {config.instruction: found, config.input: "", config.output: text}
    yield row.with_fields(**made).with_made_by(*kit.keys)


def _found(reply: Completion | TeacherError, text: str, config: BackSettings) -> str | Loss:
    found = instruction_in(reply)
    if isinstance(found, Loss):
        return found
    if (loss := eliminated(found, [text], config.template_words)) is not None:
        return loss
    if (run := copied(found, text, config.copied_words)) is not None:
        return Loss("copies_text", f"{run!r} stands in the text too: {found[:200]}")
    return found


def copied(instruction: str, text: str, n: int) -> str | None:
    """The first n words in a row that both have; a character without spaces around is a word."""
    ours, theirs = _words(instruction), _words(text)
    known = {tuple(theirs[at : at + n]) for at in range(len(theirs) - n + 1)}
    for at in range(len(ours) - n + 1):
        if (run := tuple(ours[at : at + n])) in known:
            return " ".join(run)
    return None


def _words(text: str) -> list[str]:
    plain = normalised(without_punctuation(text))
    return "".join(f" {sign} " if is_unspaced(sign) else sign for sign in plain).split()
