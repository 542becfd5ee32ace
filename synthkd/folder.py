"""The folder of a run: who works in it, what is staged, what is published, in which order.

    DIR/run.json        the run's id, to which its budget belongs
    DIR/.work/          scratch of the run that is going on; gone when it is done
    DIR/manifest.json   written last: a folder that has one is complete
    DIR/stopped/        why the last run ended early, and the rows lost so far

Results are made in .work and moved into place one by one, each by a rename, after the old
manifest is gone. So a killed run leaves no half file that looks whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from pydantic import ValidationError

from synthkd.errors import UserError
from synthkd.io.exports import atomic_file
from synthkd.manifest import Manifest, Stopped

MANIFEST = "manifest.json"
WORK = ".work"
STOPPED = "stopped"


class RunFolder:
    """A folder that this process alone works in; see `open_folder`."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.run_id = run_id
        self.work = path / WORK
        self.staged = self.work / "staged"
        self.keeps = False
        """Whether something worth keeping may be inside; until then a mistake leaves no trace."""

    def publish(self) -> None:
        """Move everything that is staged into place; the folder is incomplete until `finish`."""
        (self.path / MANIFEST).unlink(missing_ok=True)
        for new in sorted(self.staged.iterdir()):
            old = self.path / new.name
            if old.is_dir():
                old.rename(self.work / f"old-{new.name}")
            new.rename(old)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and throw the scratch away."""
        with atomic_file(self.path / MANIFEST) as file:
            file.write(_pretty(manifest.model_dump(mode="json")))
        shutil.rmtree(self.path / STOPPED, ignore_errors=True)
        shutil.rmtree(self.work)

    def stop(self, stopped: Stopped) -> Path:
        """A folder for what is known about a run that ended early, with the reason in it."""
        folder = self.path / STOPPED
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with atomic_file(folder / "stopped.json") as file:
            file.write(_pretty(stopped.model_dump(mode="json")))
        return folder


@contextmanager
def open_folder(path: Path) -> Iterator[RunFolder]:
    """Make the folder, or enter it again, and keep other processes out of it.

    Raises:
        UserError: it cannot be made or read, or another process works in it.
    """
    made = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be used for results: {error.strerror}; choose another with --out"
        ) from error
    folder = None
    try:
        _lock(lock, path)
        folder = RunFolder(path, _run_id(path))
        shutil.rmtree(folder.work, ignore_errors=True)
        folder.staged.mkdir(parents=True)
        yield folder
    finally:
        if made and (folder is None or not folder.keeps):
            _remove(made)
        os.close(lock)


def _remove(made: list[Path]) -> None:
    """Take back the folder that was made, and the folders above it as far as nobody uses them."""
    shutil.rmtree(made[0])
    for above in made[1:]:
        try:
            above.rmdir()
        except OSError:
            return  # someone else has put something there


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{path}: another synthkd works in this folder; wait for it, or choose another --out"
        ) from None


def _run_id(path: Path) -> str:
    file = path / "run.json"
    try:
        run_id = orjson.loads(file.read_bytes())["run_id"]
    except FileNotFoundError:
        run_id = uuid.uuid4().hex
        with atomic_file(file) as new:
            new.write(_pretty({"run_id": run_id}))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: holds no run id, so what this run has spent cannot be told: restore it, or"
            " choose another --out (answers that were bought are found either way)"
        ) from error
    if not isinstance(run_id, str):
        raise UserError(f"{file}: run_id must be a string, got {run_id!r}")
    return run_id


def read_manifest(path: Path) -> Manifest:
    """The manifest of a complete run.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = path / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        stopped = read_stopped(path)
        if stopped is not None:
            raise UserError(f"{path}: the run ended early: {stopped.message}") from None
        raise UserError(
            f"{file}: there is none: the run is not complete, or it is elsewhere"
        ) from None
    except ValidationError as error:
        raise UserError(f"{file}: not a manifest of this version: {error}") from error


def read_stopped(path: Path) -> Stopped | None:
    """Why the last run in this folder ended early; None = it did not.

    Raises:
        UserError: the record is damaged.
    """
    file = path / STOPPED / "stopped.json"
    try:
        return Stopped.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(f"{file}: damaged, remove its folder: {error}") from error


def sha256_of(folder: Path, skip: frozenset[str]) -> dict[str, str]:
    """Path inside the folder -> SHA-256, for every file but those below the names to skip."""
    sums = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and name.parts[0] not in skip:
            with file.open("rb") as content:
                sums[name.as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
    return sums


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
