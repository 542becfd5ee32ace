"""`candidates`: what several teachers say to a row, or one of them several times, all of it kept.

    candidates: [{teacher, sample, text, thought, rationale, answer, status, finish, logprob, key}]

Which of them a student learns from is for a `choose.*` step to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

from pydantic import model_validator

from synthkd.errors import TeacherError
from synthkd.recipes.asking import AskingSettings
from synthkd.recipes.pool import NOT_RUN, OK, POOL, Candidate, pool_of, told
from synthkd.recipes.reasoning import SUPPLIES, Heard, ReasoningSettings, reasoned
from synthkd.recipes.replies import loss_of
from synthkd.rows import Row
from synthkd.steps import Kit, step


class CandidatesSettings(AskingSettings, ReasoningSettings):
    """Settings of `candidates`."""

    program: bool = False
    """Whether a reply is a program that computes the answer (program of thought). It is kept as the
    `rationale`, and nothing runs it: the candidate has no answer, and the status `not_run`."""
    add: bool = False
    """Whether the row has candidates already, and these come behind them: of other teachers, or of
    the same by another prompt, whose samples are numbered on."""

    @model_validator(mode="after")
    def _votes_to_stop_by(self) -> CandidatesSettings:
        if self.program and self.until is not None:
            raise ValueError("until must be left out with program: without answers nobody votes")
        return self


def _needs(config: CandidatesSettings) -> Iterable[str]:
    return [
        *([config.reads.choices] if config.reads.choices is not None else []),
        *([POOL] * config.add),
    ]


@step("candidates", needs=_needs, gives=(POOL,), supplies=SUPPLIES)
async def candidates(row: Row, kit: Kit, config: CandidatesSettings, /) -> AsyncIterator[Row]:
    """Ask for reasoning and an answer; keep all that came, readable or not.

    A candidate has an `answer` (`ok`, `run_on_cut`), or a `status` that says why not. The row
    fails when nobody replied. Figures: how many candidates there are of each status.
    """
    before = pool_of(row) if config.add else []
    heard = await reasoned(
        row,
        kit,
        config,
        teachers=config.asked,
        samples=config.samples,
        until=config.until,
    )
    errors = [one.reply for one in heard if isinstance(one.reply, TeacherError)]
    if len(errors) == len(heard) and not before:
        raise errors[0]
    made = _behind(before, [as_program(one) if config.program else one.candidate for one in heard])
    for status, times in Counter(one.status for one in made).items():
        kit.count("candidates" if status == OK else f"candidates: {status}", times)
    yield row.with_fields(**{POOL: told([*before, *made])})


def _behind(before: Sequence[Candidate], more: Iterable[Candidate]) -> list[Candidate]:
    """Those that are not there yet, numbered on from the teacher's own in the pool.

    One entry of the ledger is one answer, however often it is asked for: it has one vote.
    """
    known = {one.key for one in before if one.key is not None}
    count = Counter[str]()
    for one in before:
        count[one.teacher] = max(count[one.teacher], one.sample + 1)
    return [
        replace(one, sample=count[one.teacher] + one.sample) for one in more if one.key not in known
    ]


_FENCED = re.compile(r"^```[^\n`]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def as_program(heard: Heard) -> Candidate:
    """A reply that is a program: kept, not run. One that is lost stays as it is."""
    text = heard.candidate.text
    if text is None or loss_of(heard.reply) is not None:
        return heard.candidate
    fenced = _FENCED.search(text)
    program = fenced[1] if fenced else text
    return replace(heard.candidate, rationale=program.strip("\n"), answer=None, status=NOT_RUN)
