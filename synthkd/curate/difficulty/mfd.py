"""`difficulty.mfd`: what the student's answer lacks against the teacher's (TAPIR).

    difficulty = points(teacher's answer) - points(student's answer)     # -9 to 9, 0 = as good

Model fitting difficulty (arXiv 2405.13448): a judge scores both answers by the same criteria, each
on a scale of 1 to 10. Sources print the difference both ways round; here, as the paper says in
words, more is harder for the student: a better answer of the student never makes it more, a better
one of the teacher never less.

    - use: difficulty.mfd
      with: {student: own, judge: judge}        # own: {student: {round: previous}}, or any teacher

The judge sees one answer at a time, or both at once in both orders (`way: both`), so that its
liking for a place cancels out. Both ways take two questions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from synthkd.config import Count, Samples
from synthkd.curate.difficulty.measured import (
    DifficultySettings,
    measured,
    no_student,
)
from synthkd.curate.fields import text_of
from synthkd.curate.judges.rubrics import Rubric, RubricSetting
from synthkd.curate.judges.verdict import Opinion, opinion
from synthkd.errors import Rejected
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.recipes.spread import with_spread
from synthkd.rows import Fields, Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.text import normalised

BY = "difficulty.mfd"
LEAST, MOST = 1, 10
"""Of the points: the paper's scale. A rubric with other scales is stretched to it."""
DECIMALS = 9
"""Of points: equal ones are equal to the last bit, whichever way they were averaged."""
SAYS_NOTHING = frozenset({"empty_answer", "repetition"})
"""A student that says nothing, or goes round in circles, has the least points by definition."""
NOTHING, SAME = "the student says nothing", "the student says the same"
CUT = "student's answers cut at max_tokens"
UNREAD = "verdicts that could not be read"


