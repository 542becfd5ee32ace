"""What starting costs, told by what is loaded and not by a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HEAVY = {
    *("torch", "transformers", "sklearn", "scipy", "numpy", "pandas", "pyarrow", "datasets"),
    *("openai", "aiohttp", "jinja2", "crowdkit", "skops"),
}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running the code."""
    script = f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in ran.stderr.split()}


def test_importing_synthkd_loads_nothing_but_itself() -> None:
    loaded = loaded_by("import synthkd")
    assert "synthkd" in loaded
    assert not loaded & (HEAVY | {"pydantic", "typer", "rich", "yaml"})


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"]])
def test_help_loads_the_command_line_only(arguments: list[str]) -> None:
    run = "from synthkd.cli import app; app({}, standalone_mode=False)"
    loaded = loaded_by(run.format(arguments))
    assert "typer" in loaded
    # Not pydantic: typer itself looks for it before it prints a command's help.
    assert not loaded & (HEAVY | {"rich", "yaml"})


def test_a_linear_student_needs_no_torch_even_where_it_is_installed() -> None:
    code = "from synthkd.students import linear; linear._skops()"
    assert not loaded_by(code) & {"torch", "transformers"}
