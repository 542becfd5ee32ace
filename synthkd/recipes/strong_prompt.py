"""`strong_prompt`: ask with a strong prompt, learn the answer to the plain one.

Knowledge distillation with Llama-3.1-405B (arXiv 2410.18588): the teacher reasons (chain of
thought) or rewrites (chain of density) and replies in JSON; of that only the answer is kept, and
the student learns it as the answer to the original prompt. So it is to gain what the reasoning
gained without writing any.

Of a row with a whole conversation (`messages`) every turn of the assistant is answered anew, in
order, after the new answers before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from pydantic import model_validator

from synthkd.answers import AnswerSettings, canonical, choices_of
from synthkd.config import Count
from synthkd.errors import Rejected
from synthkd.recipes.replies import give_up, loss_of
from synthkd.recipes.talk import Message, talk_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import answer_text

ASKED, USED = "answers asked for", "answers used"
LEAST_TO_WARN = 20
LOW = 0.7
"""The floor of the published code: below it a run of theirs fails."""


class StrongPromptSettings(StepSettings):
    """Settings of `strong_prompt`."""

    teacher: str
    """The teacher to ask."""
    prompt: str = "strong_prompt/think"
    """The strong prompt; also shipped: strong_prompt/choose (choices), strong_prompt/condense
    (summaries by chain of density), strong_prompt/turn (conversations)."""
    take: str = "answer"
    """The key of the answer in the JSON that the prompt asks for; of a list, in its last object."""
    student_prompt: str | None = None
    """The plain prompt: rendered from the same row, its last message is the field `prompt`, its
    system message `system`. By default the student's prompt is whichever field you name for it."""
    messages: str | None = None
    """A field with a conversation; all turns of the assistant are answered anew. The prompt's
    inputs are then `turn` and `instructions`, what the user and the system say."""
    answer: AnswerSettings | None = None
    """What the answer is, such as {type: number} or {choices: choices}: it is then read and spelt
    in one way, and must be of the type. By default it is kept as the teacher says it."""
    longer: Count | None = None
    """Tokens: an answer that was cut is asked for again, once, with this `max_tokens`."""
    into: str = "answer"
    """The field for the answer; of a conversation, for all of it."""

    @model_validator(mode="after")
    def _fits(self) -> StrongPromptSettings:
        if self.messages is not None and self.student_prompt is not None:
            raise ValueError("messages are the student's prompt already: leave student_prompt out")
        return self


def _needs(config: StrongPromptSettings) -> Iterable[str]:
    choices = config.answer.choices if config.answer is not None else None
    return [name for name in (config.messages, choices) if name is not None]


def _gives(config: StrongPromptSettings) -> Iterable[str]:
    return [config.into, "finish", *(["prompt", "system"] * (config.student_prompt is not None))]


def _sums_up(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    asked, used = figures.get(ASKED), figures.get(USED, 0)
    if not isinstance(asked, int) or not isinstance(used, int) or not asked:
        return figures
    return {**figures, "success ratio": round(used / asked, 4)}


def _warns(figures: Mapping[str, Json]) -> Iterable[str]:
    ratio, asked = figures.get("success ratio"), figures.get(ASKED)
    few = isinstance(asked, int) and asked < LEAST_TO_WARN
    if isinstance(ratio, float) and ratio < LOW and not few:
        yield (
            f"only {figures.get(USED, 0):,} of {asked:,} answers could be used ({ratio:.1%}): the"
            " teacher does not keep to the form that the prompt asks for. `synthkd show` has the"
            " reasons; limits.min_success stops a run early"
        )


@step(
    "strong_prompt",
    needs=_needs,
    gives=_gives,
    supplies=("turn", "instructions", "choices", "labels"),
    sums_up=_sums_up,
    warns=_warns,
)
async def strong_prompt(row: Row, kit: Kit, config: StrongPromptSettings, /) -> AsyncIterator[Row]:
    """Ask with the strong prompt; keep the answer alone, for the student's plain prompt.

    Gives the answer (`into`), `finish`, and with `student_prompt` the plain `prompt` and `system`.
    Rejects `truncated`, `bad_json`, `no_answer`, `bad_label`, `not_a_talk` and
    what `generate` rejects.
    """
    if config.messages is not None:
        talk = await _answered(row, kit, config, talk_of(row, config.messages))
        yield row.with_fields(finish="stop", **{config.into: talk})
        return
    choices = choices_of(row.fields, config.answer) if config.answer is not None else None
    listed: dict[str, Json] = {} if choices is None else {"choices": choices, "labels": choices}
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, **listed)
    answer = await _ask(kit, config, inputs, (), choices)
    made: dict[str, Json] = {config.into: answer, "finish": "stop"}
    if config.student_prompt is not None:
        plain = kit.prompts[config.student_prompt]
        messages = plain.render(inputs_of(row, plain.inputs, **listed))
        first = messages[0]
        made["system"] = first["content"] if first["role"] == "system" else None
        made["prompt"] = messages[-1]["content"]
    yield row.with_fields(**made)


async def _answered(
    row: Row, kit: Kit, config: StrongPromptSettings, talk: Sequence[Message]
) -> list[dict[str, str]]:
    """The conversation with every answer given anew, each after the new ones before it."""
    system = [dict(message) for message in talk if message["role"] == "system"]
    instructions = system[0]["content"] if system else ""
    said: list[dict[str, str]] = []
    for message in talk:
        if message["role"] != "user":
            continue
        computed: dict[str, Json] = {"turn": message["content"], "instructions": instructions}
        inputs = inputs_of(row, kit.prompts[config.prompt].inputs, **computed)
        answer = await _ask(kit, config, inputs, said, None)
        said += [dict(message), {"role": "assistant", "content": answer}]
    return [*system, *said]


async def _ask(
    kit: Kit,
    config: StrongPromptSettings,
    inputs: Mapping[str, Json],
    history: Sequence[Message],
    choices: Sequence[str] | None,
) -> str:
    """The answer alone.

    Raises:
        Rejected: there is none that can be used.
        TeacherError: nobody replied.
    """
    kit.count(ASKED)
    reply = await kit.ask(
        config.prompt, inputs, teacher=config.teacher, history=history, longer=config.longer
    )
    if reply.finish == "length":
        raise Rejected("truncated", f"cut at max_tokens: ...{reply.text[-160:]}")
    if (loss := loss_of(reply)) is not None:
        give_up([reply], [loss])
    answer = _taken(reply, config.take)
    if config.answer is not None:
        told = canonical(answer, config.answer, choices)
        if told is None:
            kind = config.answer.type_for(choices)
            raise Rejected("bad_label", f"answered {answer!r:.200}, which is no answer ({kind})")
        answer = told
    kit.count(USED)
    return answer


def _taken(reply: Completion, key: str) -> str:
    """What stands under the key; of a prompt without JSON, the text."""
    if reply.shaped is None:
        return reply.text.strip()
    value: Any = reply.shaped.value
    if isinstance(value, list):
        value = value[-1] if value else None
    text = answer_text(value.get(key)) if isinstance(value, dict) else None
    if text is None or not text.strip():
        raise Rejected("no_answer", f"no {key!r} with a text in {reply.text[:200]}")
    return text.strip()
