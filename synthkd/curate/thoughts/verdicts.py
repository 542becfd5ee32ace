"""What a reply with a thought is worth: both parts read, each within its limits, the answer right.

The same for what a teacher is asked now (`thoughts`) and for what a dump holds (`thoughts.choose`).
A candidate that is worth nothing stays in the pool, and its `status` says why.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, model_validator

from synthkd.answers import AnswerSettings, gold_of, grouped, read, same
from synthkd.config import Share
from synthkd.curate.gates.answers import ROUNDING
from synthkd.curate.gates.language import LanguageConfig, is_other
from synthkd.curate.gates.length import tokens_of
from synthkd.curate.gates.repetition import ending_loop, repeated_share
from synthkd.hints import near
from synthkd.recipes.languages import LANGUAGES
from synthkd.recipes.parts import read_parts
from synthkd.recipes.pool import FAILED, OK, Candidate
from synthkd.recipes.replies import UNREAD
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings

SOLUTION, RIGHT = "solution", "right"
"""What this package adds to a candidate."""
LOST = UNREAD | {FAILED}
"""Statuses of a reply in which nothing can be read: it stays as it is."""
LEAST_VOTES = 2
"""One answer agrees with itself."""


class PartLimits(StepSettings):
    """How long a part may be. A limit that is not set does not limit."""

    min_words: NonNegativeInt = 0
    """Words are what white space separates."""
    max_words: NonNegativeInt | None = None
    max_tokens: NonNegativeInt | None = None
    """UTF-8 bytes / 4, as `gate.length` estimates them."""


class ThoughtSettings(StepSettings):
    """Which replies are good, and which of them is kept."""

    answer: AnswerSettings = AnswerSettings()
    """What the solution's answer is, and where it stands."""
    gold: str | None = None
    """The field with the right answer. Without one (or where it is null), the answer that most
    candidates give is held for right, if `agree` of all do."""
    agree: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Without gold: the share of all candidates that must give the answer; never fewer than two."""
    thought: PartLimits = PartLimits()
    """Limits of the thought."""
    solution: PartLimits = PartLimits()
    """Limits of the solution."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes: a thought or solution surely in none of them is lost. Needs the extra
    `language`."""
    max_repeated: Share = 0.4
    """The share of a thought's words in runs of 8 that came before, as of `gate.repetition`; a
    thought that ends in a loop is lost in any case."""
    choose: Literal["first", "shortest", "longest"] = "first"
    """Which of the right ones is kept, by the length of its thought."""
    easy: Share = 0.75
    """`difficulty` is easy where at least this share of the candidates is right ..."""
    hard: Share = 0.25
    """... hard where at most this share is, and medium between."""

    @model_validator(mode="after")
    def _make_sense(self) -> ThoughtSettings:
        if self.hard >= self.easy:
            raise ValueError(f"hard {self.hard:g} must be below easy {self.easy:g}")
        for code in self.languages:
            if code not in LANGUAGES:
                hint = near(code, LANGUAGES)
                raise ValueError(f"languages: {code!r} is no ISO 639 code that is known{hint}")
        if self.languages and importlib.util.find_spec("py3langid") is None:
            raise ValueError("languages needs the extra: pip install 'synthkd[language]'")
        return self

    @property
    def row_fields(self) -> list[str]:
        """The fields of a row that are read."""
        return [name for name in (self.gold, self.answer.choices) if name is not None]


def read_candidate(one: Candidate, config: ThoughtSettings, choices: list[str] | None) -> Candidate:
    """The candidate with its parts, its answer and a status that says what it is worth."""
    if one.text is None:  # nothing to learn a solution from, whatever is said of its answer
        return replace(one, status="empty_answer") if one.status == OK else one
    if one.status in LOST and one.answer is None:
        return one
    cut = one.finish == "length"
    parts = read_parts(one.text, reasoning=one.thought, cut_short=cut)
    told = read(parts.solution, config.answer, choices=choices, cut_short=cut)
    unread = told.status if told.answer is None else None
    return replace(
        one,
        thought=parts.thought or None,
        rationale=told.rationale,
        answer=told.answer,
        status=parts.fault or unread or fault_of(parts.thought, parts.solution, config) or OK,
        more={**one.more, SOLUTION: parts.solution or None},
    )


def fault_of(thought: str, solution: str, config: ThoughtSettings) -> str | None:
    """What the filters have against the parts; None = nothing. The dear ones come last."""
    for part, limits in ((thought, config.thought), (solution, config.solution)):
        if fault := beyond(part, limits):
            return fault
    if ending_loop(thought) is not None:
        return "repetition"
    if repeated_share(thought, words=8, min_words=50) > config.max_repeated:
        return "repetition"
    if config.languages:
        language = LanguageConfig(field="thought", languages=list(config.languages))
        if any(is_other(part, language) for part in (thought, solution)):
            return "other_language"
    return None


def beyond(text: str, limits: PartLimits) -> str | None:
    """`too_short` or `too_long`; None = it is neither."""
    words = len(text.split())
    if words < limits.min_words:
        return "too_short"
    if limits.max_words is not None and words > limits.max_words:
        return "too_long"
    if limits.max_tokens is not None and tokens_of(text, None) > limits.max_tokens:
        return "too_long"
    return None


def judged(
    pool: Sequence[Candidate], row: Row, config: ThoughtSettings, choices: list[str] | None
) -> list[Candidate]:
    """The candidates, each with `right`: true, false, or null where its answer cannot be read."""
    answers: list[Json] = [one.answer for one in pool]
    if (gold := gold_in(row, config, choices)) is not None:
        right = [
            None if answer is None else same(answer, gold, config.answer, choices)
            for answer in answers
        ]
    else:
        groups = grouped(answers, config.answer, choices)
        votes = Counter(group for group in groups if group is not None)
        # most_common keeps the order of first appearance among equals.
        leader, count = votes.most_common(1)[0] if votes else (None, 0)
        sure = count >= max(LEAST_VOTES, config.agree * len(pool) - ROUNDING)
        right = [None if group is None else sure and group == leader for group in groups]
    return [
        replace(one, more={**one.more, RIGHT: flag}) for one, flag in zip(pool, right, strict=True)
    ]


def is_good(one: Candidate) -> bool:
    """Whether the candidate's answer is right and nothing else is against it."""
    return one.status == OK and one.more.get(RIGHT) is True


