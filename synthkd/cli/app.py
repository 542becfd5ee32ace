"""The application that every command registers with, and what all commands share.

    0    done
    1    a bug in synthkd
    2    the user's mistake: nothing spent
    3    the budget is reached
    4    too many rows failed or were rejected, or the account does not add up
    5    the teacher refuses for good
    6    waiting for a batch: run again, or with --wait
    7    the disk or the ledger cannot be written or read
    130  interrupted

Heavy imports stand inside the commands, so that `synthkd --help` answers at once.
"""

from __future__ import annotations

import errno
import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from synthkd.errors import (
    DiskFailed,
    Interrupted,
    RunStopped,
    SynthkdError,
    TooManyLost,
    UserError,
    WaitingForBatch,
)
from synthkd.text import escaped

if TYPE_CHECKING:
    from synthkd.manifest import Record

P = ParamSpec("P")

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""What a full disk, or a terminal that is gone, says without the name of a file."""

app = typer.Typer(
    help="Distil a teacher that can only be talked to into a dataset and a student that you own.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help and plain tracebacks: rich ones cost start-up time, and show local variables.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

PipelineFile = Annotated[Path, typer.Argument(metavar="PIPELINE", help="A pipeline file (YAML).")]
RunFolder = Annotated[
    Path,
    typer.Argument(metavar="DIR", file_okay=False, help="The folder of a finished run."),
]
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


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into a message for people and an exit code for programs."""

    @functools.wraps(command)
    def report(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (KeyboardInterrupt, Interrupted):
            _explain("interrupted: run the same command again to resume", kwargs)
            raise typer.Exit(130) from None
        except typer.Abort:  # Ctrl-C at a question, or nobody there to answer it
            _explain("\nnobody said yes: nothing was changed; --yes answers beforehand", kwargs)
            raise typer.Exit(UserError.exit_code) from None
        except SynthkdError as error:
            _explain(f"{error}{_way_on(error)}", kwargs)
            raise typer.Exit(error.exit_code) from None
        except typer.Exit:
            raise  # a command that is done, and says with which code
        except BrokenPipeError:
            raise  # the reader has gone away, as in `synthkd show DIR | head`; typer ends quietly
        except Exception as error:  # noqa: BLE001  the outermost frame: shown in full and reported as a bug
            if isinstance(error, OSError) and (error.filename or error.errno in DISK):
                _explain(str(DiskFailed.of(error, "what this is printed to")), kwargs)
                raise typer.Exit(DiskFailed.exit_code) from None
            _explain(
                "this is a bug in synthkd: please report it with the lines above", {"debug": 1}
            )
            raise typer.Exit(1) from None

    return report


def _way_on(error: SynthkdError) -> str:
    """How a run that was stopped goes on; empty where the message says it all."""
    if isinstance(error, TooManyLost):  # unchanged, it would stop at the same place
        return "\nwhat was bought is kept: mend the cause, then run the same command again"
    if isinstance(error, RunStopped) and not isinstance(error, WaitingForBatch):
        return "\nrun the same command again to resume"
    return ""


def _explain(message: str, options: dict[str, Any]) -> None:
    """Say on stderr what happened; the traceback comes first, so that the message is seen last.

    A message may quote a server or a model, and what they say must not act upon the terminal.
    """
    if options.get("debug"):
        traceback.print_exc()
    typer.echo(escaped(message), err=True)


def print_json(record: Record) -> None:
    """A record on stdout, and nothing else."""
    typer.echo(record.model_dump_json(indent=2))
