"""Where vLLM is: a Python in whose environment it can be imported. Pipelines name no program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from synthkd.errors import UserError

VARIABLE = "SYNTHKD_VLLM_PYTHON"
BESIDE = Path(".venv-vllm", "bin", "python")
"""Looked for in the working folder."""
LOOK_S = 60.0
"""A cold disk takes some seconds to start Python."""

HAS_VLLM = (
    "import importlib.util as u, sys; s = u.find_spec('vllm'); sys.exit(not (s and s.origin))"
)
WAY_OUT = (
    "make an environment of its own (python3 -m venv .venv-vllm; .venv-vllm/bin/pip install vllm),"
    f" or name the Python of one in the environment variable {VARIABLE}"
)


def find_python() -> Path:
    """The Python that starts servers.

    Raises:
        UserError: there is none, or the one named has no vLLM.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).absolute()  # not resolved: the link is what makes it an environment's
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise UserError(f"{VARIABLE} names {named}, which is no program")
        if not _has_vllm(path):
            raise UserError(f"{VARIABLE} names {named}, which cannot import vllm: {WAY_OUT}")
        return path
    for path in (Path(sys.executable), BESIDE.absolute()):
        if path.is_file() and _has_vllm(path):
            return path
    raise UserError(f"vLLM is not installed here: {WAY_OUT}")


def _has_vllm(python: Path) -> bool:
    """Whether it finds the package; it is not imported, which would take seconds."""
    try:
        found = subprocess.run(  # noqa: S603  a Python that the user named, or our own
            [python, "-c", HAS_VLLM],
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # a folder called vllm is no vLLM
            cwd="/",
            capture_output=True,
            timeout=LOOK_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return found.returncode == 0
