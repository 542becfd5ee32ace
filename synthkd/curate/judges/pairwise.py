"""`judge.pairwise`: a teacher says which of two answers is better, asked in both orders.

Judges favour a place, most the first, some the second. So each pair is put to the judge both ways
round, and an answer wins only where the judge picks it both times; else it is a tie (MT-bench,
arXiv 2306.05685). Swapping the two answers asks the same two questions, so it can only mirror the
outcome. Several samples or teachers vote with the outcomes of their pairs: more than half must
agree.

Two answers that are the same text (NFKC, case and white space aside) are a tie by definition, and
nobody is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import model_validator

from synthkd.config import Samples
from synthkd.curate.calibration import Calibrated
from synthkd.curate.judges.choices import FLIPPED, SCHEMA, Choice, Outcome, read_choice
from synthkd.curate.judges.margins import count_margin, length_wins, with_win_rate
from synthkd.curate.judges.scoring import LEAST_TO_WARN, as_text
from synthkd.curate.judges.verdict import answer_of, unusable
from synthkd.errors import Rejected, TeacherError
from synthkd.recipes.replies import discard_all, give_up
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import normalised

Order = Literal["as_is", "swapped"]
PAIRS, DECIDED, IDENTICAL = "pairs", "decided", "identical answers"
BOTH_WAYS, AGREED = "asked both ways", "same both ways"
PICKS, FIRST_SHOWN = "picks", "picks the one shown first"
UNEQUAL, LONGER = "decided between unequal lengths", "the longer wins"
VALUE: Mapping[Outcome, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}
LEAST_CONSISTENT = 0.6
"""Of verdicts; GPT-4 has 0.84 to 0.87 on MT-bench's pairs, a judge that picks by place has 0."""


class PairwiseSettings(Calibrated):
    """Settings of `judge.pairwise`."""

    teacher: str | None = None
    """The judge; or `teachers`."""
    teachers: list[str] | None = None
    """Several judges, whose outcomes vote."""
    first: str = "response_1"
    """The field with the one answer."""
    second: str = "response_2"
    """The field with the other one."""
    question: str = "instruction"
    """The field with what was asked."""
    samples: Samples = 1
    """Answers per teacher and order; more than 1 needs a temperature above 0."""
    orders: Literal["both", "as_is"] = "both"
    """`as_is` asks once, for half the price, and takes the judge's liking for a place with it."""
    prompt: str = "judges/pairwise"
    """The prompt; the shipped one shows task and answers, and asks for reasons first."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""
    ties: Literal["keep", "reject"] = "keep"
    """Whether a row without a winner stays."""
    into: str = "verdict"
    """The field for the verdict."""

    @model_validator(mode="after")
    def _somebody_to_ask(self) -> PairwiseSettings:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("must have exactly one of teacher, teachers")
        if self.teachers and len(set(self.teachers)) != len(self.teachers):
            raise ValueError("teachers must name each teacher once; `samples` asks one repeatedly")
        if self.first == self.second:
            raise ValueError(f"first and second are the same field, {self.first!r}")
        return self

    @property
    def asked(self) -> list[str]:
        """The judges, however they were given."""
        return self.teachers or [self.teacher or ""]

    @property
    def calls_a_row(self) -> int:
        """Questions to each judge about a row, at most; for the forecast."""
        return self.samples * len(self.ways)

    @property
    def ways(self) -> list[Order]:
        """The orders in which a pair is shown."""
        return ["as_is", "swapped"] if self.orders == "both" else ["as_is"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One answer of a judge about the pair, read."""

    teacher: str
    sample: int
    order: Order
    reply: Completion | TeacherError
    choice: Choice

    @property
    def outcome(self) -> Outcome | None:
        """What it prefers, by the row's own order."""
        better = self.choice.better
        if better is None or self.order == "as_is":
            return better
        return FLIPPED[better]

    @property
    def told(self) -> dict[str, Json]:
        """As it stands in the row."""
        return answer_of(
            self.reply,
            self.choice.loss,
            teacher=self.teacher,
            sample=self.sample,
            order=self.order,
            reasoning=self.choice.reasoning,
            outcome=self.outcome,
        )


def _warns(figures: Mapping[str, Json]) -> Iterable[str]:
    count = {name: value for name, value in figures.items() if isinstance(value, int)}
    pairs, asked = count.get(PAIRS, 0) - count.get(IDENTICAL, 0), count.get(BOTH_WAYS, 0)
    if pairs >= LEAST_TO_WARN and not count.get(DECIDED):
        yield f"all {pairs:,} pairs are ties: the judge cannot tell these answers apart"
    if asked >= LEAST_TO_WARN and count.get(AGREED, 0) < LEAST_CONSISTENT * asked:
        yield (
            f"says the same both ways round on {count.get(AGREED, 0):,} of {asked:,} pairs, and"
            f" picks the one shown first in {count.get(FIRST_SHOWN, 0):,} of"
            f" {count.get(PICKS, 0):,} picks: it goes by the place more than by the answer"
        )
    yield from length_wins(figures, LEAST_TO_WARN)


