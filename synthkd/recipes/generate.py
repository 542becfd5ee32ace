"""`generate`: a prompt, and what the teacher answers. Plain distillation, where all start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from synthkd.config import Count, Samples
from synthkd.recipes.replies import Loss, discard_all, give_up, readable
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, inputs_of, step


class GenerateSettings(StepSettings):
    """Settings of `generate`."""

    teacher: str
    """The teacher to ask."""
    prompt: str = "generate/respond"
    """The prompt; the shipped one sends the field `instruction` as it stands."""
    samples: Samples = 1
    """Answers per row. Each becomes a row of its own; more than 1 needs a temperature above 0."""
    longer: Count | None = None
    """Tokens: an answer that was cut is asked for again, once, with this `max_tokens`."""
    into: str = "response"
    """The field for the answer: its text, or its value where the prompt's output is JSON."""


def _gives(config: GenerateSettings) -> Iterable[str]:
    return config.into, "reasoning", "finish"


@step("generate", gives=_gives, fans_out=True)
async def generate(row: Row, kit: Kit, config: GenerateSettings, /) -> AsyncIterator[Row]:
    """Ask the teacher; every sample becomes a row.

    Gives the answer (`into`), how it ended (`finish`: `length` = cut at max_tokens) and the
    teacher's own `reasoning`, null where the server gives none. Rejects `refused`,
    `content_filter`, `repetition`, `not_text`, `called_tools`, `empty_answer`,
    `bad_json`.
    """
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs)
    replies = await kit.ask_many(
        config.prompt,
        inputs,
        teachers=[config.teacher],
        samples=config.samples,
        longer=config.longer,
    )
    losses: list[Loss] = []
    answers = [reply for _, reply in readable(replies, losses)]
    if not answers:
        give_up(replies, losses)
    discard_all(kit, losses)
    for reply in answers:
        answer: Json = reply.text if reply.shaped is None else reply.shaped.value
        made = {config.into: answer, "reasoning": reply.reasoning, "finish": reply.finish}
        yield row.with_fields(**made).with_made_by(*reply.keys)
