"""What judges that score one answer share: settings, what they are shown, what replies come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field, model_validator

from synthkd.config import Samples, Share
from synthkd.curate.calibration import ROUNDING, Calibrated
from synthkd.curate.fields import value_of
from synthkd.curate.judges.rubrics import Rubric
from synthkd.curate.judges.verdict import Opinion, opinion
from synthkd.curate.texts import FieldOrFields
from synthkd.errors import Rejected, RowError
from synthkd.fence import fenced
from synthkd.recipes.replies import discard_all, give_up
from synthkd.rows import Fields, Json, Row, canonical
from synthkd.steps import Kit

SUPPLIES = ("question", "candidate", "criteria", "about")
"""Inputs of a judge's prompt that the step computes."""


class ScoredSettings(Calibrated, FieldOrFields):
    """What all have in common that score one answer."""

    field: str | None = None
    """The field that is judged; by default `response` ..."""
    fields: list[str] = Field(default=[])
    """... or several, each of which stands between tags of its name."""
    question: str = "instruction"
    """The field with what was asked."""
    into: str = "verdict"
    """The field for the verdict."""
    keep_at_least: Share | None = None
    """Rejects a row whose score, from 0 to 1 whatever the scales, is below (`low_score`). Choose it
    on rows that people have judged: no value is right for all judges."""

    @model_validator(mode="before")
    @classmethod
    def _response_by_default(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and not given.keys() & {"field", "fields"}:
            return {**given, "field": "response"}
        return given


class JudgedSettings(ScoredSettings):
    """What judges that write have in common, beside that."""

    samples: Samples = 1
    """Answers per teacher, of which the mean counts; more than 1 needs a temperature above 0."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""


def seen(config: ScoredSettings) -> list[str]:
    """The fields that the judge is shown."""
    return [config.question, *config.all_fields]


def shown(row: Row, config: JudgedSettings, standard: Rubric) -> dict[str, Json]:
    """The inputs that a judge's prompt gets from the step."""
    return {
        "question": as_text(row, config.question),
        "candidate": judged_text(row, config.all_fields),
        "criteria": standard.shown,
        "about": standard.about,
    }


def judged_text(row: Row, names: Sequence[str]) -> str:
    """What the judge sees of the answer: one field's text, or several, each fenced under its name.

    Raises:
        Rejected: `nothing_to_judge`: it is empty.
    """
    texts = [as_text(row, name) for name in names]
    if not any(text.strip() for text in texts):
        raise Rejected("nothing_to_judge", f"{', '.join(names)} is empty")
    if len(names) == 1:
        return texts[0]
    return "\n\n".join(fenced(text, name) for name, text in zip(names, texts, strict=True))


def as_text(row: Row, name: str) -> str:
    """A field as text; lists, objects and numbers as JSON.

    Raises:
        MissingField: the row has no such field.
        RowError: it is null.
    """
    value = value_of(row, name)
    if value is None:
        raise RowError(f"{name} is null, and there is nothing to judge")
    return value if isinstance(value, str) else canonical(value).decode()


async def opinions_on(
    kit: Kit,
    prompt: str,
    inputs: Fields,
    standard: Rubric,
    *,
    teachers: Sequence[str],
    samples: int,
    structured: bool,
) -> list[Opinion]:
    """What the teachers say by the rubric, teacher by teacher; at least one can be read.

    Raises:
        Rejected: none can be read.
        TeacherError: nobody answered.
    """
    replies = await kit.ask_many(
        prompt,
        inputs,
        teachers=teachers,
        samples=samples,
        schema=standard.reply_schema if structured else None,
    )
    opinions = [
        opinion(reply, standard, teacher=teachers[place // samples], sample=place % samples)
        for place, reply in enumerate(replies)
    ]
    losses = [one.reading.loss for one in opinions if one.reading.loss is not None]
    if len(losses) == len(opinions):
        give_up(replies, losses)
    discard_all(kit, losses)
    return opinions


def verdict_of(opinions: Sequence[Opinion], standard: Rubric) -> dict[str, Json]:
    """What several answers by one rubric come to: the means of those that could be read."""
    return {
        "score": score_of(opinions),
        "scores": scores_of(opinions, standard),
        "rubric": standard.name,
        "answers": [one.told for one in opinions],
    }


def score_of(opinions: Iterable[Opinion]) -> float | None:
    """The mean of the scores, 0 to 1; None = no answer can be read."""
    scores = [one.score for one in opinions if one.score is not None]
    return fmean(scores) if scores else None


def scores_of(opinions: Iterable[Opinion], standard: Rubric) -> dict[str, Json]:
    """The mean by criterion, each on its own scale."""
    read = [one.reading.scores for one in opinions if one.reading.scores is not None]
    return {
        criterion.name: fmean([scores[criterion.name] for scores in read])
        for criterion in standard.criteria
    }


def pass_on(
    row: Row, kit: Kit, config: ScoredSettings, verdict: dict[str, Json], **more: Json
) -> Row:
    """The row with its verdict, if the score is high enough; the figures count it either way.

    Verdicts are counted by the tenth that the score falls into, so that a judge that always says
    the same shows.

    Raises:
        Rejected: `low_score`.
    """
    score = verdict["score"]
    assert isinstance(score, float)  # noqa: S101  a verdict that was given has one
    kit.count("verdicts")
    kit.count(f"{SCORED}{min(int(score * 10 + ROUNDING), 9) / 10:.1f}")
    if config.keep_at_least is not None and score < config.keep_at_least - ROUNDING:
        raise Rejected("low_score", f"score {score:.4g}, keep_at_least is {config.keep_at_least:g}")
    return row.with_fields(**{config.into: verdict}, **more)


SCORED = "score from "
LEAST_TO_WARN = 20
"""Verdicts: of fewer, all may well be equal."""


def same_score(figures: Fields) -> Iterable[str]:
    """A warning for a judge that always says the same."""
    verdicts = figures.get("verdicts", 0)
    tenths = [name.removeprefix(SCORED) for name in figures if name.startswith(SCORED)]
    if isinstance(verdicts, int) and verdicts >= LEAST_TO_WARN and len(tenths) == 1:
        yield (
            f"all {verdicts:,} scores are in the tenth from {tenths[0]}: a judge that always says"
            " the same tells nothing. Look at its answers, give the rubric anchors, or take another"
            " judge"
        )
