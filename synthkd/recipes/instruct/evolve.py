"""`instruct.evolve` and `instruct.refine`: instructions made harder, other or better, step by step.

Evol-Instruct (WizardLM, arXiv 2304.12244, section 3.1). An instruction goes through generations; in
each, one operation is drawn, all equally likely:

    constrain    one more constraint
    deepen       more depth of what is asked
    concretise   particular notions in place of general ones
    reason       several steps of thought are needed
    breadth      another, rarer instruction of the same field

What the teacher writes may be eliminated (`synthkd.recipes.instruct.elimination`); then the next
generation starts from the same wording again. What answers must look like is for later steps:
`respond`, then `instruct.eliminate`.

`instruct.refine` is the second operator of the augmentation family (arXiv 2412.04871): once, and
clearer, more specific, more demanding, with the same intent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from synthkd.config import Count
from synthkd.errors import Rejected, RowError
from synthkd.recipes.instruct.elimination import (
    TEMPLATE_WORDS,
    eliminated,
    instruction_in,
    replied,
)
from synthkd.recipes.replies import Loss, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.teachers.request import Completion

Operation = Literal["constrain", "deepen", "concretise", "reason", "breadth"]
SUPPLIES = ("instruction", "input", "former")


class RewritingSettings(StepSettings):
    """What both steps have in common."""

    teacher: str
    """The teacher that rewrites; a temperature above 0 lets it try something else."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""
    template_words: tuple[str, ...] = TEMPLATE_WORDS
    """Words of the prompts: a text with one of them that its former wording has not is
    eliminated."""
    instruction: str = "instruction"
    """The field with the instruction."""
    input: str = "input"
    """The field with what belongs to it, if any; it is shown to the teacher and kept."""
    output: str = "output"
    """The field for the answer; emptied, because it answers the former wording."""

    @property
    def also_shown(self) -> list[str]:
        """The fields that the teacher sees; the prompts' inputs are made of them."""
        return [self.instruction, self.input]


class EvolveSettings(RewritingSettings):
    """Settings of `instruct.evolve`."""

    generations: Annotated[int, Field(ge=1, le=20)] = 4
    """How often an instruction is evolved; WizardLM's four."""
    operations: list[Operation] = Field(default=list(get_args(Operation)))
    """Those to draw from."""
    keep: Literal["all", "last"] = "all"
    """all: every wording that was accepted is a row; last: only the last one."""
    keep_seed: bool = False
    """Whether the instruction that came in is handed on too, as generation 0."""
    judge: str | None = None
    """A teacher that says whether a new wording asks for the same as the former one, which then is
    eliminated; None = only the words are compared. One more call a generation."""
    constrain_prompt: str = "evolve/constrain"
    deepen_prompt: str = "evolve/deepen"
    concretise_prompt: str = "evolve/concretise"
    reason_prompt: str = "evolve/reason"
    breadth_prompt: str = "evolve/breadth"
    same_prompt: str = "evolve/same"
    """The judge's; asks for JSON with `same`."""

    @field_validator("operations")
    @classmethod
    def _some_once(cls, operations: list[Operation]) -> list[Operation]:
        if not operations or len(set(operations)) < len(operations):
            raise ValueError("must name at least one operation, and each once")
        return operations

    @property
    def teachers(self) -> list[str]:
        """All who may be asked."""
        return list(dict.fromkeys(name for name in (self.teacher, self.judge) if name))

    @property
    def calls_a_row(self) -> int:
        """Questions to each of them about a row, at most; for the forecast."""
        return self.generations * (2 if self.judge == self.teacher else 1)

    @property
    def rows_a_row(self) -> int:
        """Rows that come of one, at most; for the forecast."""
        return self.keep_seed + (self.generations if self.keep == "all" else 1)

    def prompt_of(self, operation: Operation) -> str:
        """The prompt of an operation."""
        name: str = getattr(self, f"{operation}_prompt")
        return name


