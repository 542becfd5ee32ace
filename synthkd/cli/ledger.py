"""`synthkd ledger`: look into a ledger, take entries out of it, write them elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import AsJson, Debug, LedgerUrl, app, reported
from synthkd.errors import LedgerFailed, UserError

if TYPE_CHECKING:
    from synthkd.ledger import Cost
    from synthkd.ledger.removal import Doomed, Used
    from synthkd.ledger.upkeep import Stats, Stored

ledger = typer.Typer(
    help="Look into a ledger, take entries out of it, write them elsewhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(ledger, name="ledger")

Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Only entries with key=PREFIX, model=, served_by=, status=, finish=, before=DAY,"
        " after=DAY or text=WORDS; may be repeated, and then all must hold.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]

STILL_THERE = (
    "datasets that were made of them, which still hold what they say, as do their rejected rows and"
    " their students; take the subject out of the source and run them again:"
)

MANY_KEYS = 10
"""How many keys are named when a prefix fits several."""


@ledger.command()
@reported
def stats(ledger: LedgerUrl = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show what is in it: entries and bytes of each teacher, runs and what they spent."""
    import orjson

    from synthkd.ledger.upkeep import opened
    from synthkd.ledger.upkeep import stats as stats_of

    with opened(_path(ledger)) as store:
        found = stats_of(store)
    typer.echo(orjson.dumps(found.as_json()).decode() if as_json else _table(found))


@ledger.command()
@reported
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key, or its first digits.")],
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show one entry: what was asked, and what was answered."""
    from synthkd.ledger.upkeep import entries, opened
    from synthkd.ledger.where import parse_where

    with opened(_path(ledger)) as store:
        keys: list[str] = []
        shown: list[Stored] = []
        for stored in entries(store, parse_where([f"key={key}"])):
            if stored.entry.key not in keys:
                keys.append(stored.entry.key)
            shown.append(stored)
            if len(keys) > MANY_KEYS:
                break
    if not keys:
        raise UserError(f"no key in {_path(ledger)} begins with {key}")
    if len(keys) > 1:
        listed = "\n  ".join(keys[:MANY_KEYS])
        more = "\n  and more" if len(keys) > MANY_KEYS else ""
        raise UserError(f"several keys begin with {key}: give more digits\n  {listed}{more}")
    for stored in shown:
        typer.echo(stored.as_json().decode() if as_json else _card(stored))


@ledger.command()
@reported
def export(where: Where = None, ledger: LedgerUrl = None, debug: Debug = False) -> None:
    """Write entries as JSON lines to stdout, oldest first."""
    from synthkd.ledger.upkeep import entries, opened
    from synthkd.ledger.where import parse_where

    meant = parse_where(where or ())
    with opened(_path(ledger)) as store:
        for stored in entries(store, meant):
            sys.stdout.buffer.write(stored.as_json() + b"\n")
    sys.stdout.buffer.flush()


@ledger.command()
@reported
def verify(ledger: LedgerUrl = None, debug: Debug = False) -> None:
    """Check the file, every body, every key and every account."""
    from synthkd.ledger.upkeep import opened
    from synthkd.ledger.upkeep import verify as faults_in

    path = _path(ledger)
    with opened(path) as store:
        count = 0
        for fault in faults_in(store):
            count += 1
            typer.echo(fault)
        entries = store.connection.execute("select count(*) from answers").fetchone()[0]
    if count:
        raise LedgerFailed(
            f"the ledger {path} has {count} faults, see above: put a backup in its place, or erase"
            f" the damaged entries (synthkd ledger erase --where key=...), which are then asked"
            f" again; a damaged file can be rescued with `sqlite3 {path} .recover`"
        )
    typer.echo(f"{path} is sound: {entries} entries")


@ledger.command()
@reported
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Bought longer ago than this: 90d, 12h.")
    ] = None,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    ledger: LedgerUrl = None,
    debug: Debug = False,
) -> None:
    """Take entries out to make room; runs that need them would have to buy them again."""
    from synthkd.ledger.removal import alone, doom, remove
    from synthkd.ledger.upkeep import opened
    from synthkd.ledger.where import parse_where

    conditions = [*(where or ()), *([] if older_than is None else [f"before={older_than}"])]
    if not conditions:
        raise UserError("say which entries: --older-than 90d, or --where NAME=VALUE")
    meant = parse_where(conditions)
    with (opened if dry_run else alone)(_path(ledger)) as store:
        doomed = doom(store, meant)
        typer.echo(f"{'would prune' if dry_run else 'pruning'} {_amount(doomed)}")
        if dry_run or not doomed.entries:
            return
        _ask(yes)
        typer.echo(f"the file is {_size(remove(store))} smaller")


@ledger.command()
@reported
def erase(
    where: Where = None,
    datasets: Annotated[
        list[Path] | None,
        typer.Option(
            "--dataset",
            metavar="DIR",
            help="A run folder to look into, besides those this ledger knows; may be repeated.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    ledger: LedgerUrl = None,
    debug: Debug = False,
) -> None:
    """Take a subject's entries out for good, and name the datasets that were made of them."""
    from synthkd.ledger.removal import alone, datasets_of, doom, doom_letters, remove
    from synthkd.ledger.upkeep import opened
    from synthkd.ledger.where import parse_where

    if not where:
        raise UserError('say which entries: --where text="Ada Lovelace", or --where key=...')
    meant = parse_where(where)
    path = _path(ledger)
    with (opened if dry_run else alone)(path) as store:
        doomed = doom_letters(store, meant, doom(store, meant))
        typer.echo(f"{'would erase' if dry_run else 'erasing'} {_amount(doomed)}")
        typer.echo(_uses(*datasets_of(store, datasets or ())))
        if dry_run:
            return
        _ask(yes)
        # Also when nothing is meant any more: an erasure that was cut short may have left traces.
        remove(store)
        typer.echo(f"nothing of them is left in {path}; copies of the file are not this command's")


