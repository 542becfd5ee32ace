from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import zstandard

from synthkd.errors import LedgerFailed, UserError
from synthkd.ledger.faults import explain


def fault(code: int, text: str = "what SQLite says") -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "opening", "kind", "way_out"),
    [
        (fault(sqlite3.SQLITE_BUSY), True, LedgerFailed, "locked for 2 s: wait for it or end it"),
        (fault(sqlite3.SQLITE_BUSY_SNAPSHOT), False, LedgerFailed, "wait for it or end it"),
        (fault(sqlite3.SQLITE_FULL), True, LedgerFailed, "the disk is full: make room"),
        (fault(sqlite3.SQLITE_FULL), False, LedgerFailed, "stored so far is kept"),
        (fault(sqlite3.SQLITE_CORRUPT), True, LedgerFailed, "move it away, or rescue"),
        (fault(sqlite3.SQLITE_NOTADB), True, UserError, "not a sound SQLite file"),
        (fault(sqlite3.SQLITE_NOTADB), False, LedgerFailed, "not a sound SQLite file"),
        (zstandard.ZstdError("x"), False, LedgerFailed, "not a sound SQLite file"),
        (fault(sqlite3.SQLITE_CANTOPEN), True, UserError, "must be writable by you"),
        (fault(sqlite3.SQLITE_READONLY), False, LedgerFailed, "l-wal and l-shm beside it"),
        (fault(sqlite3.SQLITE_IOERR), False, LedgerFailed, "what SQLite says: check that"),
        (fault(sqlite3.SQLITE_IOERR_WRITE), True, UserError, "may be written, then run again"),
    ],
)
def test_each_fault_says_what_to_do(
    error: Exception, opening: bool, kind: type[Exception], way_out: str
) -> None:
    said = explain(error, Path("deep/l"), busy_s=2, opening=opening)
    assert type(said) is kind
    assert "the ledger deep/l cannot be used: " in str(said)
    assert way_out in str(said)
