"""`thoughts.rewrite`: a cleaner solution by a teacher, if it comes to the same answer.

O1 Replication, part 2 (arXiv 2411.16489) has a cheap model rewrite solutions before students learn
their form. A rewriter may also get it wrong, so the answer is read again and compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from synthkd.answers import AnswerSettings, choices_of, read, same
from synthkd.config import Count
from synthkd.curate.fields import text_of, value_of
from synthkd.curate.thoughts.verdicts import SOLUTION, PartLimits, beyond
from synthkd.errors import Rejected
from synthkd.fence import fenced
from synthkd.recipes.replies import loss_of
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, inputs_of, step
from synthkd.teachers.request import Completion

REWRITTEN, KEPT = "rewritten", "kept as they were"


class RewriteSettings(StepSettings):
    """Settings of `thoughts.rewrite`."""

    teacher: str
    """The teacher that rewrites; a cheap one will do."""
    prompt: str = "thoughts/rewrite"
    """The prompt: it has the question and the solution, between marks."""
    field: str = SOLUTION
    """The field with the solution, which is replaced; `original_solution` keeps the old one."""
    was: str = "answer"
    """The field with the answer that the new solution must come to."""
    answer: AnswerSettings = AnswerSettings()
    """What the answer is, and where it stands."""
    limits: PartLimits = PartLimits()
    """How long the new solution may be."""
    otherwise: Literal["keep", "reject"] = "keep"
    """What becomes of a row whose rewritten solution cannot be used: it keeps the old one, or is
    rejected."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""


@step(
    "thoughts.rewrite",
    needs=lambda config: [config.field, config.was],
    gives=lambda config: [config.field, "original_solution", "rewritten"],
    supplies=("solution",),
)
async def rewrite(row: Row, kit: Kit, config: RewriteSettings, /) -> AsyncIterator[Row]:
    """Have the solution written anew; use it only where it comes to the same answer.

    Gives the new solution (`field`), `original_solution` and whether it was `rewritten`. With
    `otherwise: reject` rejects `other_answer`, `truncated`, `no_cue`, `too_long`, `too_short` and
    what `generate` rejects; else these are discards, and the old solution stays.
    """
    old = text_of(row, config.field)
    marked = fenced(old, "solution")
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, solution=marked)
    reply = await kit.ask(config.prompt, inputs, teacher=config.teacher, longer=config.longer)
    fault = _fault(row, reply, config)
    if fault is None:
        kit.count(REWRITTEN)
        new = reply.text.strip()
        yield row.with_fields(**{config.field: new}, original_solution=old, rewritten=True)
        return
    if config.otherwise == "reject":
        raise fault
    kit.count(KEPT)
    kit.discard(fault.reason, fault.detail)
    yield row.with_fields(original_solution=old, rewritten=False)


def _fault(row: Row, reply: Completion, config: RewriteSettings) -> Rejected | None:
    """Why the new solution cannot be used; None = it can."""
    if (loss := loss_of(reply)) is not None:
        return Rejected(loss.reason, loss.detail)
    cut = reply.finish == "length"
    choices = choices_of(row.fields, config.answer)
    told = read(reply.text, config.answer, choices=choices, cut_short=cut)
    if cut:
        return Rejected("truncated", reply.text[-200:])
    if told.answer is None:
        return Rejected(told.status, told.detail)
    was = value_of(row, config.was)
    if not same(told.answer, was, config.answer, choices):
        return Rejected(
            "other_answer", f"the solution says {was!r:.80}, rewritten {told.answer!r:.80}"
        )
    fault = beyond(reply.text, config.limits)
    return None if fault is None else Rejected(fault, f"{len(reply.text.split())} words")
