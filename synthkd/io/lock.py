"""Locks that end with their process, so that a kill never leaves one behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, flags: int = os.O_RDONLY) -> Iterator[None]:
    """Hold a file or folder alone.

    Args:
        path: what is locked.
        flags: how it is opened; with os.O_CREAT it is made, and taken away at the end.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held the lock before may have taken the file away, and this is its ghost.
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise BlockingIOError
        try:
            yield
        finally:
            if flags & os.O_CREAT:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
