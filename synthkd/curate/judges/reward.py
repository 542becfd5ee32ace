"""`judge.reward`: the number that a served reward model gives to an answer.

    teachers: {reward: {endpoint: http://127.0.0.1:8000/v1, model: MODEL}}
    - {use: judge.reward, with: {teacher: reward, middle: 1.5, keep_at_least: 0.5}}

The model sees task and answer as a conversation, which its server puts into the model's own
template. A reward has no scale: what reward models are trained on is only which of two answers is
better, and there the logistic function of a difference of rewards is the probability that one is
preferred (Bradley and Terry; InstructGPT, arXiv 2203.02155, section 3.5). So the score, which is
from 0 to 1 in every judge, is the logistic function of the reward less `middle`: the probability by
the model that the answer is preferred to one with the reward `middle`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

import orjson

from synthkd.config import TeacherConfig
from synthkd.curate.judges.scoring import (
    ScoredSettings,
    as_text,
    judged_text,
    pass_on,
    same_score,
    seen,
)
from synthkd.curate.judges.verdict import Opinion, Reading
from synthkd.errors import TeacherError, TeacherRefused
from synthkd.evaluate.preference import logistic
from synthkd.recipes.replies import loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion


class RewardSettings(ScoredSettings):
    """Settings of `judge.reward`."""

    teacher: str
    """The reward model: one with an `endpoint` whose server has /classify, as vLLM has."""
    prompt: str = "judges/reward"
    """The conversation that is scored; the shipped one has the task as the user and the answer as
    the assistant. One of a single raw block is scored as the text that it is."""
    middle: float = 0.0
    """The reward that scores 0.5, such as the median of your rows. With `keep_at_least: 0.5` it is
    the least reward that is kept."""

    @property
    def writers(self) -> list[str]:
        """Teachers that write tokens: none."""
        return []

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """A teacher that cannot be a reward model."""
        return no_reward_model(self.teacher, teachers)


def no_reward_model(name: str, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
    """Why the teacher of that name cannot be a reward model."""
    asked = teachers[name]
    if asked.kind != "http":
        yield (
            f"teacher: {name!r} is {asked.kind}, and no reward model: name one with an `endpoint`,"
            " whose server has /classify"
        )
    elif asked.mode == "batch":
        yield (
            f"teacher: {name!r} has `mode: batch`, and no provider scores in batches: leave the"
            " mode out"
        )


@step(
    "judge.reward",
    needs=seen,
    gives=lambda config: [config.into],
    supplies=("question", "candidate"),
    warns=same_score,
)
async def reward(row: Row, kit: Kit, config: RewardSettings, /) -> AsyncIterator[Row]:
    """Have an answer scored by a reward model.

    Gives the verdict (`into`): `score` from 0 to 1, the `reward` as the model gave it, and
    `answers`. Rejects `low_score` and `nothing_to_judge`.
    """
    inputs = inputs_of(
        row,
        kit.prompts[config.prompt].inputs,
        question=as_text(row, config.question),
        candidate=judged_text(row, config.all_fields),
    )
    completion = await kit.score(config.prompt, inputs, teacher=config.teacher)
    one = rewarded(completion, config.teacher, config.middle)
    given = reward_of(completion, config.teacher)
    verdict: dict[str, Json] = {
        "score": one.score,
        "reward": given,
        "answers": [{**one.told, "reward": given}],
    }
    yield pass_on(row, kit, config, verdict)


def rewarded(reply: Completion | TeacherError, teacher: str, middle: float) -> Opinion:
    """A reward as an opinion: no criteria, and a score from 0 to 1.

    Args:
        reply: of `kit.score`, or why there is none.
        teacher: the reward model.
        middle: the reward that scores 0.5.
    """
    if isinstance(reply, TeacherError):
        reading, score = Reading(loss=loss_of(reply)), None
    else:
        reading, score = Reading(), logistic(reward_of(reply, teacher) - middle)
    return Opinion(teacher=teacher, sample=0, reply=reply, reading=reading, score=score)


def reward_of(completion: Completion, teacher: str) -> float:
    """The one number of the reply.

    Raises:
        TeacherRefused: it has several, so the model sorts into classes.
    """
    numbers = orjson.loads(completion.text)
    if len(numbers) != 1:
        raise TeacherRefused(
            f"teachers.{teacher} gives {len(numbers)} numbers to an answer: it sorts into classes,"
            " and a reward model gives one. Name another `model`"
        )
    return float(numbers[0])
