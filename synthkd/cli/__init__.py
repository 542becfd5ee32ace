"""The command line: a thin skin over the Python API.

    cli/app.py      the application, the options that commands share, the exit codes
    cli/runs.py     run, plan, show, train
    cli/steps.py    steps
    cli/evaluating.py  eval, compare
    cli/judging.py  calibrate
    cli/graph.py    graph
    cli/audit.py    audit
    cli/batch.py    batch list, collect, cancel
    cli/job.py      job show, cancel
    cli/ledger.py   ledger stats, show, export, verify, prune, erase
    cli/teachers.py doctor, fake-teacher
    cli/serve.py    serve

The commands appear in `--help` in the order of the imports here.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import typer

from synthkd.cli import (
    audit,
    batch,
    evaluating,
    graph,
    job,
    judging,
    ledger,
    runs,
    serve,
    steps,
    teachers,
)
from synthkd.cli.app import app

__all__ = [
    "app",
    "audit",
    "batch",
    "evaluating",
    "graph",
    "job",
    "judging",
    "ledger",
    "main",
    "runs",
    "serve",
    "steps",
    "teachers",
]


@app.command()
def version() -> None:
    """Print the version."""
    from synthkd import __version__

    typer.echo(__version__)


def main() -> None:
    """The entry point of the `synthkd` command."""
    # Arrow's default allocator keeps 20 MB more than it uses; read when pyarrow is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _mend_streams()
    app(prog_name="synthkd")


def _mend_streams() -> None:
    """Printing and reading must not be what a run fails by, whatever the terminal can do."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, as under some schedulers
            devnull = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  for the whole process
            setattr(sys, name, devnull)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is already
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a byte that is no text is no answer
