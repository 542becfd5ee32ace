"""Training in a process of its own: it gives back its memory, and Ctrl-C lets it save its place.

    python -m synthkd.students.job ORDER [PROCESSES PARENT]

ORDER is a lesson as JSON, PARENT the process that waits for it. With more than one process this one
becomes torchrun, which starts as many of it. What it has to say goes to standard output,
a JSON object a line:

    {"told": "step 20 of 400, loss 1.3"}
    {"error": "NothingToLearn", "message": "..."}
    {"done": true}

Everything else that is printed goes to `log` beside ORDER. The process ends with the one that
started it (PR_SET_PDEATHSIG), and on SIGTERM after the step it is at, with a checkpoint saved.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from synthkd import errors
from synthkd.errors import DiskFailed, SynthkdError, TrainingFailed
from synthkd.students import kinds
from synthkd.students.lesson import Lesson, Tell

ORDER, LOG = "order.json", "log"
GRACE_S = 60.0
"""Seconds for the step under way and its checkpoint, once training is asked to end."""
TAIL_LINES = 12
"""Of the log, in a message."""
MAX_LINE = 1 << 20
PR_SET_PDEATHSIG = 1


async def train_apart(lesson: Lesson, tell: Tell) -> None:
    """Train in another process; cancelled, that one saves its place and ends first.

    Args:
        lesson: what, on which rows, how.
        tell: takes a line on how far it is.

    Raises:
        SynthkdError: what training raised there.
        TrainingFailed: the process ended without a word.
    """
    lesson.work.mkdir(parents=True, exist_ok=True)
    order, log = lesson.work / ORDER, lesson.work / LOG
    order.write_bytes(lesson.to_json())
    numbers = map(str, (lesson.processes, os.getpid()))
    command = [sys.executable, "-m", "synthkd.students.job", str(order), *numbers]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            limit=MAX_LINE,
            start_new_session=True,  # Ctrl-C is for us to pass on
        )
    try:
        ended = await _heard(process, tell)
        await process.wait()
    finally:
        await _end(process)
    if not ended:
        raise TrainingFailed(_why(process.returncode, log))


async def _heard(process: asyncio.subprocess.Process, tell: Tell) -> bool:
    """Pass on what the process says; whether it said that it is done."""
    assert process.stdout is not None  # noqa: S101  it is a pipe
    done = False
    async for line in process.stdout:
        said = orjson.loads(line)
        if "told" in said:
            tell(said["told"])
        elif "error" in said:
            raise getattr(errors, said["error"])(said["message"])
        else:
            done = True
    return done


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing of it is left, whatever ended the waiting; it may save its place first."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE_S):
            await asyncio.shield(process.wait())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _why(code: int | None, log: Path) -> str:
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    killed = code is not None and code < 0
    how = f"was ended by {signal.Signals(-code).name}" if killed and code else f"ended with {code}"
    memory = "; SIGKILL from outside mostly means that memory ran out" if code == -9 else ""
    return (
        f"training {how}{memory}. Run again to go on from its last checkpoint. The end of {log}:\n"
        + "\n".join(tail)
    )


# --- in the process of its own


def main(order: Path, processes: int = 1, parent: int | None = None) -> int:
    """Train, and say on standard output what came of it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent not in {None, os.getppid()}:
        return 1  # it ended before we could ask to be told
    if processes > 1:  # this process becomes the launcher, and goes with its parent all the same
        # Not `accelerate launch`: it starts one process where there is no GPU, and obeys a file of
        # settings in the user's home.
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        again = ["-m", "synthkd.students.job", str(order)]
        os.execv(sys.executable, [sys.executable, *launch, *again])  # noqa: S606
    say = _voice()
    lesson = Lesson.from_json(order.read_bytes())
    try:
        kinds.train(lesson, lambda line: say({"told": line}))
    except SynthkdError as error:
        return _failed(say, error)
    except OSError as error:
        if error.errno is None:
            raise
        return _failed(say, DiskFailed.of(error, lesson.folder))
    say({"done": True})
    return 0


def _failed(say: Callable[[Mapping[str, Any]], None], error: SynthkdError) -> int:
    say({"error": type(error).__name__, "message": str(error)})
    return error.exit_code


def _voice() -> Callable[[Mapping[str, Any]], None]:
    """A way to standard output that no library shares: what they print goes to the log."""
    own = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    leads = os.environ.get("RANK", "0") == "0"

    def say(what: Mapping[str, Any]) -> None:
        if leads or "error" in what:
            own.write(orjson.dumps(what, option=orjson.OPT_APPEND_NEWLINE))

    return say


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
