"""How likely a teacher itself is to give an answer: the mean log-probability of its tokens.

    told = await likelihood(teacher, question, "Paris.")
    told.mean_logprob, told.tokens

It is what GRAPE (arXiv 2502.04194) ranks answers by and what IFD (arXiv 2308.12032) divides. The
prompt is masked: only tokens of the answer count, with the token that ends a turn, once. Two
questions are asked, the conversation with the answer and the one that it would be given to; where
their tokens part, the answer begins. Answers to the same prompt share the second.

vLLM tells this of any model (`prompt_logprobs`), and so does a student in this process; providers
tell it of none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from synthkd.config import TeacherConfig
from synthkd.errors import RequestRefused, TeacherRefused
from synthkd.rows import Json
from synthkd.teachers.request import Logprob, Request, Teacher

SCORED: Mapping[str, Json] = {"prompt_logprobs": 0, "temperature": 0}
"""0 = no other tokens beside the prompt's own. What is written is of no interest."""
OF_WRITING = frozenset({"seed", "stop", "top_p", "logprobs", "top_logprobs", "response_format"})
"""Parameters that say how an answer is written, and nothing of how likely one is."""


class Likelihood(NamedTuple):
    """How likely an answer is."""

    mean_logprob: float
    """Natural logarithm, a mean over the tokens: at most 0."""
    tokens: int
    """Of the answer."""
    keys: tuple[str, ...]
    """Of the ledger's entries that tell it."""
    places: tuple[Logprob, ...] = ()
    """The tokens that count, with their log-probabilities."""

    @property
    def sum_logprob(self) -> float:
        """Of the whole answer; prefers short ones."""
        return self.mean_logprob * self.tokens


async def likelihood(
    teacher: Teacher, asked: Request, response: str, *, alone: bool = False
) -> Likelihood:
    """How likely the response is as the teacher's answer.

    Args:
        teacher: is asked; it must know `prompt_logprobs`.
        asked: the question, chat or raw, with the teacher's own parameters.
        response: the answer whose tokens count; not empty.
        alone: as a text that stands for itself, without the question. Its first token counts only
            where the model has one that begins every text.

    Raises:
        ValueError: the response is empty.
        TeacherRefused: the teacher tells no log-probabilities of a prompt.
        TeacherError: there is no answer.
    """
    if not response:
        raise ValueError("an empty answer has no likelihood: reject such rows first")
    whole = await teacher.complete(_whole(asked, response, alone))
    places, keys, begins = whole.prompt_logprobs, whole.keys, 0
    if not places:
        raise TeacherRefused(
            "the teacher does not say how likely a given text is (`prompt_logprobs`): a `student`"
            " does, and so does vLLM, as `vllm` or as an `endpoint`"
        )
    if not alone:
        opening = await teacher.complete(_with(asked, {}))
        keys = (*opening.keys, *keys)
        begins = _parting(places, opening.prompt_logprobs)
    scored = tuple(place for place in _of_answer(places[begins:]) if place is not None)
    if not scored:
        raise RequestRefused(
            400, f"no token of the answer can be scored, it is too short: {response!r:.80}"
        )
    mean = math.fsum(place.logprob for place in scored) / len(scored)
    return Likelihood(mean, len(scored), keys, scored)


def likelihood_faults(teacher: str, config: TeacherConfig) -> Iterator[str]:
    """Why a teacher cannot be asked for likelihoods, as far as its block tells; for the plan.

    Args:
        teacher: its name.
        config: its block.
    """
    if config.kind in {"simulated", "recorded"}:
        yield (
            f"teacher: {teacher!r} is {config.kind} and cannot say how likely a given text is: name"
            " a `student`, or a model that vLLM serves"
        )
    elif config.mode == "batch":
        yield (
            f"teacher: {teacher!r} has `mode: batch`, and likelihoods are not asked for in batches:"
            " leave the mode out"
        )


def _whole(asked: Request, response: str, alone: bool) -> Request:
    """The question with its answer, as one text."""
    if alone:
        text = _with(asked, {"prompt": response})
        body = {name: value for name, value in text.body.items() if name != "messages"}
        return text._replace(api="completions", body=body)
    if asked.api == "completions":
        return _with(asked, {"prompt": f"{asked.body['prompt']}{response}"})
    messages = asked.body["messages"]
    assert isinstance(messages, list | tuple)  # noqa: S101  a chat has them
    answered = [*messages, {"role": "assistant", "content": response}]
    return _with(asked, {"messages": answered, "add_generation_prompt": False})


def _with(asked: Request, more: Mapping[str, Json]) -> Request:
    params = {name: value for name, value in asked.body.items() if name not in OF_WRITING}
    return asked._replace(body={**params, **SCORED, **more}, max_tokens=1, sample=0)


def _parting(whole: Sequence[Logprob | None], opening: Sequence[Logprob | None]) -> int:
    """The first place in which their tokens differ; that after the opening where none does."""
    for place, (one, other) in enumerate(zip(whole, opening, strict=False)):
        if one and other and one.token != other.token:
            return place
    return len(opening)


def _of_answer(places: Sequence[Logprob | None]) -> Sequence[Logprob | None]:
    """Without the blank that many templates put behind the token that ends a turn."""
    end = len(places)
    while end > 1 and (last := places[end - 1]) and not last.token.strip():
        end -= 1
    return places[:end]
