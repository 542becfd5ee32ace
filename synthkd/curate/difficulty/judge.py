"""`difficulty.judge`: what a judge says of the instruction alone, 1 to 10.

Judges take long texts for hard ones. The shipped prompt and rubric tell them not to; how far they
do it all the same is among the figures (`correlation with log length`), and `difficulty.residual`
takes out what length explains.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from synthkd.config import Samples
from synthkd.curate.difficulty.measured import DifficultySettings, fields_of, measured
from synthkd.curate.judges.rubrics import RubricSetting
from synthkd.curate.judges.scoring import opinions_on, score_of, scores_of
from synthkd.recipes.spread import with_spread
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step

BY = "difficulty.judge"
LEAST, MOST = 1, 10
"""A rubric with other scales is stretched to it."""


class JudgeSettings(DifficultySettings):
    """Settings of `difficulty.judge`."""

    teacher: str
    """The judge."""
    rubric: RubricSetting = Field(default="judges/difficulty", validate_default=True)
    """A rubric's name, or the rubric itself: more of each criterion is harder."""
    samples: Samples = 1
    """Answers of which the mean counts; more than 1 needs a temperature above 0."""
    prompt: str = "judges/difficulty"
    """The prompt; the shipped one shows the instruction and the criteria."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""


@step(
    BY,
    needs=fields_of,
    gives=lambda config: config.gives,
    supplies=("question", "criteria", "about"),
    sums_up=with_spread,
)
async def judge(row: Row, kit: Kit, config: JudgeSettings, /) -> AsyncIterator[Row]:
    """Ask a judge how hard the instruction is.

    Gives `difficulty` (1 to 10) and `difficulty_parts`: scores by criterion and the judge's
    answers. Rejects `too_easy` with `keep_at_least`; where no answer can be read, `no_verdict`,
    `off_scale`, `several_verdicts`, `refused`, `empty_answer` and its kin.
    """
    standard = config.rubric
    shown: dict[str, Json] = {
        "question": config.asked_in(row),
        "criteria": standard.shown,
        "about": standard.about,
    }
    opinions = await opinions_on(
        kit,
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, **shown),
        standard,
        teachers=[config.teacher],
        samples=config.samples,
        structured=config.structured,
    )
    share = score_of(opinions)
    assert share is not None  # noqa: S101  at least one can be read
    parts: dict[str, Json] = {
        "scores": scores_of(opinions, standard),
        "rubric": standard.name,
        "answers": [one.told for one in opinions],
    }
    hard = round(LEAST + (MOST - LEAST) * share, 9)
    yield measured(row, kit, config, hard, by=BY, width=1, parts=parts)
