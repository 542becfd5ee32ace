"""`choose.grape`: the answer that the student itself would most likely have given (GRAPE).

    teachers: {student: {student: {folder: models/base}}}
    - {use: choose.grape, with: {teacher: student, prompt: generate/respond, agreeing: true}}

After arXiv 2502.04194: each candidate's log-probability under the model that is to be trained,
divided by its tokens; the highest is learnt. One pass over each text, nothing is written. The fit
says nothing of whether an answer is right, so wrong ones go first (`gold`, or `agreeing` without).

The mean over the tokens prefers long answers a little, the sum short ones much: the figures tell
how long what was chosen is against what could have been.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import model_validator

from synthkd.config import Count, TeacherConfig
from synthkd.config.student import CUE
from synthkd.curate.choose.chosen import GIVES
from synthkd.curate.choose.eligible import (
    ChoosingSettings,
    Written,
    eligible,
    with_choice,
    written,
)
from synthkd.errors import Rejected, RowError, TeacherError
from synthkd.recipes.pool import Candidate
from synthkd.recipes.replies import Loss, discard_all
from synthkd.rows import Fields, Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.likelihood import likelihood_faults
from synthkd.text import normalised

ONE = "rows with one distinct candidate"
TOKENS_CHOSEN, TOKENS_OFFERED = "tokens, chosen", "tokens, offered on average"
MOST = 64
"""Different texts of a row: all are scored at once."""
MOST_TOKENS = 10**9
"""Of a candidate; what is more was never generated."""
MEASURED = "rows with known lengths"


class GrapeSettings(ChoosingSettings):
    """Settings of `choose.grape`."""

    teacher: str | None = None
    """The student before it is trained: a `student` (any causal model in a folder) or a model that
    vLLM serves; null = each candidate has its `likelihood`, of an earlier run or from a file."""
    prompt: str | None = None
    """The question, as the student will be trained on it; with `teacher`. The shipped one that
    adds nothing is generate/respond, which reads `instruction`."""
    scored: Written = "text"
    """What is scored, best what is going to be learnt: the `text`, the `rationale`, or
    `rationale_first` (rationale, a new line, cue and answer)."""
    cue: str = CUE
    """Before the answer, of `rationale_first`."""
    measure: Literal["mean", "sum"] = "mean"
    """Of the log-probabilities of its tokens. The sum prefers short answers."""
    take: Literal["most", "least"] = "most"
    """`least` is the paper's control: what the student would least likely have said."""
    distinct: Count = 1
    """Rejects a row with fewer different texts (`too_few_candidates`). The paper takes 2: where
    there is one, nothing is chosen."""

    @model_validator(mode="after")
    def _what_is_known_suffices(self) -> GrapeSettings:
        if (self.teacher is None) != (self.prompt is None):
            raise ValueError("teacher and prompt go together: who is asked, and how")
        if self.teacher is None and self.measure == "sum":
            raise ValueError("measure: sum needs `teacher`: candidates only have the mean")
        return self

    @property
    def calls_a_row(self) -> int:
        """Questions to the student about a row, at most; for the forecast. One is the prompt."""
        return MOST + 1

    @property
    def also_shown(self) -> list[str]:
        """Fields that the teacher is shown besides the prompt's inputs."""
        return [self.candidates] if self.teacher is not None else []

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """A teacher that tells no log-probabilities of a given text."""
        if self.teacher is not None:
            yield from likelihood_faults(self.teacher, teachers[self.teacher])


class Fit(NamedTuple):
    """How likely the student is to give a candidate."""

    mean: float
    tokens: int
    """0 = unknown."""

    @property
    def told(self) -> Fields:
        """As keys of the candidate."""
        return {"likelihood": self.mean, **({"tokens": self.tokens} if self.tokens else {})}


