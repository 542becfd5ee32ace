"""`thoughts`: long reasoning from a teacher, sampled again where nothing was right yet.

Rejection sampling as in O1 Replication, part 2 (arXiv 2411.16489) and STILL-2 (arXiv 2412.09413):
of each question some replies are asked for, and only those with both parts and the right answer
count. Where none does, more are asked for, round by round up to a bound (`tries`): the calls go
where the teacher finds it hard. Samples are numbered on from round to round, so a run that is
resumed or replayed asks for the same, and pays for none twice.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from pydantic import Field

from synthkd.answers import choices_of
from synthkd.config import Count, Samples
from synthkd.curate.thoughts.verdicts import (
    GIVES,
    ThoughtSettings,
    found_in,
    gold_in,
    is_good,
    judged,
    read_candidate,
    why_lost,
)
from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.asking import Asked
from synthkd.recipes.pool import OK, POOL, Candidate, told
from synthkd.recipes.reasoning import unread
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion

_ROUND = re.compile(r"round (\d+): (rows|calls|solved)")


class ExploreSettings(ThoughtSettings):
    """Settings of `thoughts`."""

    teacher: str
    """The teacher to ask."""
    prompt: str = "thoughts/solve"
    """The prompt, which asks for a thought in tags; `thoughts/answer` is for teachers that think by
    themselves and whose provider sends the thought apart (`reasoning`)."""
    tries: Annotated[tuple[Samples, ...], Field(min_length=1, max_length=20)] = (4, 4, 8)
    """Replies asked for in each round; from the second on, only where too few were good before."""
    enough: Samples = 1
    """Good replies that end the asking."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""

    @property
    def samples(self) -> int:
        """Replies to a row at most; for the forecast."""
        return sum(self.tries)


def _sums_up(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """The rounds as a table: rows, calls, and how many rows are solved by then."""
    summed: dict[str, Json] = {}
    rounds: dict[int, dict[str, int]] = {}
    for name, value in figures.items():
        found = _ROUND.fullmatch(name)
        if found and isinstance(value, int):
            rounds.setdefault(int(found[1]), {})[found[2]] = value
        else:
            summed[name] = value
    solved = calls = 0
    for number, one in sorted(rounds.items()):
        solved += one.get("solved", 0)
        calls += one.get("calls", 0)
        of = rounds[1]["rows"]
        summed[f"round {number}"] = {
            **one,
            "calls so far": calls,
            "solved so far": round(solved / of, 4),
        }
    return summed


@step(
    "thoughts",
    needs=lambda config: config.row_fields,
    gives=GIVES,
    supplies=("choices", "labels"),
    sums_up=_sums_up,
)
async def thoughts(row: Row, kit: Kit, config: ExploreSettings, /) -> AsyncIterator[Row]:
    """Ask for thought and solution until one is right; keep it, and how hard that was.

    Gives `thought`, `solution`, `answer` and `finish` of the reply kept, `tries`, `solved_share`
    (right ones of all tries), `difficulty`, `thought_words`, `chosen`, and all `candidates`.
    Rejects `unsolved` where every round is over, `bad_gold`, or the commonest of `no_thought`,
    `no_solution`, `several_thoughts`, `several_solutions`, `truncated`, `no_cue` and the filters'
    reasons where no reply had two parts and an answer.
    """
    choices = choices_of(row.fields, config.answer)
    gold_in(row, config, choices)  # before anything is paid for
    listed: dict[str, Json] = {} if choices is None else {"choices": choices, "labels": choices}
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, **listed)
    replies: list[Completion | TeacherError] = []
    pool: list[Candidate] = []
    for number, more in enumerate(config.tries, start=1):
        asked = await kit.ask_many(
            config.prompt,
            inputs,
            teachers=[config.teacher],
            samples=more,
            first=len(replies),
            longer=config.longer,
        )
        pool += [
            read_candidate(
                unread(Asked(config.teacher, len(replies) + at, reply), _lost(reply)),
                config,
                choices,
            )
            for at, reply in enumerate(asked)
        ]
        replies += asked
        pool = judged(pool, row, config, choices)
        kit.count(f"round {number}: rows")
        kit.count(f"round {number}: calls", more)
        if sum(map(is_good, pool)) >= config.enough:
            kit.count(f"round {number}: solved")
            break
    losses = [
        _lost(reply) or _loss(one)
        for one, reply in zip(pool, replies, strict=True)
        if not is_good(one)
    ]
    if not any(map(is_good, pool)):
        if any(one.answer is not None for one in pool):
            said = ", ".join(dict.fromkeys(str(one.answer) for one in pool if one.answer))
            raise Rejected(
                "unsolved", f"none of {len(pool)} tries is good; they answer {said:.200}"
            )
        give_up(replies, losses)
    discard_all(kit, losses)
    yield row.with_fields(**found_in(pool, config), **{POOL: told(pool)})


def _lost(reply: Completion | TeacherError) -> Loss | None:
    """Why nothing can be read from it; a thought that took all the tokens is cut, not empty."""
    loss = loss_of(reply)
    if loss is None or isinstance(reply, TeacherError) or reply.finish != "length":
        return loss
    return Loss("truncated", (reply.text or reply.reasoning or "")[-200:])


def _loss(one: Candidate) -> Loss:
    said = f"answered {one.answer}" if one.status == OK else (one.text or "")[-200:]
    return Loss(why_lost(one), said)
