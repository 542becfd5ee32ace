"""`judge.panel`: several judges of several families score an answer; each family counts once.

A judge likes what its own family writes, and families err in different places; a panel of several
small ones can agree with people better than one large judge (PoLL, arXiv 2404.18796). It is no law:
docs/curation/judges.md has what was measured. A family's score is the mean over its teachers, so a
second teacher of one family adds no second vote.

    mean       the mean over the families' scores
    majority   the share of all families that are asked whose score reaches `yes_from`

A strict majority is `keep_at_least: 0.51`: more than half, so a draw is a no. Families that say
nothing count against the row. Where not more than half of them can be read there is no verdict
(`no_quorum`): a panel fails closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from pydantic import Field, model_validator

from synthkd.config import Share
from synthkd.curate.calibration import ROUNDING
from synthkd.curate.judges.rubrics import RubricSetting
from synthkd.curate.judges.scoring import (
    SUPPLIES,
    JudgedSettings,
    opinions_on,
    pass_on,
    same_score,
    seen,
    shown,
)
from synthkd.curate.judges.verdict import Opinion
from synthkd.errors import Rejected, RowError
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step

NO_QUORUM = "no_quorum"


class PanelSettings(JudgedSettings):
    """Settings of `judge.panel`."""

    teachers: list[str]
    """The judges."""
    families: dict[str, str] = Field(default_factory=dict)
    """Teacher -> the family that its model is of; by default each is a family of its own."""
    author: str | None = None
    """The field with the family, or the teacher, that wrote the answer: that family is not asked,
    because judges favour their own."""
    vote: Literal["mean", "majority"] = "mean"
    yes_from: Share | None = None
    """Of a majority: the score from which a family says yes. `keep_at_least` is then the share of
    all families that are asked that must: more than half, such as 0.51, or 1 for all of them."""
    prompt: str = "judges/rubric"
    """The prompt, the same for all of them."""
    rubric: RubricSetting = Field(default="judges/helpsteer2", validate_default=True)
    """A rubric's name, or the rubric itself."""

    @model_validator(mode="after")
    def _a_panel(self) -> PanelSettings:
        if len(set(self.teachers)) != len(self.teachers):
            raise ValueError("teachers must name each teacher once; `samples` asks one repeatedly")
        if strangers := sorted(set(self.families) - set(self.teachers)):
            raise ValueError(f"families names {strangers[0]!r}, which is not among the teachers")
        if len({self.family(teacher) for teacher in self.teachers}) < 2:
            raise ValueError("a panel needs two families at least; one is `judge.rubric`")
        if (self.vote == "majority") == (self.yes_from is None):
            raise ValueError(
                "a majority, and nothing else, needs `yes_from`: the score from which a family says"
                " yes; `keep_at_least` is the share of families that must, such as 0.51"
            )
        if self.vote == "majority" and self.keep_at_least is not None and self.keep_at_least <= 0.5:
            raise ValueError(
                f"keep_at_least of a majority must be above 0.5, such as 0.51: {self.keep_at_least}"
                " lets a row pass that half of the families or more did not"
            )
        return self

    def judging(self) -> dict[str, Any]:
        """What decides a verdict; with an author, so do the families' names."""
        told = super().judging()
        if self.author is not None:
            told["families"] = {teacher: self.family(teacher) for teacher in self.teachers}
        return told

    def family(self, teacher: str) -> str:
        """The family of a teacher."""
        return self.families.get(teacher, teacher)


def _needs(config: PanelSettings) -> Iterable[str]:
    return [*seen(config), *([config.author] if config.author is not None else [])]


