"""`judge.best_of`: of a row's several answers, the one that a judge scores best.

    answers: [text, text, ...]    or    [{text: ..., teacher: ..., ...}, ...]

The more answers a judge chooses from, the more it chooses what it overrates: its own score of the
best rises with n, and what a better judge thinks of that best may fall (over-optimisation, arXiv
2210.10760). With a second judge (`check_teacher`) every answer is scored twice, and the figures
have the curve: the mean of the first answer drawn, of the best of 2, ... of n, by the judge that
chooses and by the judge that only looks on. The means over all draws of m from the n are exact, not
drawn: of the answers in the order of the judge, the one at place r is the best of a draw with
probability C(n - r, m - 1) / C(n, m).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from synthkd.config import Samples, Share, TeacherConfig
from synthkd.curate.calibration import ROUNDING, Calibrated
from synthkd.curate.fields import value_of
from synthkd.curate.judges.reward import no_reward_model, rewarded
from synthkd.curate.judges.rubrics import RubricSetting
from synthkd.curate.judges.scoring import (
    LEAST_TO_WARN,
    SUPPLIES,
    as_text,
    score_of,
)
from synthkd.curate.judges.verdict import Opinion, opinion
from synthkd.errors import MissingField, Rejected, RowError, TeacherError
from synthkd.recipes.replies import discard_all, give_up
from synthkd.rows import Fields, Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion

MOST_ANSWERS = 64
"""Of a row: all are asked about at once."""
EQUAL = "all answers score the same"
CHOOSING, LOOKING_ON = "by the judge", "by the check"
FALLS = 0.02
"""Of a score from 0 to 1: how far the check's curve must fall below its peak to be told of."""


class EachSettings(Calibrated):
    """Who scores each of a row's several answers, and by what."""

    teacher: str
    """The judge that chooses."""
    reward: bool = False
    """Whether `teacher` is a served reward model, as of `judge.reward`; `check_teacher` goes by the
    rubric all the same."""
    reward_prompt: str = "judges/reward"
    """The conversation that a reward model scores."""
    middle: float = 0.0
    """The reward that scores 0.5, as of `judge.reward`."""
    check_teacher: str | None = None
    """A second judge, of another family and better, that scores the same answers and chooses
    nothing: for the curve. It costs as much as the first one; take it for a part of the rows."""
    question: str = "instruction"
    """The field with what was asked."""
    samples: Samples = 1
    """Scores of each answer, of which the mean counts."""
    prompt: str = "judges/rubric"
    """The prompt, as of `judge.rubric`."""
    rubric: RubricSetting = Field(default="judges/helpsteer2", validate_default=True)
    """A rubric's name, or the rubric itself."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""
    keep_at_least: Share | None = None
    """Rejects a row whose best answer scores below it (`low_score`)."""

    @model_validator(mode="after")
    def _two_judges(self) -> EachSettings:
        if self.check_teacher == self.teacher:
            raise ValueError("check_teacher must be another teacher: a judge agrees with itself")
        if self.reward and self.samples > 1 and self.check_teacher is None:
            raise ValueError("samples must be 1 with `reward`: a reward is the same each time")
        return self

    @property
    def verdict_field(self) -> str:
        """Where the scores stand: not in `into`, which takes the text."""
        return "verdict"

    @property
    def calls_a_row(self) -> int:
        """Questions to each judge about a row, at most; for the forecast."""
        return self.samples * MOST_ANSWERS

    @property
    def writers(self) -> list[str]:
        """The judges that write, by the rubric; a reward model gives a number."""
        return [name for name in self.teachers if not (self.reward and name == self.teacher)]

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """A teacher that cannot be a reward model, if it is to be one."""
        return no_reward_model(self.teacher, teachers) if self.reward else ()

    @property
    def teachers(self) -> list[str]:
        """The judges: who chooses, and who looks on."""
        return [self.teacher, *([self.check_teacher] if self.check_teacher is not None else [])]


class BestOfSettings(EachSettings):
    """Settings of `judge.best_of`."""

    answers: str | Annotated[list[str], Field(min_length=1)] = "answers"
    """The field with the row's answers (texts, or objects with a `text`), or a field for each."""
    into: str = "response"
    """The field for the best answer's text; the scores go into `verdict`."""

    @property
    def calls_a_row(self) -> int:
        """Questions to each judge about a row, at most; for the forecast."""
        answers = MOST_ANSWERS if isinstance(self.answers, str) else len(self.answers)
        return self.samples * answers


def _needs(config: BestOfSettings) -> Iterable[str]:
    several = config.answers
    return [config.question, *([several] if isinstance(several, str) else several)]


