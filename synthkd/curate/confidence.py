"""How sure a teacher is of a target that somebody else has given, and what follows from it.

CLEAR (Chen and Mueller, arXiv 2403.12776) with the confidence of BSDetector (arXiv 2308.16175):

    o_i = alpha * s_i + (1 - alpha) * r_i        each of k answers of the teacher's own
    C   = beta * mean(o_i) + (1 - beta) * S      between 0 and 1

s_i is how well an own answer goes together with the target, r_i whether both are the same, S what
the teacher says when it is asked about the target itself: correct 1, unsure 0.5, incorrect 0.
Theirs takes s_i from a model of entailment; here it is the words that both have in common, or the
teacher says whether they contradict each other (`similarity`).

    confidence.clear      C of each row
    confidence.filter     auto-filter: rows above the median stay
    confidence.correct    auto-correct (`synthkd.curate.correct`)

Where the row has a pool of candidates already, they stand for the own answers, and nothing is asked
for them.

The constants are those that the papers are remembered with; none was found in code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Literal

from pydantic import model_validator

from synthkd.answers import AnswerSettings, read
from synthkd.config import Samples, Share
from synthkd.curate.choose.chosen import usable
from synthkd.curate.fields import text_of
from synthkd.errors import Rejected, TeacherError, Waiting
from synthkd.io.spool import Table
from synthkd.recipes.pool import POOL, pool_of
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.rows import Fields, Json, Row
from synthkd.steps import Kit, StepSettings, TableKit, inputs_of, step, table_step
from synthkd.teachers.request import Completion
from synthkd.text import normalised, same_answer, without_punctuation

OWN = AnswerSettings(stop_at=())
"""How an answer of the teacher's own is read."""
VERDICT = AnswerSettings(type="choice", cue=("Verdict:",), stop_at=())
SURE: Mapping[str, float] = {"correct": 1.0, "unsure": 0.5, "incorrect": 0.0}
"""What a reflection is worth."""
TOGETHER: Mapping[str, float] = {"compatible": 1.0, "unsure": 0.5, "contradictory": 0.0}
"""What a comparison of two answers is worth."""

Reply = Completion | TeacherError


class ClearSettings(StepSettings):
    """Settings of `confidence.clear`."""

    teacher: str | None = None
    """Who is asked; better not whoever gave the targets. Its temperature must be above 0, or its
    own answers are all the same. With `pool` it is only asked about the target itself; null = it is
    not, and C is O."""
    pool: bool = False
    """Whether the row's `candidates` stand for own answers, whoever gave them. The one that
    `chosen` names does not count: it is the target."""
    question: str = "instruction"
    """The field with what was asked."""
    target: str = "response"
    """The field with the answer that is looked at."""
    prompt: str = "confidence/answer"
    """How the teacher is asked for an answer of its own; what stands behind the last "So the answer
    is" counts, or all where that is missing."""
    correct_prompt: str = "confidence/correct"
    """The first question about the target itself."""
    doubt_prompt: str = "confidence/doubt"
    """The second one, which looks for faults: what both say is averaged."""
    similarity: Literal["words", "contradiction"] = "words"
    """words: the share of words that two answers have in common (F1); free of charge, and right for
    short answers. contradiction: the teacher compares each with the target, in `samples` calls."""
    contradiction_prompt: str = "confidence/contradiction"
    both_ways: bool = False
    """Whether each comparison is made in both orders and averaged, as the paper does, at twice the
    calls."""
    samples: Samples = 5
    """The teacher's own answers, k."""
    alpha: Share = 0.8
    """Weight of similarity against sameness."""
    beta: Share = 0.7
    """Weight of the own answers against what is said of the target."""
    keep_at_least: Share | None = None
    """Rejects rows below it (`low_confidence`); `confidence.filter` takes the median instead."""
    into: str = "confidence"
    """The field for C; `<into>_evidence` has what it was made of."""

    @model_validator(mode="after")
    def _somebody_to_ask(self) -> ClearSettings:
        if self.teacher is None and not self.pool:
            raise ValueError("must have teacher, or pool: true where the row has candidates")
        if self.teacher is None and self.similarity == "contradiction":
            raise ValueError("similarity: contradiction needs `teacher`, who says so")
        return self


def _of_clear(config: ClearSettings) -> Iterable[str]:
    return [config.into, f"{config.into}_evidence"]


