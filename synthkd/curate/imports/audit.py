"""`import.audit`: whether a dump belongs to its rows, and whether its teacher saw the answers.

A dump that is aligned by position alone can be shuffled, shifted, or of another split, and nothing
in it says so: its answers then agree with gold as often as answers dealt out at random. And where
all agree, the teacher was shown the gold, or somebody filtered by it: as a measure of the teacher
it is worth nothing, and its reasons were found for a known answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from synthkd.answers import AnswerSettings, canonical, choices_of
from synthkd.config import Share
from synthkd.curate.fields import value_of
from synthkd.curate.imports.alignment import Alignment, alignment, best_shift, dealt, so_few
from synthkd.errors import UserError
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.text import equivalent

LEAST = 30
"""Rows with an answer and gold, below which nothing is said."""
BY_CHANCE = 0.001
"""How improbable a block's agreement must be beside the other rows', times the blocks."""


class AuditConfig(StepSettings):
    """Which answers are compared with which gold, and what is alarming."""

    gold: str
    """The field with the right answer; rows where it is null are left out."""
    candidates: str = "candidates"
    """The field with the answers of a teacher: of each row the first one that could be read."""
    field: str | None = None
    """Instead: a field with one answer."""
    answer: AnswerSettings = AnswerSettings()
    """What the answer is. With choices, places in the row's list are compared, not texts: an answer
    "(b)" to another question is one of this row's choices all the same."""
    sure: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """How sure an alarm is: the probability that it is false, if the teacher is `useful`, or is
    right in no more than `leak_above`."""
    useful: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far a teacher must be on the way from chance to perfect agreement, to be worth anything:
    of three labels 0.2 is an agreement of 47 %. Misaligned = no better than chance, and surely
    worse than that; between the two, with few rows, nobody can tell."""
    leak_above: Share = 0.99
    """No teacher is right more often. For an easy task with a perfect teacher: 1, no alarm."""
    block: Annotated[int, Field(ge=50)] = 500
    """Rows of a block: where one block is at chance and the others are not, it is the only one that
    is misaligned."""
    on_alarm: Literal["stop", "note"] = "stop"
    """Whether an alarm ends the run, or only stands among its figures."""

    @property
    def needs(self) -> list[str]:
        """The fields that are read."""
        choices = self.answer.choices
        return [self.gold, self.field or self.candidates, *([choices] if choices else [])]


class Compared(NamedTuple):
    """One row's answer and gold, in one spelling; "" = it has none."""

    answer: str
    gold: str


@table_step("import.audit", needs=lambda config: config.needs)
def audit(table: Table, kit: TableKit, config: AuditConfig, /) -> Iterator[Row]:
    """Stops the run where the answers are not those of their rows, or were made from gold.

    Figures: how many agree with gold, how many would by chance, and what that means. Rows pass as
    they are. Memory: two short texts a row.
    """
    rows = [_compared(row, config) for row in table]
    both = [one for one in rows if one.answer and one.gold]
    found = alignment([one.answer for one in both], [one.gold for one in both], kit.rng)
    verdict, why = verdict_on(found, rows, config)
    kit.note(
        {
            "rows with answer and gold": found.n,
            "agreement with gold": round(found.agreement, 4),
            "agreement by chance": round(found.chance, 4),
            "p of chance": round(found.p_chance, 4),
            "verdict": verdict,
            **({"alarm": why} if why else {}),
        }
    )
    if why and config.on_alarm == "stop":
        raise UserError(f"import.audit: the dump is {verdict}: {why}")
    yield from table


