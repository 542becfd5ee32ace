"""The command line: a thin skin over `synthkd.pipeline`, and the exit codes.

    0    done
    1    a bug in synthkd
    2    the user's mistake: nothing spent
    3    the budget is reached
    4    too many rows failed or were rejected, or the account does not add up
    5    the teacher refuses for good
    7    the disk or the ledger cannot be written or read
    130  interrupted

Heavy imports stand inside the commands, so that `synthkd --help` answers at once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
import typing
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from synthkd.errors import RunStopped, SourceError, SynthkdError

if TYPE_CHECKING:
    from synthkd.manifest import Manifest, Record
    from synthkd.steps import AnyStep

P = ParamSpec("P")

app = typer.Typer(
    help="Distil a teacher that can only be talked to into a dataset and a student that you own.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help and plain tracebacks: rich ones cost start-up time, and show local variables.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

PipelineFile = Annotated[Path, typer.Argument(metavar="PIPELINE", help="A pipeline file (YAML).")]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a finished run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override one value of the file; may be repeated."),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the results go; by default data/out/NAME."),
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where answers are kept; by default .synthkd/ledger.sqlite."),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Use the first N rows of the source.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Answer from the ledger alone; nothing is asked.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")]


def main() -> None:
    """The entry point of the `synthkd` command."""
    # Arrow's default allocator keeps 20 MB more than it uses; read when pyarrow is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    app(prog_name="synthkd")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into a message for people and an exit code for programs."""

    @functools.wraps(command)
    def report(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            _explain("interrupted: run the same command again to resume", kwargs)
            raise typer.Exit(130) from None
        except SynthkdError as error:
            hint = "\nrun the same command again to resume" if isinstance(error, RunStopped) else ""
            _explain(f"{error}{hint}", kwargs)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            raise  # the reader has gone away, as in `synthkd show DIR | head`; typer ends quietly
        except Exception:  # noqa: BLE001  the outermost frame: shown in full and reported as a bug
            _explain(
                "this is a bug in synthkd: please report it with the lines above", {"debug": 1}
            )
            raise typer.Exit(1) from None

    return report


def _explain(message: str, options: dict[str, Any]) -> None:
    """Say on stderr what happened; the traceback comes first, so that the message is seen last."""
    if options.get("debug"):
        traceback.print_exc()
    typer.echo(message, err=True)


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
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a pipeline; running it again resumes it, and buys nothing twice."""
    from synthkd.display import console_for, summary, watch
    from synthkd.pipeline import Pipeline

    loaded = Pipeline.load(pipeline, overrides=overrides or (), out=out, ledger=ledger, limit=limit)
    console = console_for(sys.stderr if as_json else sys.stdout)
    with watch(console, quiet=quiet) as on_progress:
        manifest = loaded.run_sync(
            offline=offline, retry_failed=retry_failed, on_progress=on_progress
        )
    if as_json:
        _print_json(manifest)
    elif not quiet:
        console.print(summary(manifest, loaded.out))


@app.command()
@reported
def plan(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    limit: Limit = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a run would ask and cost, before anything is spent."""
    import orjson

    from synthkd.pipeline import Pipeline

    forecast = Pipeline.load(pipeline, overrides=overrides or (), limit=limit).plan()
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

    console = console_for(sys.stdout)
    stopped = read_stopped(folder)
    if stopped is not None:
        if as_json:
            _print_json(stopped)
            return
        console.print(stopped_view(stopped))
        console.print(rejections_table(stopped.funnel, _examples(folder / "stopped")))
        if not (folder / "manifest.json").exists():
            return
        console.print("an earlier run in this folder is complete:")
    manifest = read_manifest(folder)
    if as_json:
        _print_json(manifest)
        return
    console.print(summary(manifest, folder))
    if any(step.reasons for step in manifest.funnel.values()):
        console.print(rejections_table(manifest.funnel, _examples(folder)))
    if samples := _first_rows(folder / "dataset" / "train.jsonl", rows):
        console.print(sample_text(samples), soft_wrap=True)


@app.command()
@reported
def train(
    folder: RunFolder,
    overrides: Overrides = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train the student again on the rows of a run, with other settings if you like."""
    from synthkd.pipeline import Pipeline

    pipeline = Pipeline.reopen(folder, overrides=overrides or ())
    _again(pipeline.train, pipeline.out, offline=offline, quiet=quiet, as_json=as_json)


@app.command("eval")
@reported
def evaluate(
    folder: RunFolder,
    overrides: Overrides = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare base, teachers and student again on the rows that a run held out."""
    from synthkd.pipeline import Pipeline

    pipeline = Pipeline.reopen(folder, overrides=overrides or ())
    _again(pipeline.evaluate, pipeline.out, offline=offline, quiet=quiet, as_json=as_json)


@app.command()
@reported
def steps(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One step.")] = None,
    debug: Debug = False,
) -> None:
    """List the steps that exist, or one step's settings."""
    from synthkd.steps import find_step, step_modules

    if name is not None:
        typer.echo(_described(find_step(name)))
        return
    known = sorted(step_modules())
    width = max(map(len, known))
    for each in known:
        typer.echo(f"{each:<{width}}  {_first_line(find_step(each).about)}")


@app.command()
def version() -> None:
    """Print the version."""
    from synthkd import __version__

    typer.echo(__version__)


def _again(
    stage: Callable[..., Coroutine[Any, Any, Manifest]],
    folder: Path,
    *,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a stage of a complete run with the display, and show what came of it."""
    from synthkd.display import console_for, summary, watch
    from synthkd.flow import run_loop

    console = console_for(sys.stderr if as_json else sys.stdout)
    with watch(console, quiet=quiet) as on_progress:
        manifest = run_loop(stage(offline=offline, on_progress=on_progress))
    if as_json:
        _print_json(manifest)
    elif not quiet:
        console.print(summary(manifest, folder))


def _print_json(record: Record) -> None:
    typer.echo(record.model_dump_json(indent=2))


def _first_rows(path: Path, rows: int) -> list[dict[str, Any]]:
    """The first rows of a JSONL file, which may be far too large to read whole."""
    import itertools

    import orjson

    with path.open("rb") as lines:
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
        if not path.exists():
            raise SourceError(f"{path}: missing, though {folder} is a finished run; run it again")
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    step, reason, detail = (row[column] for column in columns)
                    found.setdefault(f"{step} {reason}", detail or "")
    return found


def _described(step: AnyStep) -> str:
    """A step's documentation: what it does, its fields, its settings."""
    from synthkd.steps import Step

    kind = "row step" if isinstance(step, Step) else "table step: sees all rows at once"
    lines = [f"{step.name} ({kind})", "", step.about, ""]
    lines += [f"needs  {_fields(step.needs)}", f"gives  {_fields(step.gives)}", "", "with:"]
    for name, field in step.config.model_fields.items():
        default = "required" if field.is_required() else f"default {_yaml(field.get_default())}"
        kind = " ".join([_type_text(field.annotation), *map(_bound, field.metadata)]).strip()
        lines.append(f"  {name}: {kind}, {default}")
        if field.description:
            lines += [f"      {line}" for line in field.description.splitlines()]
    return "\n".join(lines)


def _fields(names: Any) -> str:
    return "depends on the settings" if callable(names) else ", ".join(names) or "nothing"


def _type_text(annotation: Any) -> str:
    """A type as YAML's reader knows it: `number | "auto"` rather than a Python expression."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return " ".join([_type_text(args[0]), *map(_bound, args[1:])]).strip()
    if origin in {typing.Union, UnionType}:
        return " | ".join(map(_type_text, args))
    if origin is typing.Literal:
        return " | ".join(map(repr, args))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type_text, args))}]"
    if annotation in {NoneType, ...}:
        return "null" if annotation is NoneType else "..."
    return getattr(annotation, "__name__", str(annotation))


def _yaml(value: object) -> str:
    """A default as one would write it into a pipeline file."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _bound(constraint: object) -> str:
    """A limit on a value, such as `>= 1`; nothing for what a person need not know."""
    for name, sign in {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}.items():
        if (limit := getattr(constraint, name, None)) is not None:
            return f"{sign} {limit}"
    return ""


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
