"""The commands about teachers: `doctor`, `fake-teacher`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import (
    AsJson,
    Debug,
    LedgerUrl,
    Out,
    Overrides,
    PipelineFile,
    app,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from synthkd.doctor import Report
    from synthkd.fake_teacher import FakeTeacher


@app.command()
@reported
def doctor(
    pipeline: PipelineFile,
    out: Out = None,
    overrides: Overrides = None,
    ledger: LedgerUrl = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Ask no tiny questions; only read lists of models.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Look at a pipeline's teachers and at this machine, before anything is spent on it.

    Each endpoint is asked up to ten tiny questions, a few hundred tokens in all, which go into no
    ledger and no budget. Exit code 0: nothing keeps a run from starting; 2: something to mend;
    5: a teacher refuses.
    """
    from synthkd.flow import run_loop
    from synthkd.pipeline import Pipeline

    loaded = Pipeline.load(pipeline, overrides=overrides or (), out=out, ledger=ledger)
    report = run_loop(loaded.examine(probe=not no_probe))
    if as_json:
        print_json(report)
    else:
        _show(report)
    raise typer.Exit(report.exit_code)


def _show(report: Report) -> None:
    """A table on a terminal, a line for each finding elsewhere."""
    from rich import box
    from rich.table import Table

    from synthkd.display import console_for
    from synthkd.tables import printable

    console = console_for(sys.stdout)
    if console.is_terminal:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in ("", "of", "check", "found"):
            table.add_column(heading, overflow="fold")
        for each in report.findings:
            table.add_row(each.grade, each.about, each.check, printable(each.said))
        console.print(table)
    else:
        for each in report.findings:
            line = f"{each.grade:<8} {each.about}, {each.check}: {printable(each.said)}"
            console.print(line, soft_wrap=True)
    console.print(report.verdict(), soft_wrap=True)


@app.command("fake-teacher")
@reported
def fake_teacher(
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    latency: Annotated[
        str, typer.Option(metavar="SECONDS", help="Before each answer: 0.2, or 0.1-0.5.")
    ] = "0",
    token_time: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="For each token of an answer.")
    ] = 0.0,
    requests_per_minute: Annotated[
        float | None, typer.Option(metavar="N", help="More are answered 429.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option(metavar="N", help="Of prompts and answers.")
    ] = None,
    burst: Annotated[
        float, typer.Option(metavar="SECONDS", help="So much of it may be used at once.")
    ] = 60.0,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Requests that are worked on at once.")
    ] = None,
    when_full: Annotated[
        str, typer.Option(metavar="queue|refuse", help="What the others meet: a line, or 429.")
    ] = "queue",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="A share of the attempts; may be repeated."),
    ] = None,
    retry_after: Annotated[
        float, typer.Option(metavar="SECONDS", help="What a 429 or 503 by --fault asks to wait.")
    ] = 1.0,
    retry_after_as: Annotated[
        str, typer.Option(metavar="seconds|ms|date|none", help="How every 429 asks to wait.")
    ] = "seconds",
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Requests without it are answered 401.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model that exists; may be repeated. Default: any."),
    ] = None,
    reasoning_tokens: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of reasoning before each answer.")
    ] = 0,
    prefix_cache: Annotated[
        bool, typer.Option("--prefix-cache", help="Messages asked before count as cached tokens.")
    ] = False,
    batch_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="That a batch takes.")
    ] = 0.0,
    batch_fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of the next batch; may be repeated for those after."),
    ] = None,
    batch_call: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Fault of the next call to files, batches or jobs; `ok` = none."
        ),
    ] = None,
    job_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="That a fine-tuning job takes.")
    ] = 0.0,
    job_fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of the next job; may be repeated for those after."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the faults and the latency.")] = 0,
    debug: Debug = False,
) -> None:
    """Serve a fake OpenAI-compatible API on loopback, with faults on purpose, for your own tests.

    Prints its base URL; what it was asked and billed is at /stats. Ends with Ctrl-C or SIGTERM.
    """
    import time

    from synthkd.fake_teacher import FakeTeacher
    from synthkd.fake_teacher.admission import retry_after_named, wait_headers
    from synthkd.flow import run_loop

    told_as = retry_after_named(retry_after_as)
    teacher = FakeTeacher(
        models=model or (),
        reasoning_tokens=reasoning_tokens,
        prefix_cache=prefix_cache,
        latency_s=_seconds(latency),
        token_s=token_time,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        burst_s=burst,
        retry_after_as=told_as,
        concurrency=concurrency,
        queues=_queues(when_full),
        api_key=api_key,
        rates=dict(_named_share(each) for each in fault or ()),
        retry_after=wait_headers(retry_after, told_as, time.time),
        batch_delay_s=batch_delay,
        batch_script=batch_fault or (),
        batch_call_script=[None if each == "ok" else each for each in batch_call or ()],
        job_delay_s=job_delay,
        job_script=job_fault or (),
        seed=seed,
    )
    run_loop(_serve(teacher, host, port))


async def _serve(teacher: FakeTeacher, host: str, port: int) -> None:
    """Serve until a signal says stop."""
    import asyncio
    import signal

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with teacher.serve(port, host):
        typer.echo(teacher.url)
        await stopped.wait()


def _named_share(text: str) -> tuple[str, float]:
    """What NAME=SHARE says."""
    from synthkd.errors import UserError

    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise UserError(f"--fault is NAME=SHARE, such as 429=0.1; got {text!r}") from None


def _seconds(text: str) -> float | tuple[float, float]:
    """What SECONDS or LOW-HIGH says."""
    from synthkd.errors import UserError

    low, dash, high = text.partition("-")
    try:
        return (float(low), float(high)) if dash else float(low)
    except ValueError:
        raise UserError(f"--latency is seconds, such as 0.2 or 0.1-0.5; got {text!r}") from None


def _queues(text: str) -> bool:
    from synthkd.errors import UserError

    if text not in {"queue", "refuse"}:
        raise UserError(f"--when-full is queue or refuse, got {text!r}")
    return text == "queue"