@step(
    "confidence.clear",
    needs=lambda config: [config.question, config.target, *([POOL] * config.pool)],
    gives=_of_clear,
    supplies=("question", "answer", "first", "second"),
)
async def clear(row: Row, kit: Kit, config: ClearSettings, /) -> AsyncIterator[Row]:
    """Give each row the teacher's confidence in its target, from 0 to 1.

    An answer or a reflection that cannot be read is left out and counted. Rejects `low_confidence`
    and `nothing_to_judge`; and, where no own answer or no reflection can be read, `no_candidate`,
    `no_cue`, `refused`, `empty_answer` and its kin.
    """
    target, question = text_of(row, config.target), text_of(row, config.question)
    if not target.strip():
        raise Rejected("nothing_to_judge", f"{config.target} is empty")
    own, reflection = await _heard(row, kit, config, question, target)
    if config.similarity == "words":
        together = [alike(answer, target) for answer in own]
    else:
        together = await _compared(row, kit, config, question, target, own)
    consistency = consistency_of(own, target, together, config.alpha)
    confidence = consistency
    if reflection is not None:
        confidence = config.beta * consistency + (1 - config.beta) * reflection
    if config.keep_at_least is not None and confidence < config.keep_at_least:
        raise Rejected(
            "low_confidence",
            f"{confidence:.4f}, keep_at_least is {config.keep_at_least:g}; own answers:"
            f" {'; '.join(own)[:200]}",
        )
    evidence: dict[str, Json] = {
        "consistency": consistency,
        "reflection": reflection,
        "answers": list(own),
        "similarity": together,
    }
    given: dict[str, Json] = {config.into: confidence, f"{config.into}_evidence": evidence}
    yield row.with_fields(**given)


def consistency_of(
    own: Sequence[str], target: str, together: Sequence[float], alpha: float
) -> float:
    """O: how far the teacher's own answers are the target, from 0 to 1.

    Args:
        own: its answers, at least one.
        target: the answer that is looked at.
        together: how well each own answer goes together with it, 0 to 1.
        alpha: weight of that against being the same.
    """
    return fmean(
        alpha * near + (1 - alpha) * same_answer(answer, target)
        for near, answer in zip(together, own, strict=True)
    )


async def _heard(
    row: Row, kit: Kit, config: ClearSettings, question: str, target: str
) -> tuple[list[str], float | None]:
    """Answers of the teacher's own, or those of the pool; and what it says of the target."""
    pool = others_in(row) if config.pool else None
    if config.teacher is None:
        assert pool is not None  # noqa: S101  the settings say so
        return pool, None
    about = [
        (prompt, shown(row, kit, prompt, question=question, answer=target), 1)
        for prompt in (config.correct_prompt, config.doubt_prompt)
    ]
    if pool is not None:
        first, others = await asked(kit, config.teacher, *about)
        return pool, _mean_of(kit, [*first, *others], SURE)
    own = (config.prompt, shown(row, kit, config.prompt, question=question), config.samples)
    replies, told = await asked(kit, config.teacher, own, *about)
    return _own_answers(kit, replies), _mean_of(kit, told, SURE)


def others_in(row: Row) -> list[str]:
    """The answers in the row's pool, without that of the candidate that was chosen.

    Raises:
        Rejected: `no_candidate`: there is no other.
    """
    chosen = row.fields.get("chosen")
    took = (chosen.get("teacher"), chosen.get("sample")) if isinstance(chosen, Mapping) else None
    pool = [one for one in pool_of(row) if (one.teacher, one.sample) != took]
    return [str(one.answer) for one in usable(pool)]


async def asked(
    kit: Kit, teacher: str, *questions: tuple[str, Fields, int]
) -> tuple[list[Reply], list[Reply]]:
    """The replies to the first question, and those to all others; all get into one batch."""
    found: list[list[Reply]] = []
    waiting: Waiting | None = None
    for prompt, inputs, samples in questions:
        try:
            found.append(await kit.ask_many(prompt, inputs, teachers=[teacher], samples=samples))
        except Waiting as error:
            waiting = error
    if waiting is not None:
        raise waiting
    return found[0], [reply for replies in found[1:] for reply in replies]


def shown(row: Row, kit: Kit, prompt: str, **computed: Json) -> dict[str, Json]:
    """The inputs of a prompt, some of them computed."""
    return inputs_of(row, kit.prompts[prompt].inputs, **computed)


def _own_answers(kit: Kit, replies: Sequence[Reply]) -> list[str]:
    """What the teacher answers itself, of the replies that can be used; at least one."""
    losses = [loss for reply in replies if (loss := loss_of(reply)) is not None]
    if len(losses) == len(replies):
        give_up(replies, losses)
    discard_all(kit, losses)
    texts = [r.text for r in replies if isinstance(r, Completion) and loss_of(r) is None]
    return [read(text, OWN).answer or text.strip() for text in texts]


