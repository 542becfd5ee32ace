"""`judge.selfj`: what a judge of one's own is trained on, without people's labels (Self-J).

Self-J (arXiv 2409.00935): a model grades answers with the reference before it (`judge.expected`);
that grade alone is noisy, so it is mixed with the cosine of answer and reference as vectors. The
mixture, 0 to 9, is what a student learns to say: each item is shown to it without the reference and
with it.

    grade = bin( (1 - w) * scaled(self-evaluation) + w * scaled(cosine) )

How sure each part is: that the two are combined, and that this is most of the gain, is the paper's.
How, its code does not show: the mean (w = 0.5) of the values scaled to 0..1 by the least and the
most of the table, in ten bins of equal width, is this project's choice.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from synthkd.config import Share
from synthkd.curate.embed import EmbedSettings, Vectors, open_embedder
from synthkd.curate.judges.scoring import as_text
from synthkd.curate.tfidf import TfidfSettings
from synthkd.io.spool import Table
from synthkd.prompts import Prompt
from synthkd.rows import Fields, Json, Row
from synthkd.steps import StepSettings, TableKit, table_step

BINS = 10
MIDDLE = 0.5
"""Of what is the same in every row, so that it neither raises nor lowers a grade."""


class SelfJSettings(StepSettings):
    """Settings of `judge.selfj`."""

    verdict: str = "verdict"
    """The field with what `judge.expected` said with the reference before it."""
    field: str = "response"
    """The field with the answer."""
    reference: str
    """The field with the reference."""
    question: str = "instruction"
    """The field with what was asked."""
    weight: Share = 0.5
    """Of the cosine; the rest is the self-evaluation's. 0 and 1 are the controls: one alone."""
    embed: EmbedSettings = TfidfSettings()
    """Who makes the vectors: see docs/curation/embedding.md. TF-IDF compares words, not meanings;
    a sentence encoder is nearer to the paper."""
    prompt: str = "judges/digit"
    """How the student will be asked without a reference."""
    reference_prompt: str = "judges/digit_reference"
    """How it will be asked with one."""
    into: str = "grade"
    """The field for the grade, a digit as text: what the student learns to say."""
    rows: Literal["two", "one"] = "two"
    """`two`: each item becomes a training row without the reference and one with it, as
    `with_reference` says; `one`: it stays one row that has both prompts, for code of your own."""

    @property
    def gives(self) -> list[str]:
        """The fields that the step adds."""
        second = "with_reference" if self.rows == "two" else "judge_prompt_with_reference"
        return [self.into, "self_evaluation", "cosine", "judge_prompt", second]


class Signals(NamedTuple):
    """What is known of each row of the table."""

    judged: array[float]
    """(n,) the self-evaluation, 0 to 1; NaN = there is none."""
    cosines: array[float]
    """(n,) -1 to 1; NaN = there is no vector."""


class Scale(NamedTuple):
    """The least and the most of a signal."""

    least: float
    most: float

    def share(self, value: float) -> float:
        """Where a value stands between them, 0 to 1."""
        if self.most <= self.least:
            return MIDDLE
        return (value - self.least) / (self.most - self.least)


class _BothTexts:
    """Answer and reference of each row, one after the other."""

    def __init__(self, table: Table, config: SelfJSettings) -> None:
        self._table, self._config = table, config

    def __len__(self) -> int:
        return 2 * len(self._table)

    def __iter__(self) -> Iterator[str]:
        for row in self._table:
            for name in (self._config.field, self._config.reference):
                value = row.fields.get(name)
                yield value if isinstance(value, str) else ""


