"""`synthkd compare`: two results on the same rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from synthkd.cli.app import AsJson, Debug, app, print_json, reported
from synthkd.errors import UserError


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
    from synthkd.evaluate.comparison import Entry, compare_results
    from synthkd.evaluate.predictions import read_predictions
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
