"""`synthkd batch`: what is under way at providers, collected or given up without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkd.cli.app import AsJson, Debug, LedgerUrl, Out, Overrides, PipelineFile, app, reported
from synthkd.errors import UserError

if TYPE_CHECKING:
    from synthkd.ledger.outbox import BatchRecord
    from synthkd.pipeline import Pipeline
    from synthkd.teachers.batches.run import Batches

batch = typer.Typer(
    help="See, collect and give up batches (`mode: batch`).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(batch, name="batch")

SHORTEST_ID = 4
"""Digits by which a batch may be named."""


@batch.command("list")
@reported
def list_batches(
    over: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the batches of a ledger: state, questions, age, what is held for them."""
    import orjson

    from synthkd.flow import run_loop
    from synthkd.folder import LEDGER
    from synthkd.io.paths import ledger_path

    path = ledger_path(ledger or LEDGER)
    if not path.is_file():
        raise UserError(f"there is no ledger at {path}: name one with --ledger")
    found = run_loop(_found(path, over=over))
    typer.echo(orjson.dumps(found).decode() if as_json else _table(found))


@batch.command()
@reported
def collect(
    pipeline: PipelineFile,
    out: Out = None,
    overrides: Overrides = None,
    ledger: LedgerUrl = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until all of them are over.")] = False,
    debug: Debug = False,
) -> None:
    """Bring the answers of batches that are over into the ledger.

    The pipeline says where they are and with which key to ask. Exit code 6: some are under way.
    """
    from synthkd.flow import run_loop
    from synthkd.pipeline import Pipeline

    loaded = Pipeline.load(pipeline, overrides=overrides or (), out=out, ledger=ledger)
    run_loop(_collect(loaded, wait=wait))


@batch.command()
@reported
def cancel(
    pipeline: PipelineFile,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="As `synthkd batch list` shows them, or the start."),
    ] = None,
    all_of_run: Annotated[
        bool, typer.Option("--all", help="All batches of the run in --out.")
    ] = False,
    out: Out = None,
    overrides: Overrides = None,
    ledger: LedgerUrl = None,
    debug: Debug = False,
) -> None:
    """Give batches up: what they have answered is kept, the rest can be asked again or online."""
    from synthkd.flow import run_loop
    from synthkd.pipeline import Pipeline

    if bool(ids) == all_of_run:
        raise UserError("say which batches: their ids, or --all for those of the run in --out")
    loaded = Pipeline.load(pipeline, overrides=overrides or (), out=out, ledger=ledger)
    run_loop(_cancel(loaded, ids or ()))


async def _found(path: Path, *, over: bool) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from synthkd.ledger.sqlite import SqliteLedger

    store = SqliteLedger(path)
    try:
        found = []
        for each in store.outbox.batches(open_only=not over):
            held = store.outbox.held(each.id)
            costs = {"held_usd": held.usd, "held_tokens": held.tokens, "open": held.requests}
            found.append(asdict(each) | costs)
        return found
    finally:
        await store.close()


def _table(found: Sequence[dict[str, Any]]) -> str:
    import time

    from synthkd.teachers.batches.run import age

    if not found:
        return "no batches"
    lines = [
        "batch         status       questions  done     held USD    age      teacher, endpoint"
    ]
    for each in found:
        seconds = time.time() - each["made_s"]
        lines.append(
            f"{each['id'][:12]}  {each['status'] or each['state']:<12} {each['questions']:<10,} "
            f"{each['done'] + each['failed']:<8,} {each['held_usd']:<11.6f} {age(seconds):<8} "
            f"{each['teacher']}, {each['endpoint']}"
            + (f"\n              {each['said']}" if each["said"] else "")
        )
    return "\n".join(lines)


async def _collect(loaded: Pipeline, *, wait: bool) -> None:
    import asyncio
    import time

    from synthkd.errors import WaitingForBatch
    from synthkd.interrupts import interruptible
    from synthkd.teachers.batches.run import in_words
    from synthkd.teachers.closing import GRACE_S

    async def nothing() -> None:
        """Nothing is in the air."""

    async with interruptible(lambda: 0, nothing, GRACE_S), loaded.batches() as batches:
        there = len(batches.under_way)
        while True:
            found = await batches.collect()
            left = batches.under_way
            if found.delayed is not None:
                typer.echo(found.delayed, err=True)
            if not wait or not any(map(batches.reaches, left)):
                break
            await asyncio.sleep(batches.poll_s)
        others = [each for each in left if not batches.reaches(each)]
    typer.echo(f"{there - len(left)} of {there} batches are over and in the ledger")
    if left:
        lines = [f"  {in_words(each, time.time())}" for each in left]
        if others:
            lines.append(
                f"{len(others)} of them were sent where no teacher of {loaded.name} is: name a"
                " pipeline that has one there"
            )
        raise WaitingForBatch("\n".join(["under way:", *lines]), [each.id for each in left])


async def _cancel(loaded: Pipeline, ids: Sequence[str]) -> None:
    async with loaded.batches() as batches:
        meant = _meant(batches, ids, loaded.run_id)
        if not meant:
            typer.echo("this run has no batches under way")
        for each in meant:
            said = await batches.cancel(each)
            typer.echo(f"{each.id[:12]}: {said}")


def _meant(batches: Batches, ids: Sequence[str], run_id: str | None) -> list[BatchRecord]:
    """The batches that are named; without a name, all of the run."""
    there = batches.under_way
    if not ids:
        return [each for each in there if each.run_id == run_id]
    meant = []
    for name in ids:
        fitting = [each for each in there if each.id.startswith(name)]
        if len(fitting) != 1 or len(name) < SHORTEST_ID:
            known = ", ".join(each.id[:12] for each in there) or "none"
            raise UserError(f"{name!r} names {len(fitting)} batches; under way: {known}")
        meant += fitting
    return meant
