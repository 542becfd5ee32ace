"""SHA-256 of large files, remembered: a second start does not read 16 GB again.

A file counts as the same while path, size, time of change and inode are. What changed within the
last seconds is not remembered, since another change may carry the same time.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from synthkd.io.atomic import atomic_file
from synthkd.io.lock import locked

BLOCK = 4 * 2**20
FRESH_S = 3.0
"""Some filesystems tell the time of a change in steps of two seconds."""
REMEMBERED = 2_000
"""Files: a large model has some hundred."""


class Hashes:
    """What files hold.

    Args:
        file: where it is remembered; None = nowhere.
        left: set when nobody wants the answer any more.
    """

    def __init__(self, file: Path | None, left: threading.Event | None = None) -> None:
        self._file = file
        self._left = left
        self._known: dict[str, dict[str, Any]] = _read(file)
        self._new: dict[str, dict[str, Any]] = {}
        self.read_bytes = 0
        """How much was read, because it was not remembered."""

    def of(self, file: Path) -> str:
        """64 hex digits.

        Raises:
            InterruptedError: nobody wants it any more.
            OSError: it cannot be read.
        """
        status = file.stat()
        seen = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
        place = str(file.absolute())
        known = self._known.get(place, {})
        if seen.items() <= known.items() and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while block := opened.read(BLOCK):
                digest.update(block)
                self.read_bytes += len(block)
                if self._left is not None and self._left.is_set():
                    raise InterruptedError
        if time.time() - status.st_mtime > FRESH_S:
            self._new[place] = {**seen, "sha256": digest.hexdigest()}
        return digest.hexdigest()

    def save(self) -> None:
        """Remember what is new; what another process has learnt meanwhile stays."""
        if self._file is None or not self._new:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with (
            suppress(BlockingIOError),  # another run saves just now: this one reads again next time
            locked(self._file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR),
            atomic_file(self._file) as opened,
        ):
            known = {**_read(self._file), **self._new}
            kept = dict(list(known.items())[-REMEMBERED:])
            opened.write(json.dumps(kept, indent=0).encode())


def _read(file: Path | None) -> dict[str, dict[str, Any]]:
    if file is None:
        return {}
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError):  # not there, or damaged: then all is read again
        return {}
    if not isinstance(known, dict):
        return {}
    return {place: seen for place, seen in known.items() if isinstance(seen, dict)}
