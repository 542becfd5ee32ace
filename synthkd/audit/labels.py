"""What reviewers said, on disk, in DIR/audit/: written label by label, so that quitting loses none.

audit.json           what is to be shown, and of which rows: fixed before the first label
NAME.labels.jsonl    one label a line; a later one of the same row replaces it
NAME.edits.jsonl     edited rows, as a pipeline reads them: `source: {jsonl: ...}`
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import orjson
from pydantic import ValidationError

from synthkd.errors import DiskFailed, UserError
from synthkd.io.atomic import atomic_file
from synthkd.manifest import Record
from synthkd.rows import Fields

R = TypeVar("R", bound=Record)

AUDIT = "audit"
ABOUT = "audit.json"
LABELS, EDITS = ".labels.jsonl", ".edits.jsonl"
REVIEWER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")

Side = Literal["kept", "rejected"]
Said = Literal["good", "bad", "edited", "skipped"]
"""An edited row is good now, and was not when it was kept."""


Labels: TypeAlias = "Mapping[tuple[Side, str], Said]"
"""(side, key) -> label."""


class About(Record):
    """audit.json: what the audit is to show. Chosen after looking, it would prove nothing."""

    precision: float
    """The share of good rows among the kept that is to be shown."""
    risk: float
    """The probability that what is said is wrong, at whatever moment one stops."""
    seed: int
    """Of the order in which rows are drawn."""
    rows_sha256: str
    """Of rows/rows.parquet."""
    kept: int
    rejected: int
    """Losses to draw from."""


class Label(Record):
    """One line of a reviewer's file."""

    side: Side
    key: str
    """The row's id; of a loss also the step that it was lost at."""
    said: Said


def open_audit(folder: Path, wanted: About) -> About:
    """Begin an audit, or go on with the one that is there.

    Raises:
        UserError: the one that is there is of other rows, or is to show something else.
    """
    file = folder / AUDIT / ABOUT
    if not file.exists():
        with atomic_file(file) as out:
            out.write(wanted.model_dump_json(indent=2).encode() + b"\n")
        return wanted
    begun = _parsed(About, file.read_bytes(), str(file))
    if begun.rows_sha256 != wanted.rows_sha256:
        raise UserError(
            f"{file}: is about other rows than {folder} has now: move {file.parent} away to begin"
            " anew; its labels say nothing of these rows"
        )
    if begun != wanted:
        raise UserError(
            f"{file}: this audit is to show a precision of {begun.precision:g} at a risk of"
            f" {begun.risk:g} (seed {begun.seed}); what is chosen after looking proves nothing, so"
            f" go on with these, or move {file.parent} away to begin anew"
        )
    return begun


class Reviewer:
    """One reviewer's labels: read at the start, each new one written at once."""

    def __init__(self, folder: Path, name: str) -> None:
        if not REVIEWER.fullmatch(name):
            raise UserError(
                f"--reviewer {name!r} becomes the name of a file: letters, digits, - and _ only"
            )
        self.name = name
        self._labels = folder / AUDIT / f"{name}{LABELS}"
        self._edits = folder / AUDIT / f"{name}{EDITS}"
        self.said = read_labels(self._labels)

    def say(self, side: Side, key: str, said: Said) -> None:
        """Keep a label: on the disk before the next row is shown."""
        _append(self._labels, Label(side=side, key=key, said=said).model_dump())
        self.said[side, key] = said

    def edit(self, row_id: str, field: str, before: Fields, after: str) -> None:
        """Keep a row with the reviewer's text in one field, as a record that a pipeline reads."""
        edited = {**before, field: after, "audit": {"row": row_id, "field": field, "by": self.name}}
        _append(self._edits, edited)


def read_labels(path: Path) -> dict[tuple[Side, str], Said]:
    """(side, key) -> the latest label. A line that a kill has cut is none.

    Raises:
        UserError: another line is no label.
    """
    found: dict[tuple[Side, str], Said] = {}
    if not path.exists():
        return found
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # behind the last line end is nothing whole
        if line.strip():
            label = _parsed(Label, line, f"{path} line {number}")
            found[label.side, label.key] = label.said
    return found


def reviewers_of(folder: Path) -> dict[str, Labels]:
    """Everybody's labels, by name."""
    return {
        file.name.removesuffix(LABELS): read_labels(file)
        for file in sorted((folder / AUDIT).glob(f"*{LABELS}"))
    }


def _append(path: Path, record: Fields) -> None:
    """A line at the end, after what a kill may have cut there is taken away.

    Raises:
        DiskFailed: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DiskFailed(
            f"cannot write {path}: {error.strerror or error}; all labels before this one are kept"
        ) from error


def _parsed(kind: type[R], text: bytes, where: str) -> R:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{where}: is damaged: {error.errors()[0]['msg']}") from None
