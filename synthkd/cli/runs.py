"""The commands around a run: `run`, `plan`, `show`, `train`; a skin over `Pipeline`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkd.cli.app import (
    AsJson,
    Debug,
    LedgerUrl,
    Limit,
    Offline,
    Out,
    Overrides,
    PipelineFile,
    Quiet,
    RunFolder,
    app,
    print_json,
    reported,
)
from synthkd.errors import SourceError

if TYPE_CHECKING:
    from synthkd.manifest import Manifest
    from synthkd.running import Tell


@app.command()
@reported
def run(
    pipeline: PipelineFile,
    out: Out = None,
    overrides: Overrides = None,
    ledger: LedgerUrl = None,
    limit: Limit = None,
    offline: Offline = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what the teacher refused before.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until batches are done (`mode: batch`).")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a pipeline; running it again resumes it, and buys nothing twice."""
    from synthkd.pipeline import Pipeline

    loaded = Pipeline.load(pipeline, overrides=overrides or (), out=out, ledger=ledger, limit=limit)
    stage = functools.partial(
        loaded.run_sync, offline=offline, retry_failed=retry_failed, wait=wait
    )
    _carry_out(stage, loaded.out, quiet=quiet, as_json=as_json)


@app.command()
@reported
def plan(
    pipeline: PipelineFile,
    out: Out = None,
    overrides: Overrides = None,
    limit: Limit = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a run would ask and cost, before anything is spent; online, in batches, locally.

    A run that DIR holds already says how fast its teachers were.
    """
    import orjson

    from synthkd.pipeline import Pipeline

    forecast = Pipeline.load(pipeline, overrides=overrides or (), out=out, limit=limit).plan()
    typer.echo(orjson.dumps(forecast.as_json()).decode() if as_json else forecast.table())


@app.command()
@reported
def show(
    folder: RunFolder,
    rows: Annotated[int, typer.Option(min=0, help="How many rows of the dataset to show.")] = 3,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a run: account, funnel, spend, sample rows, rejections, evaluation, why it stopped."""
    from synthkd.display import console_for, rejections_table, sample_text, stopped_view, summary
    from synthkd.pipeline import read_manifest, read_stopped
    from synthkd.scoreboard import trial_view
    from synthkd.trial import read_trial

    console = console_for(sys.stdout)
    stopped = read_stopped(folder)
    if stopped is not None:
        if as_json:
            print_json(stopped)
            return
        console.print(stopped_view(stopped))
        console.print(rejections_table(stopped.funnel, _examples(folder / "stopped")))
        if not (folder / "manifest.json").exists():
            return
        console.print("an earlier run in this folder is complete:")
    if not (folder / "manifest.json").exists() and (trial := read_trial(folder)) is not None:
        if as_json:
            print_json(trial)
        else:
            console.print(trial_view(trial, folder))
        return
    manifest = read_manifest(folder)
    if as_json:
        print_json(manifest)
        return
    console.print(summary(manifest, folder))
    if any(step.reasons for step in manifest.funnel.values()):
        console.print(rejections_table(manifest.funnel, _examples(folder)))
    if samples := _first_rows(folder, rows):
        console.print(sample_text(samples), soft_wrap=True)


@app.command()
@reported
def train(
    folder: RunFolder,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="As many students, alike but for their seed."),
    ] = None,
    overrides: Overrides = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train the student again on the rows of a run, with other settings if you like.

    A student that would come out the same is kept, so more --seeds train the new ones alone.
    """
    from synthkd.pipeline import Pipeline

    named = [] if seeds is None else [f"student.seeds={seeds}"]
    pipeline = Pipeline.reopen(folder, overrides=[*(overrides or ()), *named])
    again(pipeline.train, pipeline.out, offline=offline, quiet=quiet, as_json=as_json)


def again(
    stage: Callable[..., Coroutine[Any, Any, Manifest]],
    folder: Path,
    *,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a stage of a complete run, and show what came of it."""
    from synthkd.flow import run_loop

    def run(on_progress: Tell | None = None) -> Manifest:
        return run_loop(stage(offline=offline, on_progress=on_progress))

    _carry_out(run, folder, quiet=quiet, as_json=as_json)


def _carry_out(stage: Callable[..., Manifest], folder: Path, *, quiet: bool, as_json: bool) -> None:
    """Run with the display, and show what came of it."""
    if quiet:  # without the display, which takes a tenth of a second to import
        manifest = stage()
        if as_json:
            print_json(manifest)
        return
    from synthkd.display import console_for, summary, watch

    console = console_for(sys.stderr if as_json else sys.stdout)
    with watch(console) as on_progress:
        manifest = stage(on_progress=on_progress)
    if as_json:
        print_json(manifest)
    else:
        console.print(summary(manifest, folder))


def _first_rows(folder: Path, rows: int) -> list[dict[str, Any]]:
    """The first rows of the dataset, which may be far too large to read whole."""
    import itertools

    import orjson

    path = folder / "dataset" / "train.jsonl"
    with _of_a_finished_run(path), path.open("rb") as lines:
        return [orjson.loads(line) for line in itertools.islice(lines, rows)]


def _examples(folder: Path) -> dict[str, str]:
    """For each step and reason, what the first such row said; batch by batch, never whole."""
    import pyarrow.parquet

    found: dict[str, str] = {}
    for name, columns in (
        ("rejected.parquet", ["step", "reason", "detail"]),
        ("failed.parquet", ["step", "error", "message"]),
    ):
        path = folder / name
        with _of_a_finished_run(path), pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    step, reason, detail = (row[column] for column in columns)
                    found.setdefault(f"{step} {reason}", detail or "")
    return found


@contextmanager
def _of_a_finished_run(path: Path) -> Iterator[None]:
    """Say which file of a run is missing or damaged."""
    try:
        yield
    except (OSError, ValueError) as error:  # Arrow and orjson raise ValueErrors of their own
        raise SourceError(
            f"{path}: missing or damaged, though it belongs to a finished run ({error}); run it"
            " again"
        ) from error