class MfdSettings(DifficultySettings):
    """Settings of `difficulty.mfd`."""

    judge: str
    """Who scores: better of another family than teacher and student."""
    student: str | None = None
    """Who answers as the student: `{student: {round: previous}}`, or any teacher; or ..."""
    answered: str | None = None
    """... the field with the student's answer, where it is there already."""
    field: str = "output"
    """The field with the teacher's answer."""
    rubric: RubricSetting = Field(default="judges/answer", validate_default=True)
    """A rubric's name, or the rubric itself; the default has TAPIR's four criteria."""
    way: Literal["each", "both"] = "each"
    """One answer a question; or both in one question, asked in both orders and averaged."""
    samples: Samples = 1
    """Answers of the judge, a question; more than 1 needs a temperature above 0."""
    longer: Count | None = None
    """Tokens: an answer of the student that was cut is asked for again, once, with this
    `max_tokens`."""
    prompt: str = "s3ft/own"
    """What the student is asked with; the shipped one is the instruction as it stands."""
    judge_prompt: str = "judges/rubric"
    """What the judge is asked with; with `way: both` the default is judges/both."""
    structured: bool = True
    """Whether the JSON schema goes out with the judge's question; false for a server that takes
    none."""

    @model_validator(mode="before")
    @classmethod
    def _prompt_of_the_way(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("way") == "both":
            return {"judge_prompt": "judges/both", **given}
        return given

    @model_validator(mode="after")
    def _one_student(self) -> MfdSettings:
        if (self.student is None) == (self.answered is None):
            raise ValueError("must have exactly one of student (who), answered (a field)")
        if self.answered == self.field:
            raise ValueError(f"field and answered are the same field, {self.field!r}")
        if self.way == "both":
            _ = self.pair
        return self

    @property
    def teachers(self) -> list[str]:
        """All who may be asked."""
        return list(dict.fromkeys(who for who in (self.student, self.judge) if who is not None))

    @property
    def calls_a_row(self) -> int:
        """Questions to each of them about a row, at most; for the forecast."""
        return 2 * self.samples

    @property
    def pair(self) -> Rubric:
        """The rubric with each criterion twice, of the first answer and of the second."""
        twice = [
            {**one.model_dump(), "name": f"{place}_{one.name}"}
            for one in self.rubric.criteria
            for place in PLACES
        ]
        return Rubric.model_validate({"criteria": twice})


PLACES = ("first", "second")


class Points(NamedTuple):
    """What the judge gives one answer."""

    points: float
    """1 to 10, a mean over the samples."""
    scores: dict[str, Json]
    """The same by criterion, each on its own scale."""


def _needs(config: MfdSettings) -> Iterable[str]:
    answered = [config.answered] if config.answered is not None else []
    return [config.question, config.field, *answered]


@step(
    BY,
    needs=_needs,
    gives=lambda config: config.gives,
    supplies=("question", "candidate", "first", "second", "criteria", "about"),
    sums_up=with_spread,
)
async def mfd(row: Row, kit: Kit, config: MfdSettings, /) -> AsyncIterator[Row]:
    """Score the teacher's answer and the student's; their difference is how hard the row is.

    Gives `difficulty` (-9 to 9) and `difficulty_parts`: teacher, student (points, 1 to 10), scores
    by criterion, the student's answer, the judge's answers. Where there is no student yet, as in
    round 0, it is null and the row stays. Rejects `too_easy` with `keep_at_least` (the paper keeps
    2 and more); `nothing_to_judge`; where the judge cannot be read, `no_verdict`, `off_scale` and
    the like; where the student's reply is none, `refused` and its kin.
    """
    question = config.asked_in(row)
    answer = text_of(row, config.field)
    if not answer.strip():
        raise Rejected("nothing_to_judge", f"{config.field} is empty")
    if config.student is not None and not kit.can_ask(config.student):
        yield no_student(row, kit, config, by=BY)
        return
    said = await _student_says(row, kit, config, question)
    told: dict[str, Json] = {"student_answer": said, "way": config.way}
    if normalised(said) == normalised(answer):
        kit.count(SAME)
        yield measured(row, kit, config, 0.0, by=BY, width=1, parts={**told, "same": True})
        return
    look = _each if config.way == "each" else _both
    if not said.strip():
        kit.count(NOTHING)
    opinions, teacher, student = await look(row, kit, config, question, answer, said)
    discard_all(kit, _losses(opinions))
    parts: dict[str, Json] = {
        "teacher": teacher.points,
        "student": student.points,
        "scores": {"teacher": teacher.scores, "student": student.scores},
        "rubric": config.rubric.name,
        **told,
        "answers": [one.told for one in opinions],
    }
    difficulty = fitting_difficulty(teacher.points, student.points)
    yield measured(row, kit, config, difficulty, by=BY, width=1, parts=parts)


def fitting_difficulty(teacher: float, student: float) -> float:
    """How hard it is for the student: rises with the teacher's points, falls with its own."""
    return round(teacher - student, DECIMALS)


async def _student_says(row: Row, kit: Kit, config: MfdSettings, question: str) -> str:
    """The student's answer, as far as it goes; "" where it says nothing.

    Raises:
        Rejected: the reply is none, such as one that the server refuses.
        TeacherError: there is none.
    """
    if config.answered is not None:
        return text_of(row, config.answered)
    assert config.student is not None  # noqa: S101  the settings were checked
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, question=question)
    reply = await kit.ask(config.prompt, inputs, teacher=config.student, longer=config.longer)
    loss = loss_of(reply)
    kit.count(CUT, int(reply.finish == "length"))
    if loss is None:
        return reply.text.strip()
    if loss.reason not in SAYS_NOTHING:
        give_up([reply], [loss])
    return ""


Judged = tuple[Sequence[Opinion], Points, Points]
"""What the judge said, and what it gives teacher and student."""


