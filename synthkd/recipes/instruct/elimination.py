"""What a teacher wrote in place of an instruction, and why that is none or brings nothing new.

The eliminations of Evol-Instruct (WizardLM, arXiv 2304.12244, section 3.1), each with a reason:

    unchanged              the same words as a former wording, punctuation and case apart
    no_information_gain    a judge says that it asks for the same (`instruct.evolve` asks one)
    template_leak          words of the prompt that are in no former wording
    no_content             nothing but function words and punctuation

and, of an answer, for the step `instruct.eliminate`: `begs_off` and `no_content`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import Field

from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.replies import UNANSWERED, Loss, loss_of
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.teachers.request import Completion
from synthkd.text import normalised, tail, without_punctuation

TEMPLATE_WORDS = (
    *("new wording", "first wording", "former wording", "reworded task", "rewritten task"),
    *("rewritten prompt", "given prompt", "rewritten instruction", "given instruction"),
    *("<instruction", "</instruction", "<task-", "</task-", "<given-", "<text-", "<value-"),
)
"""What texts have that speak of their own prompt, in the shipped prompts' words and usual ones."""
SORRY_WORDS = 80
"""Evol-Instruct's rule: an answer of fewer words in which the word `sorry` stands begs off."""
_TAG = re.compile(r"<(/?)instruction>", re.IGNORECASE)
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_FUNCTION_WORDS = (
    "a about after again all also am an and any are as at be because been before but by can could "
    "did do does for from had has have he her here him his how i if in into is it its just may me "
    "might more most must my no not now of off on once only or other our out over own same shall "
    "she should so some such than that the their them then there these they this those to too "
    "under until up us very was we were what when where which while who whom why will with would "
    "you your"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that say nothing by themselves. Other languages are only told from punctuation."""


class EliminateSettings(StepSettings):
    """Settings of `instruct.eliminate`."""

    field: str = "output"
    """The answer."""
    sorry_words: Annotated[int, Field(ge=0)] = 0
    """Shorter answers with the word `sorry` beg off; the paper has 80. 0 = none does: of 18 answers
    to AlpacaEval that 80 would reject 8 were good ones, and `gate.refusal` finds seven times as
    many refusals (docs/log.md)."""


@step("instruct.eliminate", needs=lambda config: [config.field])
async def eliminate(row: Row, kit: Kit, config: EliminateSettings, /) -> AsyncIterator[Row]:
    """Evol-Instruct's two rules for answers: what cannot be answered was evolved too far.

    Rejects `no_content` (nothing but function words and punctuation, or no text at all) and, if
    `sorry_words` says so, `begs_off` (a short answer with the word `sorry`).
    """
    answer = row.fields[config.field]
    if not isinstance(answer, str) or not has_content(answer):
        raise Rejected("no_content", f"{config.field} is {answer!r:.120}")
    if begs_off(answer, config.sorry_words):
        raise Rejected("begs_off", tail(answer))
    yield row


def replied(reply: Completion | TeacherError) -> Completion | TeacherError:
    """The reply, if it would be the same another time.

    Raises:
        TeacherError: it may be another one; the row fails, and running again asks again.
    """
    loss = loss_of(reply)
    if loss is not None and loss.reason == UNANSWERED and isinstance(reply, TeacherError):
        raise reply
    return reply


def instruction_in(reply: Completion | TeacherError) -> str | Loss:
    """The one instruction between its tags; what stands around them does not count.

    A `Loss` is `cut`, `no_instruction`, `several_instructions`, or one of `loss_of`.
    """
    if (loss := loss_of(reply)) is not None:
        return loss
    assert isinstance(reply, Completion)  # noqa: S101  an error is a loss
    found = [text.strip() for text in between_tags(reply.text)]
    if not found:
        reason = "cut" if reply.finish == "length" else "no_instruction"
        return Loss(reason, f"nothing between <instruction> and </instruction>: {tail(reply.text)}")
    if len(found) > 1:
        return Loss("several_instructions", f"{len(found)} of them: {tail(reply.text)}")
    return found[0] if found[0] else Loss("no_instruction", "nothing stands between the tags")


def between_tags(text: str) -> Iterator[str]:
    """What stands between each opening tag and the next closing one, of the tag `instruction`."""
    start = None
    for tag in _TAG.finditer(text):
        if tag[1] and start is not None:
            yield text[start : tag.start()]
            start = None
        elif not tag[1] and start is None:
            start = tag.end()


def eliminated(
    text: str, formers: Sequence[str], words: Iterable[str] = TEMPLATE_WORDS
) -> Loss | None:
    """Why a text is no new instruction; None = it may be one.

    Args:
        text: what the teacher wrote.
        formers: what it was made from, and what that was made from.
        words: of the prompt's own, which have no place in it.
    """
    if not has_content(text):
        return Loss("no_content", f"{text!r:.200}")
    if (found := leaked(text, formers, words)) is not None:
        return Loss("template_leak", f"{found!r} in: {text[:200]}")
    if plain(text) in map(plain, formers):
        return Loss("unchanged", text[:200])
    return None


def leaked(text: str, formers: Iterable[str], words: Iterable[str]) -> str | None:
    """The first of the words that is in the text and in none of its former wordings."""
    low, known = normalised(text), [normalised(former) for former in formers]
    for word in words:
        wanted = normalised(word)
        if wanted in low and not any(wanted in former for former in known):
            return word
    return None


def has_content(text: str) -> bool:
    """Whether any word of it, or any pictorial sign such as an emoji, says something by itself."""
    if any(word.casefold() not in FUNCTION_WORDS for word in _WORD.findall(text)):
        return True
    return any(unicodedata.category(sign) == "So" for sign in text)


def begs_off(answer: str, sorry_words: int = SORRY_WORDS) -> bool:
    """Whether it is short and says sorry."""
    words = [word.casefold() for word in _WORD.findall(answer)]
    return len(words) < sorry_words and "sorry" in words


def plain(text: str) -> str:
    """One spelling of all texts with the same words."""
    return normalised(without_punctuation(text))
