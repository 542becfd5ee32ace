"""`on_policy`: a teacher edits or ranks what the student itself says.

Off-policy, a student learns what the teacher would write; on-policy, it is corrected where it went
itself. A teacher that can only be talked to can do two things with the student's answers:

    edit    put right what is wrong in one of them: `response` is learnt (SFT)
    rank    say which of several is best and which is worst: `chosen` over `rejected` (dpo)

Where there is no student yet, as in round 0, the teacher answers itself: that is off-policy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal

from synthkd.config import Samples
from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.replies import give_up, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, inputs_of, step
from synthkd.text import answer_text, normalised

SUPPLIES = ("question", "answer", "answers", "labels")


class OnPolicySettings(StepSettings):
    """Settings of `on_policy`."""

    student: str
    """Whose answers they are: `student: {round: previous}`, or any model."""
    teacher: str
    """Who edits or ranks them."""
    way: Literal["edit", "rank"] = "edit"
    """What the teacher does."""
    samples: Samples = 1
    """Answers of the student, of which different ones are ranked; an edit is made of the first."""
    question: str = "question"
    """The field with what is asked."""
    labels: list[str] | None = None
    """What an answer must be one of, where that is so."""
    prompt: str = "s3ft/own"
    """What the student is asked with; the shipped one is the question as it stands."""
    edit_prompt: str = "on_policy/edit"
    """Shows the teacher question and answer; without an answer it is to write one."""
    rank_prompt: str = "on_policy/rank"
    """Shows the teacher the question and all different answers; asks for JSON."""
    into: str = "response"
    """The field for the edit, or the best answer."""

    @property
    def teachers(self) -> list[str]:
        """All who may be asked."""
        return [self.student, self.teacher]

    @property
    def calls_a_row(self) -> int:
        """Questions to each of them about a row, at most; for the forecast."""
        return self.samples


def _needs(config: OnPolicySettings) -> Iterable[str]:
    return [config.question]


@step(
    "on_policy",
    needs=_needs,
    gives=lambda config: (config.into, "chosen", "rejected"),
    supplies=SUPPLIES,
)
async def on_policy(row: Row, kit: Kit, config: OnPolicySettings, /) -> AsyncIterator[Row]:
    """Have the student's answers edited or ranked.

    Gives `into`, and for a preference `chosen` and `rejected`: the edit over the answer, or the
    best answer over the worst; null where they are the same, or all are. Rejects `refused`,
    `empty_answer`, `bad_json`, `bad_rank` and the like of the teacher. Figures: rows of each kind.
    """
    question = answer_text(row.fields.get(config.question))
    if question is None:
        raise Rejected("no_question", f"{config.question}: {row.fields.get(config.question)!r:.80}")
    known: dict[str, Json] = {"question": question, "labels": config.labels}
    answers = await _sampled(row, kit, config, known)
    if config.way == "rank" and len(answers) > 1:
        best, worst = await _ranked(row, kit, config, {**known, "answers": answers})
        kit.count("ranked")
        pair: tuple[str | None, str | None] = (answers[best], answers[worst])
        learnt = answers[best]
    else:
        answer = answers[0] if answers else None
        if config.way == "rank" and answer is not None:
            learnt = answer
        else:
            learnt = await _asked(row, kit, config, {**known, "answer": answer})
        is_pair = answer is not None and normalised(learnt) != normalised(answer)
        kit.count("written by the teacher" if answer is None else "edited" if is_pair else "kept")
        pair = (learnt, answer) if is_pair else (None, None)
    yield row.with_fields(**{config.into: learnt, "chosen": pair[0], "rejected": pair[1]})


async def _sampled(
    row: Row, kit: Kit, config: OnPolicySettings, known: Mapping[str, Json]
) -> list[str]:
    """What the student says, each only once; nothing where there is no student yet."""
    if not kit.can_ask(config.student):
        return []
    replies = await kit.ask_many(
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, **known),
        teachers=[config.student],
        samples=config.samples,
    )
    errors = [reply for reply in replies if isinstance(reply, TeacherError)]
    if len(errors) == len(replies):
        raise errors[0]
    said: dict[str, str] = {}
    for reply in replies:
        if (loss := loss_of(reply)) is not None:
            kit.discard(loss.reason, loss.detail)
        elif not isinstance(reply, TeacherError):
            said.setdefault(normalised(reply.text), reply.text.strip())
    return list(said.values())


async def _asked(row: Row, kit: Kit, config: OnPolicySettings, known: Mapping[str, Json]) -> str:
    """The teacher's edit, or its own answer.

    Raises:
        Rejected: there is none that can be used.
    """
    declared = kit.prompts[config.edit_prompt].inputs
    inputs = inputs_of(row, declared, **known)
    reply = await kit.ask(config.edit_prompt, inputs, teacher=config.teacher)
    if (loss := loss_of(reply)) is not None:
        give_up([reply], [loss])
    return reply.text.strip()


async def _ranked(
    row: Row, kit: Kit, config: OnPolicySettings, known: Mapping[str, Json]
) -> tuple[int, int]:
    """The places of the best and the worst answer.

    Raises:
        Rejected: the teacher does not say, or names one answer for both.
    """
    declared = kit.prompts[config.rank_prompt].inputs
    inputs = inputs_of(row, declared, **known)
    reply = await kit.ask(config.rank_prompt, inputs, teacher=config.teacher)
    if (loss := loss_of(reply)) is not None:
        give_up([reply], [loss])
    value = reply.shaped.value if reply.shaped is not None else None
    answers = known["answers"]
    assert isinstance(answers, list)  # noqa: S101  the caller made it
    said = [value.get(name) for name in ("best", "worst")] if isinstance(value, dict) else []
    places = [n - 1 for n in said if isinstance(n, int) and 0 < n <= len(answers)]
    if len(places) < 2 or places[0] == places[1]:
        raise Rejected("bad_rank", f"of {len(answers)} answers: {reply.text:.200}")
    return places[0], places[1]
