"""`synthkd job`: the fine-tuning job of a hosted student that is not trained yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import Debug, app, reported
from synthkd.errors import UserError

if TYPE_CHECKING:
    from synthkd.students.hosted.job import JobFile

job = typer.Typer(
    help="See and give up the fine-tuning job of a hosted student (`kind: hosted`).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(job, name="job")

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of a run whose student is being trained.")
]


@job.command()
@reported
def show(folder: Folder, debug: Debug = False) -> None:
    """Show how the job stands at the provider, and its last events."""
    from synthkd.flow import run_loop

    typer.echo(run_loop(_shown(_begun(folder))))


@job.command()
@reported
def cancel(folder: Folder, debug: Debug = False) -> None:
    """Stop the job. What is trained by now is billed; running again makes a new job."""
    from synthkd.flow import run_loop
    from synthkd.folder import alone_in
    from synthkd.students.hosted.job import give_up
    from synthkd.students.hosted.provider import open_jobs

    begun = _begun(folder)

    async def given_up() -> str:
        async with open_jobs(begun.config) as provider:
            return await give_up(_work(folder), provider, begun)

    with alone_in(folder):
        typer.echo(run_loop(given_up()))


async def _shown(begun: JobFile) -> str:
    from synthkd.students.hosted.provider import open_jobs

    if begun.job_id is None:
        return "no job is known to be made: run again to go on"
    async with open_jobs(begun.config) as provider:
        status = await provider.look(begun.job_id)
        if status is None:
            return f"{provider.label} knows no job {begun.job_id}"
        events = await provider.news(begun.job_id, None)
    tokens = "" if status.trained_tokens is None else f", {status.trained_tokens:,} tokens billed"
    lines = [f"{status.id} at {begun.config.endpoint}: {status.status}{tokens}"]
    lines += [f"  {message}" for _, message in events[-10:]]
    return "\n".join([*lines, *filter(None, [status.fault, status.model])])


def _begun(folder: Path) -> JobFile:
    from synthkd.students.hosted.job import read_job

    begun = read_job(_work(folder))
    if begun is None:
        raise UserError(f"{folder}: no fine-tuning job is under way for a student here")
    return begun


def _work(folder: Path) -> Path:
    from synthkd.folder import LEARNING, TRAINED

    return folder / TRAINED / LEARNING