@table_step(
    "judge.selfj",
    needs=lambda config: [config.verdict, config.field, config.reference, config.question],
    gives=lambda config: config.gives,
    supplies=["question", "candidate", "reference"],
    asks=lambda config, rows: 2 * rows,
)
def selfj(table: Table, kit: TableKit, config: SelfJSettings, /) -> Iterator[Row]:
    """Mix self-evaluation and similarity into the grade that a judge is trained to give.

    Gives the grade (`into`), its parts `self_evaluation` (0 to 1) and `cosine`, and what the
    student is asked: of each item a row whose `judge_prompt` is without the reference, and one
    with it (`with_reference`); with `rows: one`, one row with `judge_prompt` and
    `judge_prompt_with_reference`. Rejects rows whose verdict cannot be used (`no_verdict`) and
    blank answers or references (`no_text`); a row without a vector fails. Memory: 16 bytes a row
    beside the vectors' 64.
    """
    texts = _BothTexts(table, config)
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    signals = _signals(table, vectors, config)
    scales = scale_of(signals.judged, signals.cosines), scale_of(signals.cosines, signals.judged)
    grades = [0] * BINS
    for place, row in enumerate(table):
        error = vectors.errors.get(2 * place) or vectors.errors.get(2 * place + 1)
        judged, cosine = signals.judged[place], signals.cosines[place]
        if error is not None:
            kit.fail(row, error)
        elif math.isnan(judged):
            kit.reject(row, "no_verdict", f"{config.verdict} has no score from 0 to 1")
        elif math.isnan(cosine):
            kit.reject(row, "no_text", f"{config.field} or {config.reference} has no words")
        else:
            mixed = (1 - config.weight) * scales[0].share(judged)
            mixed += config.weight * scales[1].share(cosine)
            grade = min(int(mixed * BINS + 1e-9), BINS - 1)
            grades[grade] += 1
            keys = (*vectors.made_by(2 * place), *vectors.made_by(2 * place + 1))
            graded = row.with_fields(
                **{config.into: str(grade)}, self_evaluation=judged, cosine=cosine
            )
            yield from _taught(graded.with_made_by(*keys), kit, config)
    kit.note({f"grade {grade}": times for grade, times in enumerate(grades) if times})
    if len([times for times in grades if times]) == 1:
        kit.note({"warning": "all grades are the same: there is nothing to learn from them"})


def _taught(row: Row, kit: TableKit, config: SelfJSettings) -> Iterator[Row]:
    """The graded row with what the student is asked."""
    inputs: dict[str, Json] = {
        "question": as_text(row, config.question),
        "candidate": as_text(row, config.field),
        "reference": as_text(row, config.reference),
    }
    plain, with_reference = (
        rendered(kit.desk.prompts[prompt], inputs)
        for prompt in (config.prompt, config.reference_prompt)
    )
    if config.rows == "one":
        yield row.with_fields(judge_prompt=plain, judge_prompt_with_reference=with_reference)
        return
    yield row.with_fields(judge_prompt=plain, with_reference=False)
    second = row.child(kit.desk.step, 0)
    yield second.with_fields(judge_prompt=with_reference, with_reference=True)


def rendered(prompt: Prompt, inputs: Fields) -> str:
    """A prompt's messages as one text, as a student sees it that has no roles."""
    messages = prompt.render({name: inputs[name] for name in prompt.inputs})
    return "\n\n".join(str(message["content"]) for message in messages)


def _signals(table: Table, vectors: Vectors, config: SelfJSettings) -> Signals:
    judged, cosines = array("d"), array("d")
    blank = vectors.is_blank
    for place, row in enumerate(table):
        judged.append(_score(row, config.verdict))
        if blank[2 * place] or blank[2 * place + 1]:
            cosines.append(math.nan)
        else:
            cosines.append(float(vectors.values[2 * place] @ vectors.values[2 * place + 1]))
    return Signals(judged, cosines)


def _score(row: Row, field: str) -> float:
    verdict = row.fields.get(field)
    score = verdict.get("score") if isinstance(verdict, Mapping) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        return math.nan
    return float(score)


def scale_of(values: Sequence[float], beside: Sequence[float]) -> Scale:
    """The least and the most, over the rows that have both signals."""
    both = [
        value
        for value, other in zip(values, beside, strict=True)
        if not math.isnan(value) and not math.isnan(other)
    ]
    return Scale(min(both), max(both)) if both else Scale(0.0, 0.0)
