"""Scratch files: SQLite without a journal, for one process and one run.

They keep what grows with the number of rows out of memory. Nothing in them is durable: a killed run
starts them anew, and what was paid for is in the ledger.
"""

from __future__ import annotations

import functools
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthkd.errors import DiskFailed

_DISK_FAULTS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}


class Scratch:
    """One scratch file; a fault of the disk comes out as a DiskFailed that names it."""

    def __init__(self, path: Path, schema: str) -> None:
        """Start an empty file; whatever lay at `path` is gone.

        Raises:
            DiskFailed: the file cannot be made there.
        """
        self.path = path
        with self._disk():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            # Table steps read in a thread of their own; SQLite serialises the calls.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(schema)
            # One transaction for all: a commit for each write doubles its cost.
            self._db.execute("BEGIN")

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run one statement; rows of a large result are better read through `select`."""
        with self._disk():
            return self._db.execute(sql, values)

    def executemany(self, sql: str, values: Iterable[tuple[Any, ...]]) -> int:
        """Run one statement for many rows; returns how many it changed."""
        with self._disk():
            return self._db.executemany(sql, values).rowcount

    def select(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        """The rows of a result, one by one."""
        with self._disk():
            yield from self._db.execute(sql, values)

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Name the file and the way out when the disk is at fault; our own bugs pass."""
        try:
            yield
        except OSError as error:
            raise self._fault(str(error.strerror)) from error
        except sqlite3.Error as error:
            # The low byte is the kind of fault; the rest says in which system call.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DISK_FAULTS:
                raise
            raise self._fault(str(error)) from error

    def _fault(self, what: str) -> DiskFailed:
        return DiskFailed(
            f"cannot keep rows in {self.path}: {what}; free some space there, or write to another "
            "folder (--out)"
        )


def order_key(order: tuple[int, ...]) -> bytes:
    """A row's order as bytes that compare as the tuples do, shorter prefixes first."""
    return _packer(len(order)).pack(*order)


def order_of(key: bytes) -> tuple[int, ...]:
    """The order that `order_key` packed."""
    return _packer(len(key) // 8).unpack(key)


@functools.cache  # one entry for each depth of fan-out
def _packer(length: int) -> struct.Struct:
    return struct.Struct(f">{length}Q")