class RefineSettings(RewritingSettings):
    """Settings of `instruct.refine`."""

    prompt: str = "refine/instruction"
    """The prompt; shows `instruction` and `input`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """An instruction as it stands after some generations."""

    instruction: str
    input: str
    former: str = ""
    operation: str = ""
    generation: int = 0
    keys: tuple[str, ...] = ()
    """Of the answers that it and its former wordings come from."""


def _gives(config: RewritingSettings) -> Iterable[str]:
    return config.instruction, config.input, config.output, "former"


@step(
    "instruct.evolve",
    needs=lambda config: [config.instruction],
    gives=lambda config: (*_gives(config), "operation", "generation"),
    supplies=SUPPLIES,
    fans_out=True,
)
async def evolve(row: Row, kit: Kit, config: EvolveSettings, /) -> AsyncIterator[Row]:
    """Evolve an instruction over some generations; every accepted wording, or the last, is a row.

    Gives the instruction, its input (emptied by `breadth`, which writes another task), an empty
    output, `operation`, `generation` (from 1; 0 = the seed) and `former`, what it was made from.
    Discards `unchanged`, `no_information_gain`, `template_leak`, `no_content`, `no_instruction`,
    `several_instructions`, `cut`, `unjudged`, or for what is wrong with a reply. Rejects
    `empty_instruction` and `not_evolved`. A row fails where nobody replies. Figures: wordings of
    each operation that were accepted.
    """
    seed = now = _wording(row, config)
    formers = [now.instruction]
    kept: list[Wording] = [now] if config.keep_seed else []
    asked: dict[tuple[str, str], int] = {}
    drawn = [kit.rng.choice(config.operations) for _ in range(config.generations)]
    for generation, operation in enumerate(drawn, start=1):
        # The same question again must get another answer than the one that was eliminated.
        sample = asked.get((operation, now.instruction), 0)
        asked[operation, now.instruction] = sample + 1
        prompt = config.prompt_of(operation)
        found = await _rewritten(kit, config, prompt, now, formers, sample)
        if isinstance(found, Wording) and config.judge is not None:
            found = await _judged(kit, config, config.judge, found)
        if isinstance(found, Loss):
            kit.discard(found.reason, f"{operation}, generation {generation}: {found.detail}")
            continue
        now = replace(found, operation=operation, generation=generation)
        if operation == "breadth":
            now = replace(now, input="")  # another task, which is complete in itself
        formers.append(now.instruction)
        kept.append(now)
        kit.count(f"accepted {operation}")
    if now is seed and not kept:
        raise Rejected("not_evolved", f"none of {config.generations} generations was accepted")
    for one in kept if config.keep == "all" else kept[-1:]:
        yield _row(row, config, one) if one is not seed else _seed(row, config)


@step(
    "instruct.refine",
    needs=lambda config: [config.instruction],
    gives=_gives,
    supplies=SUPPLIES,
)
async def refine(row: Row, kit: Kit, config: RefineSettings, /) -> AsyncIterator[Row]:
    """Reword an instruction: clearer, more specific, more demanding, the same intent.

    Gives the instruction, an empty output and `former`. Rejects `empty_instruction`, `unchanged`,
    `template_leak`, `no_content`, `no_instruction`, `several_instructions`, `cut`, and for what is
    wrong with the reply. A row fails where nobody replies.
    """
    now = _wording(row, config)
    found = await _rewritten(kit, config, config.prompt, now, [now.instruction], 0)
    if isinstance(found, Loss):
        raise Rejected(found.reason, found.detail)
    yield _row(row, config, found)


def _wording(row: Row, config: RewritingSettings) -> Wording:
    """What came in."""
    text, given = row.fields[config.instruction], row.fields.get(config.input)
    if not isinstance(text, str) or not text.strip():
        raise Rejected("empty_instruction", f"{config.instruction} is {text!r:.80}")
    if not isinstance(given, str | None):
        raise RowError(f"{config.input} must be text or null, got {given!r:.80}")
    return Wording(instruction=text, input=given or "")


async def _rewritten(
    kit: Kit,
    config: RewritingSettings,
    prompt: str,
    now: Wording,
    formers: Sequence[str],
    sample: int,
) -> Wording | Loss:
    """The next wording, or why there is none.

    Raises:
        TeacherError: nobody replied, and it may be another time.
    """
    inputs: dict[str, Json] = {"instruction": now.instruction, "input": now.input}
    (reply,) = await kit.ask_these(
        prompt, inputs, whom=[(config.teacher, sample)], longer=config.longer
    )
    text = instruction_in(replied(reply))
    if isinstance(text, Loss):
        return text
    if (loss := eliminated(text, formers, config.template_words)) is not None:
        return loss
    keys = reply.keys if isinstance(reply, Completion) else ()
    return Wording(instruction=text, input=now.input, former=now.instruction, keys=now.keys + keys)


async def _judged(kit: Kit, config: EvolveSettings, judge: str, one: Wording) -> Wording | Loss:
    """The wording, if a judge says that it asks for something else than the former one.

    Raises:
        TeacherError: the judge did not reply, and it may another time.
    """
    inputs: dict[str, Json] = {"former": one.former, "instruction": one.instruction}
    (reply,) = await kit.ask_these(config.same_prompt, inputs, whom=[(judge, 0)])
    if (loss := loss_of(replied(reply))) is not None:
        return Loss("unjudged", f"{loss.reason}: {loss.detail}")
    assert isinstance(reply, Completion)  # noqa: S101  an error is a loss
    value = reply.shaped.value if reply.shaped is not None else None
    same = value.get("same") if isinstance(value, Mapping) else None
    if not isinstance(same, bool):
        return Loss("unjudged", f"no verdict under `same`: {reply.text[:200]}")
    if same:
        return Loss("no_information_gain", one.instruction[:200])
    return replace(one, keys=one.keys + reply.keys)


def _row(row: Row, config: RewritingSettings, one: Wording) -> Row:
    made: dict[str, Json] = {
        config.instruction: one.instruction,
        config.input: one.input,
        config.output: "",
        "former": one.former,
    }
    if isinstance(config, EvolveSettings):
        made |= {"operation": one.operation, "generation": one.generation}
    return row.with_fields(**made).with_made_by(*dict.fromkeys(one.keys))


def _seed(row: Row, config: EvolveSettings) -> Row:
    """The row that came in, with the fields of the others; its own answer stays."""
    output = row.fields.get(config.output, "")
    seed = _row(row, config, _wording(row, config))
    return seed.with_fields(**{config.output: output})