def chosen(pool: Sequence[Candidate], config: ThoughtSettings) -> Candidate:
    """The one that is kept, of those that are good; the first of equals."""
    good = [one for one in pool if is_good(one)]
    if config.choose == "first":
        return good[0]
    sign = 1 if config.choose == "shortest" else -1
    return min(good, key=lambda one: sign * len(one.thought or ""))


def why_lost(one: Candidate) -> str:
    """The reason of a candidate that is not good."""
    return one.status if one.status != OK else "wrong_answer"


def found_in(pool: Sequence[Candidate], config: ThoughtSettings) -> dict[str, Json]:
    """The fields of a row of which a candidate is good."""
    best = chosen(pool, config)
    share = sum(one.more.get(RIGHT) is True for one in pool) / len(pool)
    difficulty = "medium" if config.hard < share < config.easy else "easy"
    return {
        "thought": best.thought,
        SOLUTION: best.more[SOLUTION],
        "answer": best.answer,
        "finish": best.finish,
        "chosen": best.whose,
        "tries": len(pool),
        "solved_share": share,
        "difficulty": "hard" if share <= config.hard else difficulty,
        "thought_words": len((best.thought or "").split()),
    }


GIVES = (
    *("candidates", "thought", SOLUTION, "answer", "finish", "chosen"),
    *("tries", "solved_share", "difficulty", "thought_words"),
)
"""The fields that the steps add."""


def gold_in(row: Row, config: ThoughtSettings, choices: list[str] | None) -> str | None:
    """The row's right answer; None = nobody knows it, and the vote decides."""
    return None if config.gold is None else gold_of(row.fields, config.gold, config.answer, choices)