def _sums_up(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """The figures with the mean length of what was chosen beside that of what was offered."""
    kept, rows = dict(figures), figures.get(MEASURED)
    for name in (TOKENS_CHOSEN, TOKENS_OFFERED):
        total = figures.get(name)
        if isinstance(total, int) and isinstance(rows, int):
            kept[name] = round(total / rows / 10, 1)
    return kept


@step(
    "choose.grape",
    needs=lambda config: config.needed,
    gives=GIVES,
    sums_up=_sums_up,
)
async def grape(row: Row, kit: Kit, config: GrapeSettings, /) -> AsyncIterator[Row]:
    """Take the usable answer that the student is most likely to give itself; of equals the shorter.

    Gives what `choose.strongest` does, and each candidate that was scored its `likelihood` (mean
    log-probability a token) and `tokens`. A candidate that cannot be scored is discarded
    (`no_likelihood`). Rejects `no_candidate`, `wrong_answer`, `bad_gold`,
    `too_few_candidates`, `no_likelihood`.
    """
    left = eligible(row, config)
    texts = [written(one, config.scored, config.cue) for one in left]
    different = {normalised(text) for text in texts}
    if len(different) > MOST:
        raise RowError(f"{len(different)} different candidates, at most {MOST} are scored")
    if len(different) < config.distinct:
        raise Rejected(
            "too_few_candidates", f"{len(different)} different, distinct is {config.distinct}"
        )
    kit.count(ONE, int(len(different) == 1))
    if config.teacher is None:
        fits: list[Fit | None] = [_known(one) for one in left]
    else:
        fits = await _fits(row, kit, config, texts)
    best = chosen_by(fits, config.measure, config.take)
    _count_lengths(kit, fits, best)
    said = {(one.teacher, one.sample): fit.told for one, fit in zip(left, fits, strict=True) if fit}
    yield with_choice(row, left[best], config, said)


def chosen_by(
    fits: Sequence[Fit | None], measure: Literal["mean", "sum"], take: Literal["most", "least"]
) -> int:
    """The place of the likeliest (or unlikeliest); of equals the shortest, then the first.

    Args:
        fits: of each candidate, at least one; None = it could not be scored.
        measure: of its tokens' log-probabilities.
        take: the likeliest, or the control.
    """
    sign = 1 if take == "most" else -1

    def rank(one: tuple[int, Fit]) -> tuple[float, int, int]:
        place, fit = one
        likely = fit.mean * fit.tokens if measure == "sum" else fit.mean
        return -sign * likely, fit.tokens, place

    return min(((place, fit) for place, fit in enumerate(fits) if fit), key=rank)[0]


def _count_lengths(kit: Kit, fits: Sequence[Fit | None], best: int) -> None:
    """Count tokens, in tenths: the figures show whether the choice prefers short answers."""
    lengths = [fit.tokens for fit in fits if fit]
    if all(lengths):
        kit.count(MEASURED)
        kit.count(TOKENS_CHOSEN, 10 * (fit.tokens if (fit := fits[best]) else 0))
        kit.count(TOKENS_OFFERED, round(10 * sum(lengths) / len(lengths)))


def _known(one: Candidate) -> Fit:
    """The likelihood that the candidate came with."""
    mean, tokens = one.number("likelihood"), one.number("tokens")
    if mean is None or mean > 0:
        raise RowError(
            f"the likelihood of {one} must be a mean log-probability (0 or less), got {mean}: name"
            " the student as `teacher`, who is then asked"
        )
    if tokens is not None and tokens > MOST_TOKENS:
        raise RowError(f"the tokens of {one} must be {MOST_TOKENS:,} or fewer, got {tokens:g}")
    return Fit(mean, int(tokens) if tokens and tokens > 0 else 0)


async def _fits(
    row: Row, kit: Kit, config: GrapeSettings, texts: Sequence[str]
) -> list[Fit | None]:
    """What the student says of each text; each different one is asked about once.

    Raises:
        TeacherError: none can be scored, for want of an answer.
        TeacherRefused: it tells no likelihoods at all.
        Rejected: `no_likelihood`: there is no text.
    """
    teacher, prompt = config.teacher, config.prompt
    assert teacher is not None  # noqa: S101  the caller has both
    assert prompt is not None  # noqa: S101
    inputs = inputs_of(row, kit.prompts[prompt].inputs)

    async def one(text: str) -> Fit | TeacherError:
        try:
            told = await kit.likelihood(prompt, inputs, text, teacher=teacher)
        except TeacherError as error:
            return error
        return Fit(told.mean_logprob, told.tokens)

    asked = [text for text in dict.fromkeys(texts) if text.strip()]
    if not asked:
        raise Rejected("no_likelihood", f"{config.scored} is empty in all {len(texts)} candidates")
    async with asyncio.TaskGroup() as group:
        tasks = {text: group.create_task(one(text)) for text in asked}
    said = {text: task.result() for text, task in tasks.items()}
    errors = [fault for fault in said.values() if isinstance(fault, TeacherError)]
    if len(errors) == len(said):
        raise errors[0]
    detail = [f"{type(error).__name__}: {error}"[:200] for error in errors]
    discard_all(kit, [Loss("no_likelihood", each) for each in detail])
    return [fit if isinstance(fit := said.get(text), Fit) else None for text in texts]