@step(
    "judge.panel",
    needs=_needs,
    gives=lambda config: [config.into],
    supplies=SUPPLIES,
    warns=same_score,
)
async def panel(row: Row, kit: Kit, config: PanelSettings, /) -> AsyncIterator[Row]:
    """Have an answer scored by judges of several families.

    Gives the verdict (`into`): `score` from 0 to 1, `scores` by criterion, `families` (the score of
    each, null where it said nothing that can be read), and all `answers`. Rejects `low_score`,
    `no_quorum`, and what `judge.rubric` rejects. The figures have each family's verdicts and how
    far they are above or below the panel's.
    """
    teachers = _asked(row, config)
    asked = kit.prompts[config.prompt].inputs
    opinions = await opinions_on(
        kit,
        config.prompt,
        inputs_of(row, asked, **shown(row, config, config.rubric)),
        config.rubric,
        teachers=teachers,
        samples=config.samples,
        structured=config.structured,
    )
    family_of = {name: config.family(name) for name in teachers}
    families = family_means(family_of, ((one.teacher, one.score) for one in opinions))
    verdict: dict[str, Json] = {
        "score": panel_score(families, config),
        "scores": _by_criterion(family_of, opinions, config),
        "rubric": config.rubric.name,
        "families": dict(families),
        "answers": [one.told for one in opinions],
    }
    _count(kit, families)
    yield pass_on(row, kit, config, verdict)


def family_means(
    family_of: Mapping[str, str], told: Iterable[tuple[str, float | None]]
) -> dict[str, float | None]:
    """Each family's value in the order of their names: the mean over its teachers' means.

    Args:
        family_of: each teacher's family.
        told: a teacher and what it said, once for each sample; None = nothing that can be read.
    """
    by_family: dict[str, dict[str, list[float]]] = {
        family: {} for family in sorted(set(family_of.values()))
    }
    for teacher, value in told:
        if value is not None:
            by_family[family_of[teacher]].setdefault(teacher, []).append(value)
    return {
        family: fmean([fmean(values) for values in teachers.values()]) if teachers else None
        for family, teachers in by_family.items()
    }


def _by_criterion(
    family_of: Mapping[str, str], opinions: Sequence[Opinion], config: PanelSettings
) -> dict[str, Json]:
    """The mean over the families by criterion, each on its own scale; some family can be read."""
    read = [(one.teacher, one.reading.scores) for one in opinions if one.reading.scores is not None]
    means: dict[str, Json] = {}
    for criterion in config.rubric.criteria:
        told = ((teacher, scores[criterion.name]) for teacher, scores in read)
        values = family_means(family_of, told).values()
        means[criterion.name] = fmean([value for value in values if value is not None])
    return means


def panel_score(families: Mapping[str, float | None], config: PanelSettings) -> float:
    """What the panel as a whole says, whatever the order of teachers.

    Raises:
        Rejected: `no_quorum`: not more than half of the families can be read.
    """
    read = [score for score in families.values() if score is not None]
    if 2 * len(read) <= len(families):
        silent = ", ".join(name for name, score in families.items() if score is None)
        raise Rejected(NO_QUORUM, f"{len(read)} of {len(families)} families; not {silent}")
    if config.vote == "mean":
        return fmean(read)
    least = (config.yes_from or 0) - ROUNDING
    return sum(score >= least for score in read) / len(families)


def _asked(row: Row, config: PanelSettings) -> list[str]:
    """The judges of other families than the author's."""
    if config.author is None:
        return config.teachers
    author = row.fields.get(config.author)
    if not isinstance(author, str):
        raise RowError(f"{config.author} must name who wrote the answer, got {author!r:.80}")
    own = config.family(author)
    others = [teacher for teacher in config.teachers if config.family(teacher) != own]
    if not others:
        raise Rejected(NO_QUORUM, f"every judge is of the family {own!r}, which wrote the answer")
    return others


def _count(kit: Kit, families: Mapping[str, float | None]) -> None:
    """Each family's verdicts, and how far they are from the mean of the others, in thousandths."""
    for family, score in families.items():
        others = [other for name, other in families.items() if name != family and other is not None]
        if score is None or not others:
            continue
        kit.count(f"{family}: verdicts beside others")
        kit.count(f"{family}: above the others, thousandths", round(1000 * (score - fmean(others))))
