"""`synthkd audit`: rows are shown one by one, a person says which are good."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from synthkd.cli.app import Debug, RunFolder, app, reported
from synthkd.errors import SourceError, UserError
from synthkd.rows import Json

if TYPE_CHECKING:
    from synthkd.audit.labels import About, Reviewer, Said
    from synthkd.audit.sample import Sample, Shown
    from synthkd.audit.standing import Standing
    from synthkd.manifest import Manifest

KEYS: dict[str, Said | None] = {
    "y": "good",
    "n": "bad",
    "e": "edited",
    "s": "skipped",
    "q": None,
}
EVERY = 5
"""Each fifth row that is shown is a rejected one: enough to see whether good rows are lost."""
MAX_CHARS = 4000
"""Of a field that are shown; an edit sees all."""


@app.command()
@reported
def audit(
    folder: RunFolder,
    precision: Annotated[
        float, typer.Option(help="The share of good rows that is to be shown, below 1.")
    ] = 0.95,
    risk: Annotated[float, typer.Option(help="How likely what is said may be wrong.")] = 0.05,
    reviewer: Annotated[str, typer.Option(metavar="NAME", help="Who labels.")] = "reviewer",
    field: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="What is shown; by default what is exported."),
    ] = None,
    edit: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="What `e` edits; by default the last field shown."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the order of the rows.")] = 0,
    report: Annotated[
        bool, typer.Option("--report", help="Show no rows: say how things stand.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Label a random sample of a run's rows until its precision is shown, or cannot be.

    y good, n not good, e edit, s skip (it comes back next time), q quit; running again goes on.
    Stop whenever you like: what is said holds at every moment.
    """
    from synthkd.audit.card import write_audit
    from synthkd.audit.labels import Reviewer, open_audit, reviewers_of
    from synthkd.audit.standing import in_words, standing_of

    _check(precision, risk)
    manifest, sample, about = _opened(folder, precision, risk, seed)
    names = _fields(manifest, field or [], sample)
    if edit is not None and edit not in names:
        names = [*names, edit]
    who = Reviewer(folder, reviewer)
    about = open_audit(folder, about)

    for shown in () if report else _to_show(sample, who):
        # Each reviewer goes on until his own labels decide: what others said is not his to see.
        mine = standing_of(about, sample.kept, sample.rejected, {reviewer: who.said})
        if mine.verdict != "open" or not _label(shown, who, names, edit or names[-1], mine):
            break
    everybody = {**reviewers_of(folder), reviewer: who.said}
    lines = in_words(standing_of(about, sample.kept, sample.rejected, everybody))
    for line in lines:
        typer.echo(line)
    write_audit(folder, manifest, lines)


def _check(precision: float, risk: float) -> None:
    if not 0 < precision < 1:
        raise UserError(f"--precision must be above 0 and below 1, got {precision:g}")
    if not 0 < risk < 1:
        raise UserError(f"--risk must be above 0 and below 1, got {risk:g}")


def _opened(
    folder: Path, precision: float, risk: float, seed: int
) -> tuple[Manifest, Sample, About]:
    from synthkd.audit.labels import About
    from synthkd.audit.sample import Sample
    from synthkd.folder import check_unchanged, read_manifest
    from synthkd.io.rows_file import REJECTED, ROWS

    manifest = read_manifest(folder)
    check_unchanged(folder, manifest, (ROWS.as_posix(), REJECTED.as_posix()))
    sample = Sample(folder, manifest, seed)
    if not sample.kept:
        raise UserError(f"{folder}: no row was kept, so there is nothing to audit")
    about = About(
        precision=precision,
        risk=risk,
        seed=seed,
        rows_sha256=manifest.files[ROWS.as_posix()],
        kept=len(sample.kept),
        rejected=len(sample.rejected),
    )
    return manifest, sample, about


def _fields(manifest: Manifest, named: Sequence[str], sample: Sample) -> list[str]:
    """What is shown of a row: what is exported, or all."""
    first = next(sample.kept_rows()).fields
    if missing := [name for name in named if name not in first]:
        raise UserError(f"--field: rows have no {missing[0]!r}; they have {', '.join(first)}")
    export = manifest.config["export"]
    texts = [export.get(name) for name in ("system", "prompt", "completion", "chosen", "rejected")]
    exported = [name for name in texts if name in first] if export["format"] != "rows" else []
    return [*named] or exported or [*first]


