"""`judge.rubric`: a teacher scores an answer by the criteria of a rubric, reasons first.

The five attributes of HelpSteer2 (arXiv 2406.08673) with the weights of its 70B reward model are
the default. Several samples are averaged: the mean of k answers is what a judge's expected score is
without log-probabilities.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from pydantic import Field

from synthkd.config import Samples, Share
from synthkd.curate.judges.rubrics import Rubric, RubricSetting, checklist_of
from synthkd.curate.judges.verdict import Opinion, mean, opinion
from synthkd.errors import MissingField, Rejected, RowError
from synthkd.recipes.replies import discard_all, give_up
from synthkd.rows import Json, Row, canonical
from synthkd.steps import Kit, StepSettings, inputs_of, step

ROUNDING = 1e-9
"""A score is a quotient; it is not rejected for its last bit."""
SUPPLIES = ("question", "candidate", "criteria", "about")
"""Inputs of a judge's prompt that the step computes."""


class JudgedSettings(StepSettings):
    """What judges that see one answer have in common."""

    field: str | list[str] = "response"
    """The field that is judged; of several, each stands under its name."""
    question: str = "instruction"
    """The field with what was asked."""
    samples: Samples = 1
    """Answers per teacher, of which the mean counts; more than 1 needs a temperature above 0."""
    into: str = "verdict"
    """The field for the verdict."""
    keep_at_least: Share | None = None
    """Rejects a row whose score, from 0 to 1 whatever the scales, is below (`low_score`). Choose it
    on rows that people have judged: no value is right for all judges."""


class RubricSettings(JudgedSettings):
    """Settings of `judge.rubric`."""

    teacher: str
    """The judge: better of another family than the teacher that wrote the answer."""
    prompt: str = "judges/rubric"
    rubric: RubricSetting = Field(default="judges/helpsteer2", validate_default=True)
    """A rubric's name, or the rubric itself; also shipped: judges/instruction, judges/rationale."""
    checklist: str | None = None
    """The field with the row's own list of what to check, in place of a rubric."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""


def _needs(config: RubricSettings) -> Iterable[str]:
    own = [config.checklist] if config.checklist is not None else []
    return [config.question, *fields_of(config.field), *own]


@step("judge.rubric", needs=_needs, gives=lambda config: [config.into], supplies=SUPPLIES)
async def rubric(row: Row, kit: Kit, config: RubricSettings, /) -> AsyncIterator[Row]:
    """Have an answer scored by the criteria of a rubric.

    Gives the verdict (`into`): `score` from 0 to 1, `scores` by criterion (means over the samples),
    and all `answers` with text and reasoning. Rejects `low_score`; where no answer can be read,
    `no_verdict`, `off_scale`, `several_verdicts`, `refused`, `empty_answer` and its kin.
    """
    standard = config.rubric if config.checklist is None else checklist_of(row, config.checklist)
    inputs = inputs_of(
        row,
        kit.prompts[config.prompt].inputs,
        question=text_of(row, config.question),
        candidate=judged_text(row, config.field),
        criteria=standard.shown,
        about=standard.about,
    )
    replies = await kit.ask_many(
        config.prompt,
        inputs,
        teachers=[config.teacher],
        samples=config.samples,
        schema=standard.reply_schema if config.structured else None,
    )
    opinions = [
        opinion(reply, standard, teacher=config.teacher, sample=sample)
        for sample, reply in enumerate(replies)
    ]
    losses = [one.reading.loss for one in opinions if one.reading.loss is not None]
    if len(losses) == len(opinions):
        give_up(replies, losses)
    discard_all(kit, losses)
    verdict = verdict_of(opinions, standard)
    count_score(kit, verdict["score"])
    check_score(verdict["score"], config.keep_at_least)
    yield row.with_fields(**{config.into: verdict})


def verdict_of(opinions: Sequence[Opinion], standard: Rubric) -> dict[str, Json]:
    """What several answers by one rubric come to: the means of those that could be read."""
    read = [one for one in opinions if one.reading.scores is not None]
    scores: dict[str, Json] = {
        criterion.name: mean([(one.reading.scores or {})[criterion.name] for one in read])
        for criterion in standard.criteria
    }
    return {
        "score": mean([one.score for one in read if one.score is not None]),
        "scores": scores,
        "rubric": standard.name,
        "answers": [one.told for one in opinions],
    }


def count_score(kit: Kit, score: Json) -> None:
    """Count a verdict by the tenth that its score falls into: what always says the same shows."""
    assert isinstance(score, float)  # noqa: S101  a verdict that was given has one
    kit.count("verdicts")
    kit.count(f"score {min(int(score * 10 + ROUNDING), 9) / 10:.1f}")


def check_score(score: Json, at_least: float | None) -> None:
    """Let a row pass whose score is high enough.

    Raises:
        Rejected: `low_score`.
    """
    assert isinstance(score, float)  # noqa: S101  a verdict that was given has one
    if at_least is not None and score < at_least - ROUNDING:
        raise Rejected("low_score", f"score {score:.4g}, keep_at_least is {at_least:g}")


def fields_of(field: str | list[str]) -> list[str]:
    """The fields that are judged."""
    return [field] if isinstance(field, str) else field


def judged_text(row: Row, field: str | list[str]) -> str:
    """What the judge sees of the answer: one field's text, or several under their names."""
    names = fields_of(field)
    texts = [text_of(row, name) for name in names]
    if not any(text.strip() for text in texts):
        raise Rejected("nothing_to_judge", f"{', '.join(names)} is empty")
    if len(names) == 1:
        return texts[0]
    return "\n\n".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))


def text_of(row: Row, name: str) -> str:
    """A field as text; lists and objects as JSON.

    Raises:
        MissingField: the row has no such field.
        RowError: it is null.
    """
    if name not in row.fields:
        raise MissingField(f"the row has no field {name!r}; it has {', '.join(sorted(row.fields))}")
    value = row.fields[name]
    if value is None:
        raise RowError(f"{name} is null, and there is nothing to judge")
    return value if isinstance(value, str) else canonical(value).decode()