def _path(url: str | None) -> Path:
    from synthkd.folder import LEDGER
    from synthkd.io.paths import ledger_path

    return ledger_path(url or LEDGER)


def _ask(yes: bool) -> None:
    if not yes and not typer.confirm("go on?"):
        raise UserError("nothing was changed")


def _table(stats: Stats) -> str:
    entries = sum(share.entries for share in stats.teachers)
    raw = sum(share.raw_bytes for share in stats.teachers)
    stored = sum(share.stored_bytes for share in stats.teachers)
    lines = [
        f"{stats.path}: {entries} entries, {_size(stats.file_bytes)}",
        f"bodies {_size(raw)}, packed into {_size(stored)}"
        + (f" ({stored / raw:.0%})" if raw else "")
        + f", {stats.dictionaries} dictionaries",
        "",
        "entries  refused  packed    from        to          model, served by",
    ]
    lines += [
        f"{share.entries:<8} {share.refusals:<8} {_size(share.stored_bytes):<9} "
        f"{_day(share.oldest_s):<11} {_day(share.newest_s):<11} "
        f"{share.model or 'not known'}, {share.served_by or 'not known'}"
        for share in stats.teachers
    ]
    lines += ["", "requests  tokens      usd          seconds   opened      run"]
    lines += [
        f"{run.spent.requests:<9} {run.spent.tokens:<11} {_usd(run.spent):<12} {run.wall_s:<9.0f} "
        f"{_day(run.opened_s):<11} {run.folder or run.run_id}"
        + (f" (held: {run.held.requests} requests)" if run.held.requests else "")
        for run in stats.runs
    ]
    return "\n".join(lines)


def _usd(spent: Cost) -> str:
    """A price that nobody knew was not counted, and neither was one of nothing."""
    return f"{spent.usd:.6f}" if spent.nano_usd or not spent.requests else "not counted"


def _card(stored: Stored) -> str:
    entry, question = stored.entry, stored.question
    limit = "no limit" if entry.max_tokens is None else f"at most {entry.max_tokens} tokens"
    ended = entry.finish or "refused"
    lines = [
        f"key      {entry.key}",
        f"bought   {_moment(stored.created_s)}, {limit}",
        f"outcome  {entry.status}, {ended}, {entry.completion_tokens} tokens",
    ]
    if question is None:
        lines.append("asked    not kept: bought by an earlier version")
    else:
        lines.append(f"by       {question.served_by}")
        lines += ["", "asked", _pretty(question.asked)]
    return "\n".join([*lines, "", "answered", _pretty(entry.reply), ""])


def _pretty(body: bytes) -> str:
    import orjson

    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _amount(doomed: Doomed) -> str:
    asked = f", {doomed.letters} questions in the outbox" if doomed.letters else ""
    if doomed.under_way:
        asked += f" ({doomed.under_way} of them a provider has: what it answers is thrown away)"
    return f"{doomed.entries} entries{asked}, {_size(doomed.stored_bytes)}"


def _uses(used: list[Used], gone: list[str]) -> str:
    lines = [
        f"  {each.folder}: {len(each.rows)} rows, {', '.join(each.rows[:3])}"
        + (", ..." if len(each.rows) > 3 else "")
        for each in used
    ]
    head = STILL_THERE if lines else "no dataset that is known was made of them"
    missing = [f"  {place}" for place in gone]
    if missing:
        missing.insert(0, "not looked into, because they are not there any more:")
    return "\n".join([head, *lines, *missing])


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1_000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} GB"


def _day(seconds: int | None) -> str:
    return "not known" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _moment(seconds: int | None) -> str:
    if seconds is None:
        return "at a time that was not kept"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
