"""What a person sees of a run: while it runs, at its end, and in `synthkd show`.

Owns no state of a run: functions take the values of `synthkd.manifest` and return rich renderables
or text. `watch` alone draws, for as long as a run lasts:

    with watch(console_for(sys.stdout)) as on_progress:
        manifest = pipeline.run_sync(on_progress=on_progress)
    console.print(summary(manifest, folder))

Text that came from data or from a model passes through `printable`, so that an escape sequence in
an answer cannot reach the terminal.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from synthkd.errors import WaitingForBatch
from synthkd.manifest import (
    Counts,
    Manifest,
    Progress,
    RoundRecord,
    Spend,
    StepCounts,
    Stopped,
    TeacherCounts,
    called,
)
from synthkd.rows import Fields, Json
from synthkd.scoreboard import evaluation_view
from synthkd.tables import known, plain_table, printable

LINE_EVERY_S = 5.0
"""Seconds between two lines in a log file: an hour of running stays readable."""
WIDTH_OF_A_LOG = 120
"""Columns where there is no terminal to ask."""
WIDTH_OF_TABLES = 80
"""Columns below which figures would break in two: a narrower terminal is written to as a log is."""
OnProgress = Callable[[Progress], None]


def console_for(stream: IO[str]) -> Console:
    """A console that takes every text literally: square brackets in data are not markup."""
    literal = functools.partial(Console, file=stream, markup=False, highlight=False, emoji=False)
    if not stream.isatty():
        return literal(width=WIDTH_OF_A_LOG)
    console = literal()
    if console.width < WIDTH_OF_TABLES:
        return literal(width=WIDTH_OF_TABLES, force_terminal=False)
    return console


@contextmanager
def watch(console: Console, *, clock: Callable[[], float] = time.monotonic) -> Iterator[OnProgress]:
    """Show the progress of a run: live on a terminal, as lines elsewhere."""
    if console.is_terminal:
        latest: list[Progress] = []

        def draw() -> RenderableType:
            return progress_view(latest[-1]) if latest else "starting"

        with Live(get_renderable=draw, console=console, transient=True, refresh_per_second=4):
            # Only the newest is kept: a run reports more often than anyone can look.
            yield lambda progress: latest.__setitem__(slice(None), [progress])
    else:
        yield Lines(lambda line: console.print(line, soft_wrap=True), clock=clock)


class Lines:
    """Progress as lines of text: at each new stage and every few seconds."""

    def __init__(
        self, write: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._stage = ""
        self._due_s = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write a line, if it is time for one."""
        now_s = self._clock()
        if progress.stage == self._stage and now_s < self._due_s:
            return
        self._stage, self._due_s = progress.stage, now_s + LINE_EVERY_S
        self._write(progress_line(progress))


def progress_line(progress: Progress) -> str:
    """One moment of a run on one line."""
    teachers = progress.teachers.values()
    parts = [f"{progress.elapsed_s:.0f} s", progress.stage, _entered(progress)]
    if progress.round is not None:
        parts.append(f"round {progress.round}")
    if progress.elapsed_s > 0:
        parts.append(f"{progress.rows_entered / progress.elapsed_s:,.1f} rows/s")
    parts.append(f"{sum(t.in_flight for t in teachers):,} in flight{_auto(teachers)}")
    parts.append(f"{sum(t.hits for t in teachers):,} hits")
    if waiting := sum(t.waiting for t in teachers):
        parts.append(f"{waiting:,} questions wait for a batch")
    if limited := sum(t.rate_limited for t in teachers):
        parts.append(f"{limited:,} x 429")
    parts.append(spend_text(progress.spend))
    if names := simulated_of(progress.teachers):
        parts.append(f"simulated: {', '.join(names)}")
    parts += changes_text(progress.teachers)
    parts += map(printable, progress.starting)
    parts += map(printable, progress.told)
    if progress.training:
        parts.append(printable(progress.training))
    return " | ".join(parts)


def progress_view(progress: Progress) -> RenderableType:
    """One moment of a run as a screen."""
    return Group(
        progress_line(progress), teachers_table(progress.teachers), funnel_table(progress.funnel)
    )


