"""Files that appear whole or not at all, so that no reader and no resumed run meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from synthkd.errors import DiskFailed


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` when it is whole and on the disk.

    Until then it is `path` + `.tmp`: removed on an error, replaced by the next run after a kill.
    Two processes may not write the same file at once.

    Raises:
        DiskFailed: the disk is full, the folder cannot be written to, or `path` is no file, such as
            a device, which the new file would take the place of.
    """
    scratch = path.with_name(f"{path.name}.tmp")
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is there, and is no ordinary file")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise DiskFailed(
            f"cannot write {path}: {error.strerror or error}; free some space there, or write to "
            "another folder (--out). What was paid for is kept"
        ) from error
