"""The commands about teachers: `fake-teacher`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import Debug, app, reported

if TYPE_CHECKING:
    from synthkd.fake_teacher import FakeTeacher


@app.command("fake-teacher")
@reported
def fake_teacher(
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Before each answer.")
    ] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="A share of the attempts; may be repeated."),
    ] = None,
    retry_after: Annotated[
        str, typer.Option(metavar="SECONDS", help="What a 429 or 503 by --fault asks to wait.")
    ] = "1",
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 0,
    debug: Debug = False,
) -> None:
    """Serve a fake OpenAI-compatible API on loopback, with faults on purpose, for your own tests.

    Prints its base URL; what it was asked and billed is at /stats. Ends with Ctrl-C or SIGTERM.
    """
    from synthkd.fake_teacher import FakeTeacher
    from synthkd.flow import run_loop

    teacher = FakeTeacher(
        latency_s=latency,
        rates=dict(_named_share(each) for each in fault or ()),
        retry_after={"Retry-After": retry_after},
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