def _to_show(sample: Sample, who: Reviewer) -> Iterator[Shown]:
    """What this reviewer has not labelled, as drawn; each fifth is a rejected row."""
    done: dict[str, set[str]] = {"kept": set(), "rejected": set()}
    for (side, key), said in who.said.items():
        if said != "skipped":
            done[side].add(key)
    kept, lost = sample.kept_rows(done["kept"]), sample.rejected_rows(done["rejected"])
    for number, shown in enumerate(kept, start=1):
        yield shown
        if number % (EVERY - 1) == 0:
            try:
                yield from _one(lost)
            except SourceError as error:
                typer.echo(f"no rejected rows are shown: {error}", err=True)
                lost = iter(())


def _one(rows: Iterator[Shown]) -> Iterator[Shown]:
    if (shown := next(rows, None)) is not None:
        yield shown


def _label(shown: Shown, who: Reviewer, names: list[str], edited: str, now: Standing) -> bool:
    """Show a row and take a label; False = the reviewer goes."""
    _show(shown, names, now)
    while True:
        key = _key("good? [y]es [n]o [e]dit [s]kip [q]uit ")
        if key not in KEYS:
            typer.echo(f"{key!r} is none of {' '.join(KEYS)}")
            continue
        said = KEYS[key]
        if said is None:
            return False
        if said == "edited":
            if shown.side == "rejected" or edited not in shown.fields:
                typer.echo("there is nothing to edit in it: y, n or s")
                continue
            text = _edited(_text(shown.fields[edited]), edited)
            if text is None:
                typer.echo("unchanged: y, n or s")
                continue
            who.edit(shown.key, edited, shown.fields, text)
        who.say(shown.side, shown.key, said)
        return True


def _show(shown: Shown, names: Sequence[str], now: Standing) -> None:
    part = now.kept.share
    typer.echo(
        f"\n--- {now.kept.counted()}; {now.kept.good} good; {part.low:.1%} to"
        f" {part.high:.1%} of all, {now.about.precision:.1%} wanted"
    )
    if shown.side == "rejected":
        typer.echo(f"REJECTED by {printable_text(shown.why)}: would it have been good?")
        names = [*shown.fields]
    for name in names:
        if name in shown.fields:
            typer.echo(printable_text(f"[{name}]"))
            typer.echo(printable_text(_text(shown.fields[name])))
    if not shown.fields:
        typer.echo("its row is not in the source any more: skip it")


def printable_text(text: str) -> str:
    """The text without what a terminal would act upon, cut where it gets long."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text[:MAX_CHARS])
    more = len(text) - MAX_CHARS
    return shown if more <= 0 else f"{shown}\n[... {more} characters more]"


def _text(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _key(question: str) -> str:
    """One key on a terminal, else a line; the end of the input quits."""
    typer.echo(question, nl=False)
    if sys.stdin.isatty():
        try:
            key = (typer.getchar() or "").lower()
        except (EOFError, OSError, RuntimeError):  # Ctrl-D, or the terminal is gone (click's two)
            key = ""
        typer.echo(printable_text(key))
        return key or "q"
    line = _line()
    typer.echo()
    return line.strip().lower() if line else "q"


def _line() -> str:
    """A line of the input; "" = there is no more."""
    try:
        return sys.stdin.readline()
    except OSError as error:  # the terminal is gone, or belongs to another process
        typer.echo(f"the input cannot be read: {error.strerror or error}", err=True)
        return ""


def _edited(text: str, field: str) -> str | None:
    """The reviewer's text: from his editor on a terminal, else lines up to one with a dot alone."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if sys.stdin.isatty() and editor:
        try:
            new = edited_with(editor, text)
        except (OSError, ValueError) as error:
            typer.echo(f"no text came out of the editor {editor!r}: {error}")
            return None
    else:
        typer.echo(printable_text(f"the new {field}, then a line with nothing but a dot:"))
        lines: list[str] = []
        while (line := _line()).strip("\n") != ".":
            if not line:
                typer.echo("the input has ended before the dot")
                return None
            lines.append(line)
        new = "".join(lines).removesuffix("\n")
        if not is_text(new):
            typer.echo("that is not UTF-8")
            return None
    return None if new == text or not new.strip() else new


def edited_with(editor: str, text: str) -> str:
    """The text as it comes out of the reviewer's own editor.

    Raises:
        OSError: there is no such editor, or it has taken the file away.
        ValueError: its name cannot be read, or what it has written is not UTF-8.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "text.txt"  # not after the field: that may have any name
        file.write_text(text, encoding="utf-8")
        subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603  the user's own editor
        return file.read_text(encoding="utf-8").removesuffix("\n")


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8; bytes from a terminal may not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
