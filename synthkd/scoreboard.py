"""What a person sees of an evaluation: how good, how sure, at what cost, and what to bear in mind.

Several small tables rather than a wide one, so that each fits into 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from synthkd.manifest import (
    Contestant,
    Evaluation,
    Forgetting,
    Interval,
    Money,
    TrialRecord,
    Unseen,
    Wordings,
    called,
)
from synthkd.tables import known, plain_table, printable

if TYPE_CHECKING:
    from synthkd.evaluate.two_results import Comparison


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """Base, teachers and student on the same rows."""
    about = f"on {evaluation.on}: {evaluation.rows:,} rows, {evaluation.labels:,} labels"
    if evaluation.left_out:
        about += f"; {evaluation.left_out:,} rows left out because asking failed"
    parts: list[RenderableType] = [
        about,
        f"held-out rows among the rows to learn from: {printable(evaluation.contamination)}",
        *[printable(note) for note in evaluation.notes],
    ]
    if evaluation.unseen is not None:
        parts.append(_unseen(evaluation.unseen))
    parts.append(_quality(evaluation))
    if (differ := _differ(evaluation)).row_count:
        parts.append(differ)
    parts += [_fields(one) for one in evaluation.contestants if one.fields and one.role != "base"]
    parts.append(_cost(evaluation))
    if any(one.confidences is not None for one in evaluation.contestants):
        parts.append(_confidences(evaluation))
    if evaluation.money is not None:
        parts += _money(evaluation.money, evaluation.contestants)
    if evaluation.forgetting is not None:
        parts += _forgetting(evaluation.forgetting)
    if evaluation.wordings:
        parts.append(_wordings(evaluation.wordings))
    return Group(*parts)


def trial_view(record: TrialRecord, folder: Path) -> RenderableType:
    """An evaluation without a run: who was examined, the figures, what it cost, where it is."""
    spent = known(record.spend.usd, ".4f")
    return Group(
        *[printable(f"{name}: {who}") for name, who in record.asked.items()],
        f"rows: {printable(record.source)}",
        evaluation_view(record.evaluation),
        f"{record.spend.requests:,} requests so far, {spent} USD",
        printable(f"evaluation.json, predictions.parquet and card.md are in {folder}"),
    )


def comparison_view(comparison: Comparison) -> RenderableType:
    """Two results on the rows that both have."""
    sides = {"A": comparison.a, "B": comparison.b}
    names = {
        letter: called(side.who, simulated=side.simulated, recorded=side.recorded)
        for letter, side in sides.items()
    }
    parts: list[RenderableType] = [
        *[
            printable(
                f"{letter}: {names[letter]} of {side.place}, on {side.on}: {side.rows:,} rows"
            )
            for letter, side in sides.items()
        ],
        f"compared on the {comparison.rows:,} rows in both, by their ids",
        *[
            printable(f"{letter}: held-out rows among the rows to learn from: {side.contamination}")
            for letter, side in sides.items()
        ],
        *[printable(note) for note in comparison.notes],
    ]
    table = plain_table("metric", "A, %", "B, %", "A's lead, points")
    for metric, lead in comparison.leads.items():
        table.add_row(
            metric,
            *[_interval(side.metrics[metric]) for side in sides.values()],
            _interval(lead, "+"),
        )
    parts.append(table)
    tests = plain_table("only one is right", "only A", "only B", "p (McNemar)")
    for metric, lead in comparison.leads.items():
        if lead.p is not None:
            tests.add_row(metric, f"{lead.only_student}", f"{lead.only_other}", _p(lead.p))
    return Group(*parts, *([tests] if tests.row_count else []))


def _quality(evaluation: Evaluation) -> Table:
    table = plain_table("who", "metric", "% [95 % interval]", "student's lead, points")
    for one in evaluation.contestants:
        for metric, value in one.metrics.items():
            lead = one.versus_student.get(metric)
            ahead = "" if lead is None else _interval(lead, "+")
            table.add_row(_who(one), metric, _interval(value), ahead)
    return table


def _differ(evaluation: Evaluation) -> Table:
    """Where right and wrong are all there is: on which rows they differ, and McNemar's test."""
    table = plain_table("only one is right", "metric", "only student", "only this", "p (McNemar)")
    for one in evaluation.contestants:
        for metric, lead in one.versus_student.items():
            if lead.p is not None:
                differ = f"{lead.only_student}", f"{lead.only_other}"
                table.add_row(_who(one), metric, *differ, _p(lead.p))
    return table


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _cost(evaluation: Evaluation) -> Table:
    left_out = ["left out"] if evaluation.left_out else []
    table = plain_table("who", "answered", *left_out, "ms/row", "USD/1,000 rows")
    for one in evaluation.contestants:
        table.add_row(
            _who(one),
            f"{one.answered:,} of {evaluation.rows:,}",
            *[f"{evaluation.left_out:,}" for _ in left_out],
            known(one.ms_per_row, ".2f"),
            known(one.usd_per_1000, ".4f"),
        )
    return table