def verdict_on(found: Alignment, rows: Sequence[Compared], config: AuditConfig) -> tuple[str, str]:
    """The verdict in a word, and what a person must know: empty where nothing is alarming."""
    if found.n < LEAST:
        return f"too few rows to tell, at least {LEAST} are needed", ""
    agrees = f"{found.agreeing:,} of {found.n:,} answers ({found.agreement:.1%}) agree with gold"
    if found.p_chance > config.sure:
        useful = found.chance + config.useful * (1 - found.chance)
        if found.p_above(useful) > config.sure:
            return f"cannot tell: neither better than chance nor surely below {useful:.1%}", ""
        return "misaligned", (
            f"{agrees}, and {found.chance:.1%} would if the answers were dealt out at random (of"
            f" random deals {found.p_chance:.1%} agree as well). {_where_to(found, rows)}"
        )
    if (block := _block_at_chance(rows, found, config)) is not None:
        return "misaligned in part", block
    if config.leak_above < 1 and found.p_below(config.leak_above) < config.sure:
        return "leaked", (
            f"{agrees}, more than the {config.leak_above:.0%} of a very good teacher: it was shown"
            " the gold answers, or wrong answers were filtered out. Its reasons were found for a"
            " known answer, and its agreement measures nothing. Take the unfiltered dump; or, if"
            " that is what you want, set import.audit's leak_above: 1"
        )
    return "aligned", ""


def _where_to(found: Alignment, rows: Sequence[Compared]) -> str:
    """Where the answers would fit, or what may have happened."""
    shift = best_shift([one.answer for one in rows], [one.gold for one in rows])
    if shift is not None and shift.agreement > found.chance + 6 * found.sd:
        way = "later" if shift.rows > 0 else "earlier"
        rows_told = f"{abs(shift.rows):,} row{'s' * (abs(shift.rows) > 1)}"
        return (
            f"{rows_told} {way} they would agree in {shift.agreement:.1%}: rows or a"
            " shard are missing before them, or stand there twice"
        )
    return (
        "The dump is of another split, shuffled, or read by the wrong rule; or its teacher knows"
        " nothing. Compare a few answers with their questions"
    )


def _block_at_chance(rows: Sequence[Compared], found: Alignment, config: AuditConfig) -> str | None:
    """The first block of rows that agrees with gold by chance only, while the others do not."""
    starts = range(0, len(rows), config.block)
    for start in starts if len(starts) > 1 else ():
        block = [one for one in rows[start : start + config.block] if one.answer and one.gold]
        if len(block) < LEAST:
            continue
        mean, sd = dealt([one.answer for one in block], [one.gold for one in block])
        agreeing = sum(one.answer == one.gold for one in block)
        if agreeing > mean + 3 * sd:
            continue
        others = (found.agreeing - agreeing) / max(1, found.n - len(block))
        if so_few(agreeing, len(block), found.agreeing, found.n) * len(starts) < BY_CHANCE:
            return (
                f"of the rows {start + 1:,} to {min(start + config.block, len(rows)):,}"
                f" {agreeing:,} of {len(block):,} answers ({agreeing / len(block):.1%})"
                f" agree with gold, {mean / len(block):.1%} would by chance, and of the other rows"
                f" {others:.1%} do: rows are missing or doubled there, or a shard is of something"
                " else"
            )
    return None


def _compared(row: Row, config: AuditConfig) -> Compared:
    choices = choices_of(row.fields, config.answer)
    gold = _spelt(value_of(row, config.gold), config.answer, choices)
    return Compared(_answer(row, config, choices), gold)


def _answer(row: Row, config: AuditConfig, choices: list[str] | None) -> str:
    if config.field is not None:
        return _spelt(value_of(row, config.field), config.answer, choices)
    pool = value_of(row, config.candidates)
    for one in pool if isinstance(pool, list | tuple) else ():
        if isinstance(one, Mapping) and (
            answer := _spelt(one.get("answer"), config.answer, choices)
        ):
            return answer
    return ""


def _spelt(value: Json, config: AnswerSettings, choices: list[str] | None) -> str:
    """The answer in one spelling; a place where it is one of the row's own choices."""
    text = canonical(value, config, choices)
    if text is None:
        return ""
    if config.choices is not None and choices is not None:
        return str(choices.index(text)) if text in choices else ""
    return equivalent(text)