@step(
    "judge.pairwise",
    needs=lambda config: [config.question, config.first, config.second],
    gives=lambda config: [config.into, "chosen", "rejected"],
    supplies=("question", "first", "second"),
    warns=_warns,
    sums_up=with_win_rate,
)
async def pairwise(row: Row, kit: Kit, config: PairwiseSettings, /) -> AsyncIterator[Row]:
    """Have two answers compared, in both orders; a win only where the judge stays with it.

    Gives the verdict (`into`): `outcome` (first, second, tie), `score` (1, the first wins, to 0),
    `consistent` (the share of pairs judged alike both ways; null where none was asked both ways)
    and all `answers`; and `chosen` and `rejected`, the answers' texts, null at a tie. Rejects
    `undecided` with `ties: reject`; where no pair can be read, `no_verdict`, `several_verdicts`,
    `refused`, `empty_answer` and its kin.
    """
    texts = as_text(row, config.first), as_text(row, config.second)
    kit.count(PAIRS)
    if normalised(texts[0]) == normalised(texts[1]):
        kit.count(IDENTICAL)
        verdict: dict[str, Json] = {
            "outcome": "tie", "score": 0.5, "consistent": None, "answers": []
        }  # fmt: skip
    else:
        verdict = verdict_of(await _picks(row, kit, config, texts), kit)
    yield _passed(row, kit, config, verdict, texts)


async def _picks(
    row: Row, kit: Kit, config: PairwiseSettings, texts: tuple[str, str]
) -> list[Pick]:
    """What the judges say, order by order, judge by judge; at least one pair can be read."""
    asked = kit.prompts[config.prompt].inputs
    question = as_text(row, config.question)
    shown = {"as_is": texts, "swapped": texts[::-1]}
    replies = await kit.ask_each(
        config.prompt,
        [
            inputs_of(row, asked, question=question, first=shown[way][0], second=shown[way][1])
            for way in config.ways
        ],
        teachers=config.asked,
        samples=config.samples,
        schema=SCHEMA if config.structured else None,
    )
    turns = [
        (way, teacher, sample)
        for way in config.ways
        for teacher in config.asked
        for sample in range(config.samples)
    ]
    picks = [_pick(reply, *turn) for reply, turn in zip(replies, turns, strict=True)]
    losses = [pick.choice.loss for pick in picks if pick.choice.loss is not None]
    if not any(outcome for outcome in outcomes(picks)):
        give_up(replies, losses)
    discard_all(kit, losses)
    return picks


def _pick(reply: Completion | TeacherError, way: Order, teacher: str, sample: int) -> Pick:
    loss = unusable(reply)
    if isinstance(reply, Completion) and loss is None:
        choice = read_choice(reply.text)
    else:
        choice = Choice(loss=loss)
    return Pick(teacher=teacher, sample=sample, order=way, reply=reply, choice=choice)


def outcomes(picks: Iterable[Pick]) -> list[Outcome | None]:
    """The outcome of each teacher's each sample: a win where all orders agree; None = unreadable.

    A pair of which one order cannot be read has no outcome: half a look is no verdict.
    """
    by_turn: dict[tuple[str, int], list[Outcome | None]] = {}
    for pick in picks:
        by_turn.setdefault((pick.teacher, pick.sample), []).append(pick.outcome)
    return [_together(turn) for turn in by_turn.values()]


def _together(turn: Sequence[Outcome | None]) -> Outcome | None:
    if None in turn:
        return None
    return turn[0] if len(set(turn)) == 1 else "tie"


def verdict_of(picks: Sequence[Pick], kit: Kit) -> dict[str, Json]:
    """What all picks come to: the outcome of more than half of the pairs that can be read."""
    read = [outcome for outcome in outcomes(picks) if outcome is not None]
    votes = Counter(read)
    outcome = next((side for side in VALUE if 2 * votes[side] > len(read)), "tie")
    turns: dict[tuple[str, int], list[Outcome]] = {}
    for pick in picks:
        if pick.outcome is not None:
            turns.setdefault((pick.teacher, pick.sample), []).append(pick.outcome)
            if pick.choice.better != "tie":
                kit.count(PICKS)
                kit.count(FIRST_SHOWN, int(pick.choice.better == "first"))
    both = [turn for turn in turns.values() if len(turn) == 2]
    same = sum(turn[0] == turn[1] for turn in both)
    kit.count(BOTH_WAYS, len(both))
    kit.count(AGREED, same)
    return {
        "outcome": outcome,
        "score": sum(VALUE[one] for one in read) / len(read),
        "consistent": same / len(both) if both else None,
        "answers": [pick.told for pick in picks],
    }


def _passed(
    row: Row,
    kit: Kit,
    config: PairwiseSettings,
    verdict: dict[str, Json],
    texts: tuple[str, str],
) -> Row:
    """The row with its verdict; ties may be rejected."""
    winner, loser = None, None
    score = verdict["score"]
    assert isinstance(score, float)  # noqa: S101  a verdict that was given has one
    count_margin(kit, score, len(texts[0]) - len(texts[1]))
    if verdict["outcome"] != "tie":
        winner, loser = texts if verdict["outcome"] == "first" else texts[::-1]
        kit.count(DECIDED)
        if len(winner) != len(loser):
            kit.count(UNEQUAL)
            kit.count(LONGER, int(len(winner) > len(loser)))
    elif config.ties == "reject":
        raise Rejected("undecided", "neither answer wins")
    return row.with_fields(**{config.into: verdict}, chosen=winner, rejected=loser)
