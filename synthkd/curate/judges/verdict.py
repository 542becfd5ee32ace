"""What a verdict is, how it is read out of a reply, and how it stands in the row.

    verdict: {score: 0.81, scores: {correctness: 3.5, ...}, answers: [
        {teacher, sample, text, key, reasoning, scores, score, fault}, ...]}

`score` is from 0 to 1 in every judge. An answer that cannot be read keeps its text and has a
`fault` in place of scores: it is never a low score, and never a middling one. Reading is pure and
total: any text gives a reading, nothing is raised. See docs/adr/0022.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthkd.curate.judges.rubrics import Rubric
from synthkd.errors import TeacherError
from synthkd.recipes.objects import is_whole_object, own_objects
from synthkd.recipes.replies import Loss, loss_of
from synthkd.rows import Json, clean
from synthkd.teachers.request import Completion
from synthkd.text import equivalent

NO_VERDICT, OFF_SCALE, SEVERAL = "no_verdict", "off_scale", "several_verdicts"
CUT_SHORT = "cut_short"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reply says; scores or a loss, and of a reward model neither."""

    scores: Mapping[str, int] | None = None
    """A number of its scale for every criterion."""
    reasoning: str | None = None
    loss: Loss | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One answer of a judge, read."""

    teacher: str
    sample: int
    reply: Completion | TeacherError
    reading: Reading
    score: float | None
    """0 to 1; None = there is a loss."""

    @property
    def told(self) -> dict[str, Json]:
        """As it stands in the row."""
        reading = self.reading
        return answer_of(
            self.reply,
            reading.loss,
            teacher=self.teacher,
            sample=self.sample,
            reasoning=reading.reasoning,
            scores=None if reading.scores is None else dict(reading.scores),
            score=self.score,
        )


def answer_of(reply: Completion | TeacherError, loss: Loss | None, **read: Json) -> dict[str, Json]:
    """One answer of a judge as it stands in the row: who said what, and what was read of it."""
    text, key = (reply.text, reply.key) if isinstance(reply, Completion) else (None, None)
    return {**read, "text": text, "key": key, "fault": None if loss is None else loss.reason}


def unusable(reply: Completion | TeacherError) -> Loss | None:
    """Why nothing can be read from a judge's reply; a fault against its schema is no reason yet.

    What departs from the schema may still say all that is needed, such as a number as text, and is
    read with the same care as the reply of a server that takes no schema. A reply that was cut at
    `max_tokens` says nothing, unless it is one whole object: what is missing may be the verdict.
    """
    if isinstance(reply, Completion) and reply.finish == "length":
        end = reply.text[-200:] or "nothing was said yet"
        cut = Loss(CUT_SHORT, f"cut at max_tokens, raise it: ...{end}")
        return None if is_whole_object(reply.text) else cut
    loss = loss_of(reply)
    return None if loss is not None and loss.reason == "bad_json" else loss


def opinion(
    reply: Completion | TeacherError, rubric: Rubric, *, teacher: str, sample: int
) -> Opinion:
    """A reply, read by a rubric."""
    loss = unusable(reply)
    if isinstance(reply, Completion) and loss is None:
        reading = read_scores(reply.text, rubric)
    else:
        reading = Reading(loss=loss)
    score = None if reading.scores is None else rubric.score(reading.scores)
    return Opinion(teacher=teacher, sample=sample, reply=reply, reading=reading, score=score)


def read_scores(text: str, rubric: Rubric) -> Reading:
    """The scores in a reply: a JSON object with `scores` (or the criteria themselves) at its end.

    What stands before it makes no difference, unless that is an object too: two that score
    differently are `several_verdicts`. A number that its scale does not have is `off_scale`,
    anything else that is not a number for every criterion is `no_verdict`.
    """
    readings = [_of_object(value, rubric) for value in own_objects(text)]
    if not readings or readings[-1] is None:
        return Reading(loss=Loss(NO_VERDICT, text[-200:] or "empty"))
    scored = [reading for reading in readings if reading is not None]
    if len({json.dumps(reading.scores, sort_keys=True) for reading in scored}) > 1:
        return Reading(loss=Loss(SEVERAL, text[-200:]))
    return readings[-1]


def _of_object(value: Mapping[str, Any], rubric: Rubric) -> Reading | None:
    """What an object scores; None = it is about something else."""
    names = {criterion.name for criterion in rubric.criteria}
    told = value.get("scores")
    given = told if isinstance(told, Mapping) else value
    by_name = {name: number for key, number in given.items() if (name := _name(key, names))}
    if not by_name:
        return None
    scores: dict[str, int] = {}
    for criterion in rubric.criteria:
        number = _number(by_name.get(criterion.name))
        if number is None:
            said = repr(by_name.get(criterion.name))
            return Reading(loss=Loss(NO_VERDICT, f"no number for {criterion.name}, got {said:.80}"))
        least, most = criterion.scale
        if not number.is_integer() or not least <= number <= most:
            return Reading(
                loss=Loss(OFF_SCALE, f"{criterion.name} is {number:g}, on {least} to {most}")
            )
        scores[criterion.name] = int(number)
    reasoning = value.get("reasoning")
    return Reading(
        scores=scores,
        reasoning=str(clean(reasoning, {})) if isinstance(reasoning, str) else None,
    )


def _name(key: str, names: set[str]) -> str | None:
    """The criterion that is meant: "Overall quality" is `overall_quality`."""
    return next((name for name in names if equivalent(name) == equivalent(key)), None)


def _number(value: object) -> float | None:
    """A number, also one in quotation marks; None = it is none."""
    if isinstance(value, str) and len(value) <= 20 and "_" not in value:  # 1_0 is ten to Python
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
