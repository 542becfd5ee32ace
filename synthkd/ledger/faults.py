"""What went wrong with a ledger, in words: the fault, the file, the way out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import zstandard

from synthkd.errors import LedgerFailed, SynthkdError, UserError

Faults = (sqlite3.Error, zstandard.ZstdError)
"""What a broken file raises; to be caught where a ledger is touched."""


def is_fault(error: Exception, *codes: int) -> bool:
    """Whether the error has one of these primary codes; extended codes keep it in the low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def explain(error: Exception, path: Path, *, busy_s: float, opening: bool = False) -> SynthkdError:
    """The same fault, with the file's name and the way out.

    Args:
        error: one of `Faults`.
        path: the ledger.
        busy_s: seconds that were waited for another process.
        opening: nothing was spent yet, so a file that cannot be a ledger is the user's mistake.
    """
    kind: type[SynthkdError] = LedgerFailed
    if is_fault(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        why = (
            f"another process has kept it locked for {busy_s:g} s: "
            f"wait for it or end it, then run again"
        )
    elif is_fault(error, sqlite3.SQLITE_FULL):
        why = "the disk is full: make room and run again; everything stored so far is kept"
    elif is_fault(error, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or isinstance(
        error, zstandard.ZstdError
    ):
        if opening and is_fault(error, sqlite3.SQLITE_NOTADB):
            kind = UserError
        why = (
            f"it is not a sound SQLite file ({error}): move it away, or rescue what is in it "
            f"with `sqlite3 {path} .recover`, or name another file with --ledger"
        )
    elif is_fault(error, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        kind = UserError if opening else LedgerFailed
        why = (
            f"{error}. SQLite keeps {path.name}-wal and {path.name}-shm beside it: the folder "
            f"{path.parent} and all three files must be writable by you. Mend their owner and "
            f"permissions, or name another file with --ledger"
        )
    else:
        kind = UserError if opening else LedgerFailed
        why = f"{error}: check that its folder exists and may be written, then run again"
    return kind(f"the ledger {path} cannot be used: {why}")