async def _each(
    row: Row, kit: Kit, config: MfdSettings, question: str, answer: str, said: str
) -> Judged:
    """Each answer by a question of its own; an empty one is not asked about."""
    texts = [text for text in (answer, said) if text.strip()]
    opinions = await _opinions(
        row, kit, config, config.rubric, question, [{"candidate": text} for text in texts]
    )
    of_each = [opinions[at : at + config.samples] for at in range(0, len(opinions), config.samples)]
    points = [_points([one.reading.scores for one in some], config.rubric) for some in of_each]
    read = [_readable(one, some) for one, some in zip(points, of_each, strict=True)]
    return opinions, read[0], read[1] if said.strip() else _least(config.rubric)


async def _both(
    row: Row, kit: Kit, config: MfdSettings, question: str, answer: str, said: str
) -> Judged:
    """Both answers by one question, in both orders; of a sample both orders must be readable."""
    shown = [{"first": answer, "second": said}, {"first": said, "second": answer}]
    opinions = await _opinions(row, kit, config, config.pair, question, shown)
    as_is, swapped = opinions[: config.samples], opinions[config.samples :]
    found: dict[str, list[Mapping[str, int] | None]] = {"teacher": [], "student": []}
    for one, other in zip(as_is, swapped, strict=True):
        if one.reading.scores is None or other.reading.scores is None:
            continue  # half a look would bring the liking for a place back
        for who, places in (("teacher", PLACES), ("student", PLACES[::-1])):
            for each, place in zip((one, other), places, strict=True):
                found[who].append(_of_place(each.reading.scores or {}, place))
    teacher, student = (_points(found[who], config.rubric) for who in ("teacher", "student"))
    read = _readable(teacher, opinions), _readable(student, opinions)
    return opinions, read[0], read[1] if said.strip() else _least(config.rubric)


def _of_place(scores: Mapping[str, int], place: str) -> dict[str, int]:
    return {
        name.removeprefix(f"{place}_"): number
        for name, number in scores.items()
        if name.startswith(f"{place}_")
    }


async def _opinions(
    row: Row,
    kit: Kit,
    config: MfdSettings,
    standard: Rubric,
    question: str,
    shown: Sequence[Fields],
) -> list[Opinion]:
    """What the judge says to each of several questions, sample by sample."""
    declared = kit.prompts[config.judge_prompt].inputs
    common: dict[str, Json] = {
        "question": question,
        "criteria": config.rubric.shown,
        "about": config.rubric.about,
    }
    replies = await kit.ask_each(
        config.judge_prompt,
        [inputs_of(row, declared, **common, **one) for one in shown],
        teachers=[config.judge],
        samples=config.samples,
        schema=standard.reply_schema if config.structured else None,
    )
    opinions = [
        opinion(reply, standard, teacher=config.judge, sample=place % config.samples)
        for place, reply in enumerate(replies)
    ]
    kit.count(UNREAD, len(_losses(opinions)))
    return opinions


def _points(scores: Iterable[Mapping[str, int] | None], standard: Rubric) -> Points | None:
    """The means over what could be read; None = nothing could."""
    read = [one for one in scores if one is not None]
    if not read:
        return None
    share = fmean(standard.score(one) for one in read)
    by_name: dict[str, Json] = {
        criterion.name: fmean(one[criterion.name] for one in read)
        for criterion in standard.criteria
    }
    return Points(round(LEAST + (MOST - LEAST) * share, DECIMALS), by_name)


def _least(standard: Rubric) -> Points:
    scores: dict[str, Json] = {
        one.name: float(one.scale[0] if one.weight > 0 else one.scale[1])
        for one in standard.criteria
    }
    return Points(float(LEAST), scores)


def _readable(points: Points | None, opinions: Sequence[Opinion]) -> Points:
    """The points, or the end of the row.

    Raises:
        Rejected: the judge could not be read, by the most frequent reason.
        TeacherError: it did not answer.
    """
    if points is None:
        give_up([one.reply for one in opinions], _losses(opinions))
    return points


def _losses(opinions: Iterable[Opinion]) -> list[Loss]:
    return [one.reading.loss for one in opinions if one.reading.loss is not None]