def _confidences(evaluation: Evaluation) -> Table:
    table = plain_table("confidence of", "figure", "value")
    for one in evaluation.contestants:
        if (found := one.confidences) is None:
            continue
        curve = ", ".join(
            f"{100 * point.risk:.1f} at {100 * point.coverage:.0f}" for point in found.curve
        )
        for figure, value in (
            (f"calibration error (ECE, {found.bins} bins), %", f"{100 * found.ece:.2f}"),
            ("ECE were all confidences true, %", f"{100 * found.ece_if_calibrated:.2f}"),
            ("trust (accuracy - ECE), %", f"{100 * found.trust:.2f}"),
            ("risk, % at coverage, %", curve),
            ("area under it, %", f"{100 * found.aurc:.2f}"),
        ):
            table.add_row(_who(one), figure, value)
    return table


def _money(money: Money, contestants: list[Contestant]) -> Iterator[str]:
    yield (
        f"the run cost {known(money.spent_usd, '.4f')} USD, evaluation included:"
        f" {known(money.usd_per_row, '.6f')} USD for each of {money.rows:,} rows of the dataset"
    )
    student = next(_who(one) for one in contestants if one.role == "student")
    if money.points is not None:
        each = "nothing was spent" if money.spent_usd == 0 else known(money.points_per_usd, "+.2f")
        yield (
            f"{student} is {money.points:+.2f} points of {money.metric} above base;"
            f" points for a dollar: {each}"
        )
    for one in contestants:
        if one.role in {"teacher", "panel"}:
            after = one.pays_off_after
            when = f"after {after:,} requests" if isinstance(after, int) else after or "unknown"
            yield f"asked in place of {_who(one)}, {student} has paid for itself: {when}"


def _forgetting(found: Forgetting) -> Iterator[RenderableType]:
    yield printable(f"general questions ({found.suite}) asked of {found.base}, and of the student:")
    table = plain_table("kind", "rows", "base, %", "student, %", "change, points", "won", "lost")
    for one in (*found.kinds, found.overall, *found.harness):
        table.add_row(
            printable(one.kind),
            f"{one.rows:,}",
            _interval(one.before),
            _interval(one.after),
            _interval(one.change, "+"),
            *(
                "" if n is None else f"{n}"
                for n in (one.change.only_student, one.change.only_other)
            ),
        )
    if (likely := found.likelihood) is not None:
        figures = (_interval(likely.before), _interval(likely.after), _interval(likely.change, "+"))
        table.add_row("likelihood of a byte", f"{likely.rows:,}", *figures, "", "")
    yield table
    for said in (*found.notes, *found.warnings):
        yield printable(said)


def _fields(one: Contestant) -> Table:
    table = plain_table(_who(one), "in gold", "given", "precision, %", "recall, %", "F1, %")
    for name, score in one.fields.items():
        figures = (_interval(part) for part in (score.precision, score.recall, score.f1))
        table.add_row(printable(name), f"{score.wanted:,}", f"{score.given:,}", *figures)
    return table


def _wordings(found: list[Wordings]) -> Table:
    table = plain_table("in other words", "figure", "% [95 % interval]")
    for one in found:
        figures = {
            **{f"{one.metric}, {name}": value for name, value in one.by_wording.items()},
            f"{one.metric}, mean": one.mean,
            f"{one.metric}, worst": one.worst,
            "spread, best - worst": one.spread,
            f"the same answer in all {len(one.by_wording)}": one.agreement,
        }
        for figure, value in figures.items():
            table.add_row(printable(one.who), printable(figure), _interval(value))
        if one.p is not None:
            table.add_row(printable(one.who), "p of the spread (Cochran's Q)", _p(one.p))
    return table


def _unseen(unseen: Unseen) -> str:
    more = unseen.labels - len(unseen.examples)
    named = ", ".join(unseen.examples) + (f" and {more:,} more" if more else "")
    return printable(
        f"labels that no row to learn from has: {unseen.labels:,}, of {unseen.rows:,} rows: {named}"
    )


def _who(one: Contestant) -> str:
    name = called(one.name, simulated=one.simulated, recorded=one.recorded)
    if one.seeds > 1:
        name += f", {one.seeds} seeds"
    return printable(name if one.role == one.name else f"{one.role}: {name}")


def _interval(interval: Interval, sign: str = "") -> str:
    """The figure in per cent; one digit fewer for the interval, whose last ones say nothing."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.value:{sign}.2f} [{low:{sign}.1f}, {high:{sign}.1f}]"
