"""`respond`: the answer to an instruction, written in the way that its task asks for.

    stepwise   step by step, then the answer        Math, Reasoning, ...
    code       commented code, then an explanation   Code Generation, Code Debug
    plain      a good answer                         all else

With `refine` an answer that is there is written anew in that style, as TAPIR does with the answers
of its seeds (arXiv 2405.13448). With several samples the answers make a pool, from which `pairs`
and `choose.judged` take.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from pydantic import Field

from synthkd.config import Count
from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.asking import WhomSettings
from synthkd.recipes.pool import POOL, Candidate, told
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.recipes.styles import Style, style_of
from synthkd.recipes.systems import SYSTEM, SystemSettings, system_for
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import answer_text, normalised, tail

SUPPLIES = ("instruction", "input", "system", "draft")


class RespondSettings(WhomSettings, SystemSettings):
    """Settings of `respond`."""

    instruction: str = "instruction"
    """The field with what is asked."""
    input: str = "input"
    """The field with what it is asked about; "", null or no such field = nothing."""
    task: str = "task"
    """The field with the class of the task; a row without one has the style `other`."""
    styles: dict[str, Style] = Field(default={})
    """Class -> style (plain, stepwise, code), before the table of the 32 classes."""
    other: Style = "plain"
    """The style of a class that no table has."""
    refine: bool = False
    """Whether the answer in `into` is written anew in the style, instead of one from nothing."""
    plain_prompt: str = "respond/plain"
    stepwise_prompt: str = "respond/stepwise"
    code_prompt: str = "respond/code"
    longer: Count | None = None
    """Tokens: an answer that was cut is asked for again, once, with this `max_tokens`."""
    into: str = "output"
    """The field for the answer; of several, for the first."""

    @property
    def also_shown(self) -> list[str]:
        """Fields that the teacher sees inside of what is computed, where a row has them."""
        draft = [self.into] if self.refine else []
        return [self.instruction, self.input, SYSTEM, *draft]

    @property
    def is_pool(self) -> bool:
        """Whether several answers are asked for, which become candidates."""
        return len(self.asked) * self.samples > 1


def _needs(config: RespondSettings) -> Iterable[str]:
    return [config.instruction, *([config.into] if config.refine else [])]


def _gives(config: RespondSettings) -> Iterable[str]:
    return [config.into, "prompt", "style", SYSTEM, "finish", *([POOL] if config.is_pool else [])]


@step("respond", needs=_needs, gives=_gives, supplies=SUPPLIES)
async def respond(row: Row, kit: Kit, config: RespondSettings, /) -> AsyncIterator[Row]:
    """Write the answer in the style of the task, or write the present one anew.

    Gives the answer (`into`), `prompt` (instruction and input in one, for a student to be asked
    with), its `style`, the `system` message that it was written under (null = none), `finish`, and
    of several answers the pool `candidates`. Rejects `no_instruction`, `bad_input`,
    `no_draft`, `truncated`, `refused`, `content_filter`, `repetition`, `not_text`, `called_tools`,
    `empty_answer`. Figures: answers of each style; with `refine` those that stayed as they were.
    """
    instruction = answer_text(row.fields.get(config.instruction))
    if instruction is None or not instruction.strip():
        given = row.fields.get(config.instruction)
        raise Rejected("no_instruction", f"{config.instruction} must be a text, got {given!r:.120}")
    draft = answer_text(row.fields.get(config.into)) if config.refine else None
    if config.refine and (draft is None or not draft.strip()):
        raise Rejected("no_draft", f"there is nothing in {config.into!r} to write anew")
    style = style_of(row.fields.get(config.task), config.styles, config.other)
    system = system_for(row, kit, config)
    about = _input_of(row, config)
    prompt: str = getattr(config, f"{style}_prompt")
    known: dict[str, Json] = {
        "instruction": instruction,
        "input": about,
        "system": system,
        "draft": draft,
    }
    replies = await kit.ask_many(
        prompt,
        inputs_of(row, kit.prompts[prompt].inputs, **known),
        teachers=config.asked,
        samples=config.samples,
        longer=config.longer,
    )
    pool = _pool(kit, config, replies)
    first = pool[0].answer or ""
    kit.count(f"style {style}")
    if draft is not None:
        kit.count("unchanged", int(normalised(first) == normalised(draft)))
    asked = f"{instruction}\n\n{about}" if about else instruction
    made: dict[str, Json] = {config.into: first, "prompt": asked, "style": style, SYSTEM: system}
    if config.is_pool:
        made[POOL] = told(pool)
    yield row.with_fields(**made, finish="stop")


def _input_of(row: Row, config: RespondSettings) -> str:
    """What the instruction is about; "" = nothing.

    Raises:
        Rejected: `bad_input`: it is no text.
    """
    given = row.fields.get(config.input)
    about = "" if given is None else answer_text(given)
    if about is None or isinstance(given, bool):
        raise Rejected("bad_input", f"{config.input} must be a text, got {given!r:.120}")
    return about


def _pool(
    kit: Kit, config: RespondSettings, replies: list[Completion | TeacherError]
) -> list[Candidate]:
    """The whole answers; at least one.

    Raises:
        Rejected: none can be used.
        TeacherError: nobody replied.
    """
    whom = [(teacher, sample) for teacher in config.asked for sample in range(config.samples)]
    losses: list[Loss] = []
    pool = []
    for (teacher, sample), reply in zip(whom, replies, strict=True):
        loss = loss_of(reply)
        if loss is None and isinstance(reply, Completion) and reply.finish == "length":
            loss = Loss("truncated", f"cut at max_tokens: {tail(reply.text)}")
        if loss is not None:
            losses.append(loss)
        elif isinstance(reply, Completion):
            text = reply.text.strip()
            pool.append(
                Candidate(
                    teacher=teacher,
                    sample=sample,
                    text=text,
                    answer=text,
                    finish=reply.finish,
                    key=reply.key,
                )
            )
    if not pool:
        give_up(replies, losses)
    discard_all(kit, losses)
    return pool
