"""Lessons for tests: rows as a run leaves them, in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from synthkd.config import StudentConfig
from synthkd.io.rows_file import open_rows
from synthkd.rows import Row
from synthkd.students.lesson import HeldOutRow, Lesson, write_held_out

peft_warns = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # it asks by the old name
)
BLOCK: TypeAdapter[StudentConfig] = TypeAdapter(StudentConfig)


def lesson(
    folder: Path,
    block: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    held_out: Iterable[HeldOutRow] = (),
) -> Lesson:
    """A lesson whose files lie in the folder; the student goes to `folder/student`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_rows(folder / "rows.parquet") as add:
        for place, fields in enumerate(rows):
            add(Row(id=f"{place:016x}", order=(place,), roots=(), fields=fields))
    write_held_out(folder / "held_out.jsonl", held_out)
    return Lesson(
        config=BLOCK.validate_python(block),
        rows=folder / "rows.parquet",
        held_out=folder / "held_out.jsonl",
        made_from={"source": "rows of a test"},
        folder=folder / "student",
        work=folder / "work",
    )
