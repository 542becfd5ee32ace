"""`difficulty.ifd`: how little an instruction helps a model to the answer (IFD, Superfiltering).

    loss:        mean loss(answer | instruction) / mean loss(answer)         (arXiv 2308.12032)
    perplexity:  exp(mean loss(answer | instruction) - mean loss(answer))    (arXiv 2402.00530)

The second is Superfiltering's. Instruction-following difficulty is near 0 where the instruction
says it all, and 1 where it says nothing that helps. The two scales are not to be mixed:
`difficulty_parts.scale` tells which it is.

    teachers: {small: {student: {folder: models/gpt2}}}
    - {use: difficulty.ifd, with: {teacher: small, scale: perplexity}}

Both passes must be about the same tokens. What comes after the answer in a conversation (the token
that ends a turn) is in one pass alone, and the first token of a text that stands for itself has no
probability in many models: so the tokens that both have are compared, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from synthkd.config import TeacherConfig
from synthkd.curate.difficulty.measured import DifficultySettings, measured, no_student
from synthkd.curate.fields import text_of
from synthkd.errors import Rejected, RequestRefused, RowError
from synthkd.recipes.spread import with_spread
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.likelihood import likelihood_faults
from synthkd.teachers.request import Logprob

BY = "difficulty.ifd"
MOST_BEHIND = 3
"""Tokens that may come after the answer in a conversation: the end of a turn."""
MOST_BEFORE = 2
"""Tokens at the beginning that one pass alone may have, or write otherwise."""
LEFT_OUT = "tokens left out of one pass"


class IfdSettings(DifficultySettings):
    """Settings of `difficulty.ifd`."""

    teacher: str
    """Who says how likely an answer is: a `student` (any causal model in a folder), also that of
    the round before, or a model that vLLM serves. A small one ranks much as a large one does."""
    field: str = "output"
    """The field with the answer."""
    scale: Literal["loss", "perplexity"] = "loss"
    """Of mean losses the ratio, or of perplexities. Both are below 1 on the same rows."""
    helps: bool = True
    """Rejects rows of 1 and more (`instruction_does_not_help`), as both papers do."""
    finish: str | None = None
    """The field that says why the answer ended; `length` rejects it (`cut`)."""
    prompt: str = "difficulty/plain"
    """The question; the shipped one is the instruction and a line break, without any template, as
    Superfiltering has it. For a model with a chat template: s3ft/own."""

    @property
    def calls_a_row(self) -> int:
        """Questions about a row: the prompt, the prompt with the answer, the answer."""
        return 3

    @property
    def also_shown(self) -> list[str]:
        """Fields that the teacher is shown besides the prompt's inputs."""
        return [self.field]

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """A teacher that tells no log-probabilities of a given text."""
        yield from likelihood_faults(self.teacher, teachers[self.teacher])


def _needs(config: IfdSettings) -> Iterable[str]:
    finish = [config.finish] if config.finish is not None else []
    return [config.question, config.field, *finish]


@step(
    BY,
    needs=_needs,
    gives=lambda config: config.gives,
    supplies=("question",),
    sums_up=with_spread,
)
async def ifd(row: Row, kit: Kit, config: IfdSettings, /) -> AsyncIterator[Row]:
    """Hold the answer's loss with the instruction against that without it.

    Gives `difficulty` and `difficulty_parts`: scale, loss_given, loss_alone (mean, a token), tokens
    that were compared. Where the teacher is the student of the round before and there is none, as
    in round 0, it is null. Rejects `empty_output`, `cut`, `instruction_does_not_help`,
    `tokens_differ` (the two passes are not about the same tokens), `no_likelihood` (too long for
    the model, or too short), `too_easy`.
    """
    question, answer = config.asked_in(row), text_of(row, config.field).strip()
    if not answer:
        raise Rejected("empty_output", f"{config.field} is empty")
    if config.finish is not None and row.fields.get(config.finish) == "length":
        raise Rejected("cut", f"{config.field} was cut at max_tokens")
    if not kit.can_ask(config.teacher):
        yield no_student(row, kit, config, by=BY)
        return
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, question=question)
    whom: Any = {"teacher": config.teacher}
    try:
        given = await kit.likelihood(config.prompt, inputs, answer, **whom)
        alone = await kit.likelihood(config.prompt, inputs, answer, alone=True, **whom)
    except RequestRefused as error:  # longer than the model's context, or too short to be scored
        raise Rejected("no_likelihood", f"HTTP {error.status}: {error.message}"[:300]) from None
    both = compared(given.places, alone.places)
    if both is None:
        told = [[place.token for place in one.places[:5]] for one in (given, alone)]
        raise Rejected("tokens_differ", f"begin with {told[0]} after the prompt, {told[1]} alone")
    kit.count(LEFT_OUT, given.tokens + alone.tokens - 2 * both.tokens)
    difficulty = ratio(both, config.scale)
    parts: dict[str, Json] = {
        "scale": config.scale,
        "loss_given": both.given,
        "loss_alone": both.alone,
        "tokens": both.tokens,
    }
    if config.helps and both.given >= both.alone:
        raise Rejected(
            "instruction_does_not_help",
            f"loss {both.given:.4g} with the instruction, {both.alone:.4g} without",
        )
    yield measured(row, kit, config, difficulty, by=BY, width=0.1, parts=parts)


class Losses(NamedTuple):
    """Of the tokens that both passes have."""

    given: float
    """The mean loss a token with the instruction, in nats."""
    alone: float
    """Without it."""
    tokens: int


def compared(given: Sequence[Logprob], alone: Sequence[Logprob]) -> Losses | None:
    """The mean losses of the tokens that both passes have; None = they are about different ones.

    The passes are laid over each other from the end of the answer backwards: `given` may have a few
    tokens behind it, and at the beginning either may have a token or two of its own, as long as
    half of the answer is in both.

    Args:
        given: the answer's tokens after the prompt.
        alone: those of the answer as a text for itself.
    """
    best = max(
        (_common_end(given[: len(given) - behind], alone), -behind)
        for behind in range(min(MOST_BEHIND, len(given)) + 1)
    )
    n, end = best[0], len(given) + best[1]
    if end - n > MOST_BEFORE or len(alone) - n > MOST_BEFORE or 2 * n < max(len(alone), 1):
        return None
    return Losses(_mean(given[end - n : end]), _mean(alone[len(alone) - n :]), n)


def _common_end(one: Sequence[Logprob], other: Sequence[Logprob]) -> int:
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n].token == other[-1 - n].token:
        n += 1
    return n


def _mean(places: Sequence[Logprob]) -> float:
    return -math.fsum(place.logprob for place in places) / len(places)


def ratio(losses: Losses, scale: Literal["loss", "perplexity"]) -> float:
    """What the instruction leaves of the loss, or of the perplexity: below 1, it helps.

    Raises:
        RowError: the answer alone is certain, or impossible, to the model.
    """
    if scale == "perplexity":
        try:
            return math.exp(losses.given - losses.alone)
        except OverflowError:
            raise RowError(f"losses of {losses.given:g} and {losses.alone:g} a token") from None
    if losses.alone <= 0:
        raise RowError("the answer alone is certain to the model (loss 0): nothing can be less")
    return losses.given / losses.alone