def warnings(figures: Mapping[str, Json]) -> Iterable[str]:
    """That the judge does not choose, or that choosing from more stops helping."""
    verdicts = figures.get("verdicts")
    if isinstance(verdicts, int) and verdicts >= LEAST_TO_WARN and verdicts == figures.get(EQUAL):
        yield (
            f"all answers of each of {verdicts:,} rows score the same: the first one was kept each"
            " time. Give the rubric anchors, or take another judge"
        )
    curve = curve_of(figures, LOOKING_ON)
    if len(curve) > 1 and max(curve.values()) - curve[max(curve)] > FALLS:
        best = max(curve, key=lambda m: curve[m])
        yield (
            f"the check scores the best of {max(curve)} at {curve[max(curve)]:.3f}, the best of"
            f" {best} at {curve[best]:.3f}: the judge overrates what it chooses from many; take"
            f" {best} answers, or a better judge"
        )


@step(
    "judge.best_of",
    needs=_needs,
    gives=lambda config: [config.into, "verdict"],
    supplies=SUPPLIES,
    warns=warnings,
)
async def best_of(row: Row, kit: Kit, config: BestOfSettings, /) -> AsyncIterator[Row]:
    """Keep the best of a row's answers, by a judge; an answer that cannot be scored cannot win.

    Gives the best answer's text (`into`; the first of equals) and `verdict`: `score`, `place` (from
    0) and the `scores` of all, null where none could be read; with `check_teacher` its scores too.
    Rejects `low_score`, `nothing_to_judge`, and what `judge.rubric` rejects.
    """
    texts = texts_of(row, config.answers)
    best = await best_among(row, kit, config, texts)
    verdict: dict[str, Json] = {
        "score": best.score,
        "place": best.place,
        "scores": best.scores,
        "check": best.check,
        "answers": best.told,
    }
    yield row.with_fields(**{config.into: texts[best.place]}, verdict=verdict)


class Best(NamedTuple):
    """The best of several texts, and what was said of all."""

    place: int
    """The first of equals."""
    score: float
    scores: list[float | None]
    """Of each text; None = it could not be scored."""
    check: list[float | None] | None
    """By the judge that looks on; None = there is none."""
    told: list[Json]
    """Every opinion, with the place of its text."""


async def best_among(row: Row, kit: Kit, config: EachSettings, texts: Sequence[str]) -> Best:
    """Have each text scored, and count what is worth knowing of the judge.

    Raises:
        Rejected: `low_score`, `nothing_to_judge`, or no reply can be read.
        TeacherError: nobody answered.
    """
    judged = await _opinions(row, kit, config, texts)
    scores = [score_of(opinions) for opinions in judged[config.teacher]]
    # Said of an empty text, a score is no reason to keep one: nobody wrote it.
    scores = [score if text.strip() else None for text, score in zip(texts, scores, strict=True)]
    known = [score for score in scores if score is not None]
    if not known:
        raise Rejected("nothing_to_judge", "no answer with a text can be scored")
    check = None
    if config.check_teacher is not None:
        check = [score_of(opinions) for opinions in judged[config.check_teacher]]
    best = max(known)
    kit.count("verdicts")
    kit.count(EQUAL, int(len(known) > 1 and len(set(known)) == 1))
    _count_curve(kit, scores, check)
    if config.keep_at_least is not None and best < config.keep_at_least - ROUNDING:
        raise Rejected("low_score", f"score {best:.4g}, keep_at_least is {config.keep_at_least:g}")
    told: list[Json] = [
        {"place": at, **one.told}
        for opinions_by_place in judged.values()
        for at, opinions in enumerate(opinions_by_place)
        for one in opinions
    ]
    return Best(scores.index(best), best, scores, check, told)


async def _opinions(
    row: Row, kit: Kit, config: EachSettings, texts: Sequence[str]
) -> dict[str, list[list[Opinion]]]:
    """What each judge says of each answer; the one that chooses can be read at least once.

    Raises:
        Rejected: it cannot.
        TeacherError: nobody answered.
    """
    common: dict[str, Json] = {
        "question": as_text(row, config.question),
        "criteria": config.rubric.shown,
        "about": config.rubric.about,
    }

    def inputs(prompt: str) -> list[dict[str, Json]]:
        names = kit.prompts[prompt].inputs
        return [inputs_of(row, names, candidate=text, **common) for text in texts]

    replies: list[Completion | TeacherError] = []
    found: dict[str, list[list[Opinion]]] = {teacher: [] for teacher in config.teachers}
    if config.reward:
        replies += await _rewards(kit, config, inputs(config.reward_prompt))
        found[config.teacher] = [[rewarded(one, config.teacher, config.middle)] for one in replies]
    if config.writers:
        asked = await kit.ask_each(
            config.prompt,
            inputs(config.prompt),
            teachers=config.writers,
            samples=config.samples,
            schema=config.rubric.reply_schema if config.structured else None,
        )
        replies += asked
        in_order = iter(asked)
        for _ in texts:
            for teacher in config.writers:
                found[teacher].append(
                    [
                        opinion(next(in_order), config.rubric, teacher=teacher, sample=sample)
                        for sample in range(config.samples)
                    ]
                )
    every = [one for by_place in found.values() for opinions in by_place for one in opinions]
    losses = [one.reading.loss for one in every if one.reading.loss is not None]
    if all(score_of(opinions) is None for opinions in found[config.teacher]):
        give_up(replies, losses)
    discard_all(kit, losses)
    return found


