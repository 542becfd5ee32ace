"""`synthkd serve`: a vLLM server in the foreground, with all that a run does for its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import Debug, app, reported

if TYPE_CHECKING:
    from synthkd.teachers.vllm.fleet import Block, Fleet


@app.command()
@reported
def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's folder, or a Hugging Face id.")
    ],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- ARGS]", help="Further arguments of `vllm serve`."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Of the first server; the others follow.")
    ] = 8000,
    servers: Annotated[int, typer.Option(metavar="N", min=1, help="Servers side by side.")] = 1,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", metavar="N", min=1, help="GPUs of one server.")
    ] = 1,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="An adapter's folder; may be repeated."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Of a Hugging Face id: a commit, tag or branch.")
    ] = None,
    start_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="To the first answer.")
    ] = 600.0,
    debug: Debug = False,
) -> None:
    """Serve a model with vLLM on this machine, and say which block a pipeline needs for it.

    A server that dies is started again. Ctrl-C waits up to ten seconds for the answers in the air;
    however this command ends, nothing of the servers is left.
    """
    from synthkd.flow import run_loop

    block = {
        "model": model,
        "revision": revision,
        "servers": servers,
        "tensor_parallel": tensor_parallel,
        "lora": dict(_named(each) for each in lora or ()),
        "args": [each for each in args or () if each != "--"],
        "start_timeout_s": start_timeout,
    }
    run_loop(_serve(_checked(block), port))


def _named(text: str) -> tuple[str, str]:
    from synthkd.errors import UserError

    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise UserError(f"--lora is NAME=PATH, such as sql=adapters/sql; got {text!r}")
    return name, path


def _checked(values: Mapping[str, object]) -> Block:
    """The block, looked at as the one of a pipeline is."""
    from pydantic import ValidationError

    from synthkd.config import TeacherConfig
    from synthkd.errors import ConfigError
    from synthkd.teachers.vllm.fleet import block_of

    try:
        config = TeacherConfig.model_validate({"vllm": values}).vllm
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc'])) or 'serve'}: "
            + each["msg"].removeprefix("Value error, ")
            for each in error.errors()
        ]
        raise ConfigError(faults) from None
    assert config is not None  # noqa: S101  it was given
    return block_of("serve", config, Path.cwd(), offline=False)


async def _serve(block: Block, port: int) -> None:
    """Serve until a signal says stop."""
    import asyncio
    import os
    import signal

    from synthkd.teachers.vllm.fleet import Fleet

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    ports = range(port, port + block.config.servers)
    fleet = Fleet(block, f"serve-{os.getpid()}", ports=ports, is_open=True)
    serving = asyncio.create_task(_served(fleet, block))
    waiting = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving  # it raises: the servers are lost
        typer.echo("stopping: what is in the air is answered first", err=True)
        await fleet.drain()
    finally:
        serving.cancel()
        waiting.cancel()
        await fleet.stop()
        await asyncio.wait({serving, waiting})


async def _served(fleet: Fleet, block: Block) -> None:
    """Say how the start goes and what was started; end only with an error."""
    import asyncio

    ready = asyncio.create_task(fleet.all_ready())
    said = ""
    try:
        while not ready.done():
            await asyncio.wait({ready}, timeout=2.0)
            if (now := fleet.said) and now.partition(": ")[2] != said.partition(": ")[2]:
                typer.echo(now, err=True)
                said = now
    finally:
        ready.cancel()
    urls = await ready
    typer.echo(_block_text(urls, block))
    await fleet.lost()


def _block_text(urls: list[str], block: Block) -> str:
    """What a pipeline needs to ask these servers."""
    endpoint = urls[0] if len(urls) == 1 else f"[{', '.join(urls)}]"
    names = [block.model.name, *(adapter.name for adapter in block.adapters)]
    others = f"   # or {', '.join(names[1:])}" if names[1:] else ""
    return (
        f"ready: {', '.join(urls)}\nteachers:\n  main:\n    endpoint: {endpoint}\n"
        f"    model: {names[0]}{others}\n"
        f"    served_by: {block.model.name}   # a name of your own: keep it when the port changes,"
        " change it when the model does"
    )
