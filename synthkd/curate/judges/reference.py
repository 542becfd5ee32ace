"""`judge.reference`: a teacher scores an answer against a reference, such as a gold answer.

Where right can be told by comparing texts, `gate.gold` does it for nothing; this is for answers in
prose. A reference helps judges most where they cannot solve the task themselves (MT-bench's judge
of mathematics, arXiv 2306.05685), and it misleads them where the reference is wrong.

A reference that is the answer itself (NFKC, case and white space aside) is not put to the judge:
the score is 1 by definition, the verdict says `same: true`, and the figures count it, because many
of them mean that gold has leaked into the answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

from pydantic import Field

from synthkd.curate.judges.rubrics import Rubric, RubricSetting
from synthkd.curate.judges.scoring import (
    SUPPLIES,
    JudgedSettings,
    as_text,
    opinions_on,
    pass_on,
    same_score,
    seen,
    shown,
    verdict_of,
)
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.text import normalised

SAME = "same as the reference"
MOST_SAME = 0.5
"""Of the verdicts: teachers seldom hit upon the words of a reference in prose."""


class ReferenceSettings(JudgedSettings):
    """Settings of `judge.reference`."""

    teacher: str
    """The judge: better of another family than the teacher that wrote the answer."""
    reference: str
    """The field with the reference. Only the judge sees it."""
    prompt: str = "judges/reference"
    """The prompt; the shipped one shows task, reference, answer and criteria."""
    rubric: RubricSetting = Field(default="judges/reference", validate_default=True)
    """A rubric's name, or the rubric itself."""


def _needs(config: ReferenceSettings) -> Iterable[str]:
    return [*seen(config), config.reference]


def _warns(figures: Mapping[str, Json]) -> Iterable[str]:
    yield from same_score(figures)
    verdicts, same = figures.get("verdicts"), figures.get(SAME)
    if isinstance(verdicts, int) and isinstance(same, int) and same > MOST_SAME * verdicts:
        yield (
            f"{same:,} of {verdicts:,} answers are the reference itself: check that no prompt shows"
            " it to the teacher"
        )


@step(
    "judge.reference",
    needs=_needs,
    gives=lambda config: [config.into],
    supplies=(*SUPPLIES, "reference"),
    warns=_warns,
)
async def reference(row: Row, kit: Kit, config: ReferenceSettings, /) -> AsyncIterator[Row]:
    """Have an answer scored against a reference.

    Gives the verdict (`into`) as `judge.rubric` does, with `same`: whether the answer is the
    reference itself, which scores 1 without asking. Rejects what `judge.rubric` rejects.
    """
    inputs = shown(row, config, config.rubric)
    known = as_text(row, config.reference)
    if same := normalised(str(inputs["candidate"])) == normalised(known):
        kit.count(SAME)
        verdict = best(config.rubric)
    else:
        asked = kit.prompts[config.prompt].inputs
        opinions = await opinions_on(
            kit,
            config.prompt,
            inputs_of(row, asked, reference=known, **inputs),
            config.rubric,
            teachers=[config.teacher],
            samples=config.samples,
            structured=config.structured,
        )
        verdict = verdict_of(opinions, config.rubric)
    yield pass_on(row, kit, config, {**verdict, "same": same})


def best(standard: Rubric) -> dict[str, Json]:
    """The verdict that nothing can be better than; nobody said it."""
    scores: dict[str, Json] = {
        one.name: float(one.scale[1] if one.weight > 0 else one.scale[0])
        for one in standard.criteria
    }
    return {"score": 1.0, "scores": scores, "rubric": standard.name, "answers": []}
