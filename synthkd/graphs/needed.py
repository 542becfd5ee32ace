"""Libraries of the extra `graph`."""

from __future__ import annotations

import importlib.util

from synthkd.errors import UserError


def must_have(library: str, format: str) -> None:
    """Look whether a library is there before anything is worked out for it.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec(library) is None:
        raise UserError(
            f"the format {format} needs {library}, which is not installed: pip install"
            " 'synthkd[graph]', or leave the format out"
        )