async def _rewards(
    kit: Kit, config: EachSettings, inputs: Sequence[Fields]
) -> list[Completion | TeacherError]:
    """What a reward model makes of each answer, or why it makes nothing of it."""

    async def one(each: Fields) -> Completion | TeacherError:
        try:
            return await kit.score(config.reward_prompt, each, teacher=config.teacher)
        except TeacherError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(each)) for each in inputs]
    return [task.result() for task in tasks]


def texts_of(row: Row, field: str | list[str]) -> list[str]:
    """The answers' texts; of objects, their `text`.

    Raises:
        MissingField: the field holds no list.
        RowError: an answer has no text, or there are too many.
        Rejected: `nothing_to_judge`: the list is empty.
    """
    answers: Json
    if isinstance(field, str):
        answers = row.fields.get(field)
    else:
        answers, field = [value_of(row, name) for name in field], "answers"
    if not isinstance(answers, list | tuple):
        raise MissingField(f"the field {field!r} must hold a list of answers, got {answers!r:.80}")
    if not answers:
        raise Rejected("nothing_to_judge", f"{field} is empty")
    if len(answers) > MOST_ANSWERS:
        raise RowError(f"{field} has {len(answers)} answers, at most {MOST_ANSWERS} are judged")
    texts = []
    for place, answer in enumerate(answers):
        text = answer.get("text") if isinstance(answer, Mapping) else answer
        if not isinstance(text, str):
            raise RowError(f"{field}[{place}] must be a text or have one, got {answer!r:.80}")
        texts.append(text)
    return texts


def expected_best(chosen_by: Sequence[float], seen_by: Sequence[float], of: int) -> float:
    """What `seen_by` makes of the best by `chosen_by` of a random draw of `of` answers, on average.

    Equals in `chosen_by` share their places, so that the order of the answers makes no difference.

    Args:
        chosen_by: (n,) scores of the judge that chooses.
        seen_by: (n,) scores of whoever looks on; the same for the judge's own curve.
        of: 1 to n.
    """
    n = len(chosen_by)
    order = sorted(range(n), key=lambda place: -chosen_by[place])
    value, start = 0.0, 0
    while start < n:
        end = start
        while end < n and chosen_by[order[end]] == chosen_by[order[start]]:
            end += 1
        group = fmean([seen_by[place] for place in order[start:end]])
        # A draw whose best is of this group: some of it, and none of those before.
        wins = math.comb(n - start, of) - math.comb(n - end, of)
        value += group * wins / math.comb(n, of)
        start = end
    return value


def _count_curve(
    kit: Kit, scores: Sequence[float | None], check: Sequence[float | None] | None
) -> None:
    """Add the row to the curves of rows with as many answers, in thousandths.

    Only answers that both judges scored. Rows with fewer answers stay apart: of another kind, they
    would bend the curve where they leave it.
    """
    seen = scores if check is None else check
    pairs = [
        (mine, other)
        for mine, other in zip(scores, seen, strict=True)
        if mine is not None and other is not None
    ]
    mine, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    n = len(pairs)
    kit.count(_rows_with(n))
    for of in range(1, n + 1):
        kit.count(_sum_of(of, n, CHOOSING), round(1000 * expected_best(mine, mine, of)))
        if check is not None:
            kit.count(_sum_of(of, n, LOOKING_ON), round(1000 * expected_best(mine, others, of)))


def _rows_with(n: int) -> str:
    return f"rows with {n:2} answers"


def _sum_of(of: int, n: int, whose: str) -> str:
    return f"best of {of:2} of {n:2} {whose}, thousandths"


def curve_of(figures: Mapping[str, Json], whose: str) -> dict[int, float]:
    """Best of how many -> the mean score, over the rows of the commonest number of answers.

    All of the curve is of the same rows; of two numbers that are as common, it is of the larger.
    """
    rows = {
        n: times
        for n in range(1, MOST_ANSWERS + 1)
        if isinstance(times := figures.get(_rows_with(n)), int)
    }
    n = max(rows, key=lambda n: (rows[n], n), default=0)
    sums = {of: figures.get(_sum_of(of, n, whose)) for of in range(1, n + 1)}
    return {of: total / rows[n] / 1000 for of, total in sums.items() if isinstance(total, int)}
