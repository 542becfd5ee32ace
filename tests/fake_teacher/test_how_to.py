"""The page for users tells the truth: its example passes, its tables name what exists."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import typer.main

from synthkd.cli import app
from synthkd.fake_teacher import FakeTeacher
from synthkd.fake_teacher.batches import BATCH_FAULTS
from synthkd.fake_teacher.books import Books
from synthkd.fake_teacher.calls import CALL_FAULTS
from synthkd.fake_teacher.faults import FAULTS, POISON
from synthkd.fake_teacher.fine_tuning import JOB_FAULTS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "fake-teacher.md").read_text(encoding="utf-8")


def named_in(heading: str, columns: slice) -> set[str]:
    """What stands in code in these columns of the tables below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    return {name for row in rows for cell in row[columns] for name in re.findall("`(.*?)`", cell)}


def test_the_example_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_mine.py").write_text(example, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_every_option_is_on_the_page() -> None:
    options = set(inspect.signature(FakeTeacher).parameters)
    assert named_in("Options", slice(0, 1)) == options | {"FakeTeacher"}


def test_every_option_of_the_command_is_on_the_page() -> None:
    command = typer.main.get_command(app).commands["fake-teacher"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts}
    told = named_in("Options", slice(1, 2)) - {"synthkd fake-teacher"}
    assert told == options - {"--host", "--port", "--debug"}


def test_every_fault_is_on_the_page() -> None:
    named = named_in("Faults", slice(0, 1))
    assert named == {*FAULTS, POISON, *BATCH_FAULTS, *CALL_FAULTS, *JOB_FAULTS}


def test_every_count_is_on_the_page() -> None:
    section = PAGE.partition("## Books\n")[2]
    missing = [name for name in vars(Books()) if name[0] != "_" and f".{name}`" not in section]
    assert not missing
