"""What a run needs of the machine: its rows, room on the disk, a sound ledger, GPU, extras."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from synthkd.config import SourceConfig, StudentConfig
from synthkd.doctor.report import Finding, Grade
from synthkd.errors import UserError
from synthkd.io.sources import open_source
from synthkd.ledger.place import filesystem_of, refuse_network
from synthkd.ledger.schema import APPLICATION_ID, VERSION
from synthkd.students.ready import ready

LITTLE_ROOM = 2**30
"""Bytes: a million short rows with their answers take about as much."""
NO_ROOM = 64 * 2**20
CHECKED_LEDGER = 2**30
"""Bytes: up to here reading the whole file takes seconds."""
GPU_ANSWERS_S = 10.0

EXTRAS = {
    "fast": ("uvloop", "a quicker event loop"),
    "language": ("py3langid", "gate.language"),
    "tokens": ("tokenizers", "gate.length with a tokenizer file"),
    "train": ("torch", "students that are neural networks"),
    "pii": ("presidio_analyzer", "privacy.mask with presidio, and names of persons"),
}
"""Extra -> the module that it brings and what a run has of it; those that code uses today."""


def source(config: SourceConfig, base: Path) -> Iterator[Finding]:
    """Whether the rows are there and have the columns that the settings name.

    Args:
        config: the `source` block.
        base: the pipeline file's folder.
    """

    def finding(grade: Grade, said: str) -> Finding:
        return Finding(about="source", check=config.kind, grade=grade, said=said)

    if config.kind == "hf":  # reading its head may mean to load all of it
        yield finding("note", f"{config.path}: a Hugging Face dataset is not looked at")
        return
    try:
        open_source(config, base=base)
    except UserError as error:
        yield finding("mend", str(error))
    else:
        yield finding("fine", f"{config.path} is there")


def disk(what: str, path: Path) -> Iterator[Finding]:
    """Free space and permission where `path` is, or will be made."""
    place = _existing(path)

    def finding(grade: Grade, said: str) -> Finding:
        return Finding(about="disk", check=what, grade=grade, said=said)

    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        yield finding("mend", f"{place} cannot be looked at: {error.strerror}")
        return
    room = f"{path}: {size_text(free)} free"
    if not place.is_dir() and place != path:
        yield finding("mend", f"{place} is a file, so {path} cannot be made: choose another place")
    elif not os.access(place, os.W_OK):
        yield finding("mend", f"{place} cannot be written: mend its permissions")
    elif free < NO_ROOM:
        yield finding("mend", f"{room}: make some room, or choose another place")
    elif free < LITTLE_ROOM:
        yield finding("warning", f"{room}, which may not last")
    else:
        yield finding("fine", room)


def ledger_file(path: Path) -> Iterator[Finding]:
    """Whether the ledger opens and is sound; the file is only read, and none is made."""

    def finding(check: str, grade: Grade, said: str) -> Finding:
        return Finding(about="ledger", check=check, grade=grade, said=said)

    try:
        refuse_network(path)
    except UserError as error:
        yield finding("filesystem", "mend", str(error))
    else:
        if kind := filesystem_of(path)[1]:
            yield finding("filesystem", "fine", kind)
    if not path.exists():
        yield finding("sound", "fine", f"{path} is not there yet; the first run makes it")
        return
    try:
        size = path.stat().st_size
        yield finding("sound", *_soundness(path, size))
    except OSError as error:
        yield finding("sound", "mend", f"{path} cannot be read: {error.strerror}")


def _soundness(path: Path, size: int) -> tuple[Grade, str]:
    told = f"{path}, {size_text(size)}"
    if size == 0:
        return "fine", f"{path} is empty; the first run fills it"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        return "mend", f"{told}: cannot be opened ({error})"
    try:
        application = connection.execute("pragma application_id").fetchone()[0]
        version = connection.execute("pragma user_version").fetchone()[0]
        if application != APPLICATION_ID:
            return "mend", f"{path} is no synthkd ledger: name another file with --ledger"
        if version > VERSION:
            return "mend", (
                f"{told}: has version {version}, this synthkd reads up to {VERSION}: update "
                f"synthkd, or name another file with --ledger"
            )
        if size > CHECKED_LEDGER:
            return "note", f"{told}: opens; too large to be read through here"
        found = connection.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return "mend", f"{told}: cannot be read ({error}): restore it from a copy"
    finally:
        connection.close()
    if found != "ok":
        return "mend", f"{told}: damaged ({found}): restore it from a copy"
    return "fine", f"{told}: sound"


def student(config: StudentConfig | None, base: Path) -> Iterator[Finding]:
    """Whether the student can be trained here.

    Args:
        config: the `student` block, if there is one.
        base: the pipeline file's folder.
    """
    if config is None:
        return
    grade: Grade = "fine"
    said = f"{config.kind}: what its training needs is there"
    try:
        ready(config, base, offline=False)
    except UserError as error:
        grade, said = "mend", f"a run would not start: {error}"
    yield Finding(about="student", check="settings", grade=grade, said=said)


def gpu() -> Iterator[Finding]:
    """The GPUs as nvidia-smi tells them; none is needed to ask a teacher."""

    def finding(grade: Grade, said: str) -> Finding:
        return Finding(about="machine", check="GPU", grade=grade, said=said)

    program = shutil.which("nvidia-smi")
    if program is None:
        yield finding(
            "note", "none (no nvidia-smi): asking teachers and the linear student need none"
        )
        return
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(  # noqa: S603  a fixed command, found on the PATH
            command, capture_output=True, text=True, timeout=GPU_ANSWERS_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield finding("warning", f"{program} is there but fails: {type(error).__name__}")
        return
    names = [line.strip() for line in told.splitlines() if line.strip()]
    yield finding("fine", "; ".join(names)) if names else finding("note", "none is listed")


def extras() -> Iterator[Finding]:
    """The optional packages that runs make use of."""
    for extra, (module, gain) in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        version = importlib.metadata.version(module) if there else ""
        yield Finding(
            about="machine",
            check=f"extra {extra}",
            grade="fine" if there else "note",
            said=f"{module} {version}"
            if there
            else f"not installed: `pip install 'synthkd[{extra}]'` gives {gain}",
        )


def size_text(size: int) -> str:
    """Bytes for people."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    place = path.absolute()
    return next(above for above in (place, *place.parents) if above.exists())