def verdict_in(reply: Reply, options: Iterable[str]) -> str | Loss:
    """Which of the options a reply names behind its cue."""
    if (loss := loss_of(reply)) is not None:
        return loss
    assert isinstance(reply, Completion)  # noqa: S101  an error is a loss
    reading = read(reply.text, VERDICT, choices=[*options])
    if reading.answer is None:
        return Loss(reading.status, reading.detail)
    return reading.answer


def _mean_of(kit: Kit, replies: Sequence[Reply], worth: Mapping[str, float]) -> float:
    """What the replies are worth on average; those that cannot be read do not count."""
    said = [verdict_in(reply, worth) for reply in replies]
    losses = [one for one in said if isinstance(one, Loss)]
    if len(losses) == len(said):
        give_up(replies, losses)
    discard_all(kit, losses)
    return fmean(worth[one] for one in said if isinstance(one, str))


async def _compared(
    row: Row, kit: Kit, config: ClearSettings, question: str, target: str, own: Sequence[str]
) -> list[float]:
    """Whether each own answer contradicts the target, as the teacher says; each text is asked once.

    A comparison that cannot be read says as much as one that is unsure, and is counted.
    """
    teacher, prompt = config.teacher, config.contradiction_prompt
    assert teacher is not None  # noqa: S101  the settings say so
    worth: dict[str, float] = {}
    waiting: Waiting | None = None
    for answer in dict.fromkeys(own):
        if same_answer(answer, target):
            worth[answer] = 1.0
            continue
        pairs = [(target, answer), (answer, target)][: 2 if config.both_ways else 1]
        inputs = [shown(row, kit, prompt, question=question, first=a, second=b) for a, b in pairs]
        try:
            replies = await kit.ask_each(prompt, inputs, teachers=[teacher])
        except Waiting as error:
            waiting = error
            continue
        said = [verdict_in(reply, TOGETHER) for reply in replies]
        discard_all(kit, [one for one in said if isinstance(one, Loss)])
        worth[answer] = fmean(TOGETHER["unsure" if isinstance(one, Loss) else one] for one in said)
    if waiting is not None:
        raise waiting
    return [worth[answer] for answer in own]


def alike(answer: str, target: str) -> float:
    """How well two answers go together by their words: 1 where they are the same answer."""
    return 1.0 if same_answer(answer, target) else word_f1(answer, target)


def word_f1(one: str, other: str) -> float:
    """The harmonic mean of the shares of words that each has in common with the other; 0 to 1.

    As SQuAD scores answers, with words of any script: case, punctuation and order do not count.
    """
    counts = [
        Counter(re.findall(r"\w+", normalised(without_punctuation(text)))) for text in (one, other)
    ]
    common = (counts[0] & counts[1]).total()
    total = counts[0].total() + counts[1].total()
    return 2 * common / total if total else float(one == other)


class FilterSettings(StepSettings):
    """Settings of `confidence.filter`."""

    field: str = "confidence"
    """The field with the confidence, as `confidence.clear` gives it."""
    above: Literal["median"] | Share = "median"
    """Rows above it stay; rows at it do not. The median keeps half, whatever the share of good
    rows is: take a number once it is known what a number means (`synthkd calibrate`)."""
    reject: bool = True
    """Whether the others go; if not, `into` says which they are, for `confidence.correct`."""
    into: str = "confident"
    """The field for whether the row is above."""


@table_step(
    "confidence.filter",
    needs=lambda config: [config.field],
    gives=lambda config: [config.into],
    asks=lambda config, rows: 0,
)
def auto_filter(table: Table, kit: TableKit, config: FilterSettings, /) -> Iterator[Row]:
    """Keep the rows whose confidence is above the median of all, or above a number.

    Rejects `not_confident`, and rows whose confidence is no number (`no_confidence`).
    """
    known = [value for row in table if (value := _number(row, config.field)) is not None]
    threshold = config.above
    if threshold == "median":
        threshold = median(known) if known else 0.0
    kit.note({"threshold": round(threshold, 6), "above": sum(value > threshold for value in known)})
    for row in table:
        value = _number(row, config.field)
        if value is None:
            found = row.fields.get(config.field)
            kit.reject(row, "no_confidence", f"{config.field} is {found!r:.80}")
        elif config.reject and value <= threshold:
            kit.reject(row, "not_confident", f"{value:.4f} is not above {threshold:.4f}")
        else:
            yield row.with_fields(**{config.into: value > threshold})


def _number(row: Row, field: str) -> float | None:
    value = row.fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
