"""`synthkd eval` and `synthkd compare`: figures on held-out rows, and two results side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import (
    AsJson,
    Debug,
    LedgerUrl,
    Limit,
    Offline,
    Overrides,
    Quiet,
    app,
    print_json,
    reported,
)
from synthkd.cli.runs import again
from synthkd.errors import UserError

if TYPE_CHECKING:
    from synthkd.trial import Trial


@app.command("eval")
@reported
def evaluate(
    target: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="The folder of a run, or a pipeline file.")
    ],
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Held-out rows (JSONL, CSV, Parquet, or a dataset)."),
    ] = None,
    student: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Examine the student, or the model, in this folder."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Examine this teacher of the file; may be repeated."),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Examine the --model that answers there.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Of --endpoint.")] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Of --endpoint: the variable with its key."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where results go; by default data/out/NAME.eval."),
    ] = None,
    overrides: Overrides = None,
    ledger: LedgerUrl = None,
    limit: Limit = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure on held-out rows: a run's folder again, or whoever you name by a pipeline file.

    Of a FILE, all rows of its source are asked about (those held out, where it holds some out), and
    nothing is made of them. Examined are the teachers of `evaluate.ask`, or, if you name any,
    those alone.
    """
    from synthkd.examinees import Named

    named = Named(
        student=student,
        teachers=tuple(teacher or ()),
        endpoint=endpoint,
        model=model,
        api_key_env=api_key_env,
    )
    if target.is_dir():
        if rows or out or ledger or limit or named != Named():
            raise UserError(
                f"{target}: is the folder of a run, whose own comparison is made again. For other"
                " rows or somebody else name a pipeline file: synthkd eval FILE.yaml --student"
                f" {target} --rows ROWS"
            )
        from synthkd.pipeline import Pipeline

        pipeline = Pipeline.reopen(target, overrides=overrides or ())
        again(pipeline.evaluate, pipeline.out, offline=offline, quiet=quiet, as_json=as_json)
        return
    from synthkd.trial import Trial

    trial = Trial.load(
        target,
        named,
        rows=rows,
        overrides=overrides or (),
        out=out,
        ledger=ledger,
        limit=limit,
    )
    _carry_out(trial, offline=offline, quiet=quiet, as_json=as_json)


def _carry_out(trial: Trial, *, offline: bool, quiet: bool, as_json: bool) -> None:
    """Evaluate with the display, and show what came of it."""
    from synthkd.flow import run_loop

    if quiet:  # without the display, which takes a tenth of a second to import
        record = run_loop(trial.carry_out(offline=offline))
        if as_json:
            print_json(record)
        return
    from synthkd.display import console_for, watch
    from synthkd.scoreboard import trial_view

    console = console_for(sys.stderr if as_json else sys.stdout)
    with watch(console) as on_progress:
        record = run_loop(trial.carry_out(offline=offline, on_progress=on_progress))
    if as_json:
        print_json(record)
    else:
        console.print(trial_view(record, trial.out))


@app.command()
@reported
def compare(
    first: Annotated[
        Path,
        typer.Argument(metavar="A", help="The folder of a run or an evaluation, or a file of it."),
    ],
    second: Annotated[
        Path,
        typer.Argument(metavar="B", help="The other one; the same again, to compare within it."),
    ],
    who_a: Annotated[
        str | None, typer.Option("--a", metavar="NAME", help="Who of A; by default the student.")
    ] = None,
    who_b: Annotated[
        str | None, typer.Option("--b", metavar="NAME", help="Who of B; by default the student.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="By this metric; may be repeated; by default by all."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparison as JSON, too.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=1, max=100_000, help="Draws behind each end of an interval.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare two results on the rows that both have: which is ahead, and is it chance?

    Nothing is asked: the answers were kept in predictions.parquet.
    """
    from synthkd.evaluate.predictions import read_predictions
    from synthkd.evaluate.two_results import Entry, compare_results
    from synthkd.io.atomic import atomic_file

    entries = [
        Entry(place=str(place), found=read_predictions(file_of(place)), who=who)
        for place, who in ((first, who_a), (second, who_b))
    ]
    comparison = compare_results(*entries, metrics=metric, resamples=bootstrap, seed=seed)
    if out is not None:
        with atomic_file(out) as file:
            file.write(f"{comparison.model_dump_json(indent=2)}\n".encode())
    if as_json:
        print_json(comparison)
        return
    from synthkd.display import console_for
    from synthkd.scoreboard import comparison_view

    console_for(sys.stdout).print(comparison_view(comparison))


def file_of(place: Path) -> Path:
    """The predictions that a person means by a folder, or by a file in it.

    Raises:
        UserError: there is nothing of that name, or nothing was evaluated there.
    """
    from synthkd.folder import PREDICTIONS

    if place.suffix == ".parquet":
        return place
    folder = place if place.is_dir() else place.parent
    if not place.exists():
        raise UserError(f"{place}: there is no such file or folder")
    if not (folder / PREDICTIONS).exists():
        raise UserError(
            f"{folder}: holds no {PREDICTIONS}: nothing was evaluated there, or by an older"
            " version: `synthkd eval` writes it, and asks nothing that the ledger has"
        )
    return folder / PREDICTIONS