def summary(manifest: Manifest, folder: Path) -> RenderableType:
    """A finished run: its account, funnel, teachers, spend, evaluation, and where things are."""
    parts: list[RenderableType] = [f"{manifest.name}: {account_text(manifest.counts)}"]
    if manifest.simulated:
        parts.append(
            f"simulated: {', '.join(manifest.simulated)}. "
            "Figures won on a simulated teacher prove code, not method."
        )
    parts.append(funnel_table(manifest.funnel))
    if manifest.figures:
        parts.append(figures_table(manifest.figures))
    parts += [printable(f"warning: {warning}") for warning in manifest.warnings]
    parts.append(teachers_table(manifest.teachers))
    parts += changes_text(manifest.teachers)
    parts.append(
        f"spent: {spend_text(manifest.spend)}; "
        f"this time {manifest.wall_s:.1f} s, {manifest.cpu_s:.1f} s of CPU"
    )
    parts += prices_text(manifest)
    if manifest.evaluation is not None:
        parts.append(evaluation_view(manifest.evaluation))
    if manifest.rounds:
        parts.append(rounds_table(manifest.rounds))
    return Group(*parts, places_text(manifest, folder))


def stopped_view(stopped: Stopped) -> RenderableType:
    """A run that ended early: why, how far it was, what it has spent."""
    counts = stopped.counts
    on_the_way = counts.read - counts.kept - counts.rejected - counts.failed - counts.waiting
    waits = f"{counts.waiting:,} wait for a batch, " if counts.waiting else ""
    what = "waits" if stopped.exit_code == WaitingForBatch.exit_code else "ended early"
    return Group(
        f"{what} (exit code {stopped.exit_code}): {printable(stopped.message, 1_000)}",
        f"of {counts.read:,} rows read so far {counts.kept:,} came through, "
        f"{counts.rejected:,} were rejected, {counts.failed:,} failed, {waits}{on_the_way:,} are "
        "on their way",
        funnel_table(stopped.funnel),
        teachers_table(stopped.teachers),
        f"spent: {spend_text(stopped.spend)}",
        "run the same command again to go on: what was bought is kept",
    )


def account_text(counts: Counts) -> str:
    """The fates of the source rows, as a sum."""
    share = f" ({counts.kept / counts.read:.2%})" if counts.read else ""
    text = (
        f"{counts.read:,} rows read = {counts.kept:,} kept{share} + {counts.rejected:,} rejected "
        f"+ {counts.failed:,} failed"
    )
    aside = {
        **{f"held out for {side}": n for side, n in counts.held_out.items()},
        "skipped": counts.skipped,
        **{f"repaired ({what})": n for what, n in counts.repaired.items()},
    }
    others = ", ".join(f"{n:,} {name}" for name, n in aside.items() if n)
    return f"{text}; {others}" if others else text


def funnel_table(funnel: Mapping[str, StepCounts]) -> Table:
    """One line a step; what was lost, and why."""
    waits = any(step.waiting for step in funnel.values())
    waiting = ["waiting"] if waits else []
    lost = ("rejected", "failed", "merged")
    table = plain_table("step", "in", "made", "out", *lost, *waiting, "reasons")
    for name, step in funnel.items():
        counts = [step.entered, step.made, step.out, step.rejected, step.failed, step.merged]
        counts += [step.waiting] if waits else []
        reasons = [_by_count(step.reasons)] if step.reasons else []
        if step.discarded:
            reasons.append(f"discarded: {_by_count(step.discarded)}")
        table.add_row(name, *(f"{n:,}" for n in counts), "; ".join(reasons))
    return table


def figures_table(figures: Mapping[str, Mapping[str, Json]]) -> Table:
    """What steps noted of all their rows: one line a figure, those inside objects too."""
    table = plain_table("step", "figure", "value")
    for step, noted in figures.items():
        for name, value in _leaves("", noted):
            table.add_row(step, printable(name), printable(_figure(value)))
    return table


def _leaves(name: str, value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name} {key}".strip(), inner)
    else:
        yield name, value


def _figure(value: Json) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def teachers_table(teachers: Mapping[str, TeacherCounts]) -> Table:
    """One line a teacher; a simulated one is called so."""
    table = plain_table(
        "teacher", "asked", "hits", "attempts", "429", "failed", "tokens", "USD", "median s"
    )
    for name, teacher in teachers.items():
        counts = (
            teacher.asked,
            teacher.hits,
            teacher.attempts,
            teacher.rate_limited,
            teacher.failed,
            teacher.prompt_tokens + teacher.completion_tokens,
        )
        table.add_row(
            called(name, simulated=teacher.simulated),
            *(f"{n:,}" for n in counts),
            known(teacher.usd, ".4f"),
            known(teacher.latency_s, ".2f"),
        )
    return table


def changes_text(teachers: Mapping[str, TeacherCounts]) -> list[str]:
    """A warning for each teacher behind whose name the model changed while the run asked it."""
    return [
        printable(
            f"warning: {name} was answered by {len(teacher.served)} models or states of one: "
        )
        + printable(", then ".join(teacher.served))
        for name, teacher in teachers.items()
        if len(teacher.served) > 1
    ]


