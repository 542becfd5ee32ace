"""`judge.rubric`: a teacher scores an answer by the criteria of a rubric, reasons first.

The five attributes of HelpSteer2 (arXiv 2406.08673) with the weights of its 70B reward model are
the default. Several samples are averaged: the mean of k answers is what a judge's expected score is
without log-probabilities (`judge.expected`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from pydantic import Field

from synthkd.curate.judges.rubrics import RubricSetting, checklist_of
from synthkd.curate.judges.scoring import (
    SUPPLIES,
    JudgedSettings,
    opinions_on,
    pass_on,
    same_score,
    seen,
    shown,
    verdict_of,
)
from synthkd.rows import Row
from synthkd.steps import Kit, inputs_of, step


class RubricSettings(JudgedSettings):
    """Settings of `judge.rubric`."""

    teacher: str
    """The judge: better of another family than the teacher that wrote the answer."""
    prompt: str = "judges/rubric"
    """The prompt; the shipped one shows task, answer and criteria, and asks for reasons first."""
    rubric: RubricSetting = Field(default="judges/helpsteer2", validate_default=True)
    """A rubric's name, or the rubric itself; also shipped: judges/instruction, judges/rationale."""
    checklist: str | None = None
    """The field with the row's own list of what to check, in place of a rubric."""


def _needs(config: RubricSettings) -> Iterable[str]:
    return [*seen(config), *([config.checklist] if config.checklist is not None else [])]


@step(
    "judge.rubric",
    needs=_needs,
    gives=lambda config: [config.into],
    supplies=SUPPLIES,
    warns=same_score,
)
async def rubric(row: Row, kit: Kit, config: RubricSettings, /) -> AsyncIterator[Row]:
    """Have an answer scored by the criteria of a rubric.

    Gives the verdict (`into`): `score` from 0 to 1, `scores` by criterion (means over the samples),
    and all `answers` with text and reasoning. Rejects `low_score`; where no answer can be read,
    `no_verdict`, `off_scale`, `several_verdicts`, `refused`, `empty_answer` and its kin.
    """
    standard = config.rubric if config.checklist is None else checklist_of(row, config.checklist)
    asked = kit.prompts[config.prompt].inputs
    opinions = await opinions_on(
        kit,
        config.prompt,
        inputs_of(row, asked, **shown(row, config, standard)),
        standard,
        teachers=[config.teacher],
        samples=config.samples,
        structured=config.structured,
    )
    yield pass_on(row, kit, config, verdict_of(opinions, standard))