def spend_text(spend: Spend) -> str:
    """What is spent, each with its limit where there is one."""
    tokens = spend.prompt_tokens + spend.completion_tokens
    parts = [
        _of_limit(f"{spend.requests:,}", spend.budget.get("requests"), "requests"),
        _of_limit(f"{tokens:,}", spend.budget.get("tokens"), "tokens"),
        _of_limit(known(spend.usd, ".4f"), spend.budget.get("usd"), "USD"),
    ]
    if (wall_s := spend.budget.get("wall_s")) is not None:
        parts.append(_of_limit(f"{spend.wall_s:,.0f}", wall_s, "s"))
    return ", ".join(parts)


def prices_text(manifest: Manifest) -> list[str]:
    """What the spending was counted with, of teachers that charge; and what is not counted."""
    lines = []
    for name, price in manifest.prices.items():
        if price is None:
            lines.append(
                f"the price of {name} is unknown, so its cost is not counted: give it as "
                f"teachers.{name}.price"
            )
        elif price.prompt or price.completion:
            lines.append(f"{name} costs {price.in_words()}")
        counts = manifest.teachers.get(name, TeacherCounts())
        if counts.cached_prompt_tokens or counts.reasoning_tokens:
            lines.append(
                f"{name}: {counts.cached_prompt_tokens:,} of {counts.prompt_tokens:,} prompt "
                f"tokens were cached at the provider, {counts.reasoning_tokens:,} of "
                f"{counts.completion_tokens:,} completion tokens were reasoning"
            )
    return lines


def rounds_table(rounds: Iterable[RoundRecord]) -> Table:
    """What each round made, and what its student does on dev."""
    table = plain_table(
        "round", "rows made", "rows so far", "accuracy on dev, %", "macro_f1 on dev, %"
    )
    for one in rounds:
        scores = (f"{100 * one.scores[metric]:.2f}" for metric in ("accuracy", "macro_f1"))
        table.add_row(str(one.round), f"{one.rows:,}", f"{one.rows_so_far:,}", *scores)
    return table


def rejections_table(funnel: Mapping[str, StepCounts], examples: Mapping[str, str]) -> Table:
    """Every reason for which rows were lost.

    Args:
        funnel: where they were lost.
        examples: "step reason" -> the detail of one such row.
    """
    table = plain_table("step", "reason", "rows", "for example")
    for name, step in funnel.items():
        for reason, rows in sorted(step.reasons.items(), key=lambda item: (-item[1], item[0])):
            example = printable(examples.get(f"{name} {reason}", ""))
            table.add_row(name, reason, f"{rows:,}", example)
    return table


def sample_text(rows: Iterable[Fields]) -> str:
    """A few rows as JSON, one a line, cut where they get long."""
    return "\n".join(printable(orjson.dumps(dict(row)).decode()) for row in rows)


def places_text(manifest: Manifest, folder: Path) -> str:
    """Where the results are, as far as this run has made them."""
    places = [("rows", "rows in full"), ("dataset", "the dataset")]
    steps = manifest.funnel.values()
    if any(step.rejected for step in steps):
        places.append(("rejected.parquet", "who rejected what, and why"))
    if any(step.discarded for step in steps):
        places.append(("discarded.parquet", "which candidates were lost in rows that live on"))
    if manifest.counts.failed or any(step.failed for step in steps):
        places.append(("failed.parquet", "which rows failed, and how"))
    if manifest.student is not None:
        places.append(("student", "the student"))
    places.append(("manifest.json", "everything above, for programs"))
    width = max(len(str(folder / name)) for name, _ in places)
    return "\n".join(f"{folder / name!s:<{width}}  {what}" for name, what in places)


def simulated_of(teachers: Mapping[str, TeacherCounts]) -> list[str]:
    """The teachers that are simulated."""
    return [name for name, teacher in teachers.items() if teacher.simulated]


def _entered(progress: Progress) -> str:
    if progress.rows_total is None:
        return f"{progress.rows_entered:,} rows"
    return f"{progress.rows_entered:,}/{progress.rows_total:,} rows"


def _auto(teachers: Iterable[TeacherCounts]) -> str:
    """How many may be in the air, where that adapts."""
    limits = [t.concurrency for t in teachers if t.concurrency is not None]
    return f" (auto: {sum(limits):,})" if limits else ""


def _by_count(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {n:,}" for reason, n in ordered)


def _of_limit(spent: str, limit: float | None, unit: str) -> str:
    return f"{spent} {unit}" if limit is None else f"{spent} of {limit:,} {unit}"
