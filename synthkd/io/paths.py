"""Which file a setting names: variables, and the folders where a relative path is looked for."""

from __future__ import annotations

import os
import re
from pathlib import Path

from synthkd.errors import SourceError, UserError
from synthkd.hints import near

_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


def find_file(written: str, base: Path) -> Path:
    """The file that a setting names, with variables expanded.

    Args:
        written: as in the pipeline file; may hold ${NAME} and ${NAME:-default}.
        base: the pipeline file's folder; relative paths are looked for in the current one first.

    Raises:
        SourceError: there is no such file or variable; with the places tried and near names.
    """
    tried = places(written, base)
    for path in tried:
        if path.is_file():
            return path
    for path in tried:
        if path.is_dir():
            raise SourceError(f"{path} is a folder: name a file in it")
    for path in tried:
        if path.exists():
            raise SourceError(
                f"{path} is a pipe or a device, which can be read once only, and a source is read"
                " several times: write it into a file first"
            )
    wanted = tried[0]
    siblings = [p.name for t in tried if t.parent.is_dir() for p in t.parent.iterdir()]
    hint = near(wanted.name, siblings)
    raise SourceError(f"{written}: no such file; looked for {', '.join(map(str, tried))}{hint}")


def places(written: str, base: Path) -> list[Path]:
    """Where the path may lie; the folders are absolute, so that a message can be acted upon."""
    path = Path(expanded(written))
    return list(dict.fromkeys([Path.cwd() / path, base.absolute() / path]))


def expanded(written: str) -> str:
    """The path with its variables replaced.

    Raises:
        SourceError: one is not set and has no default.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        found = os.environ.get(name) or default  # as in a shell: `:-` also replaces an empty one
        if found is None:
            raise SourceError(
                f"{written}: the environment variable {name} is not set: set it, or write "
                f"${{{name}:-default}}"
            )
        return found

    return _VARIABLE.sub(value, written)


def ledger_path(url: str) -> Path:
    """The file that `--ledger` names: a path, or `sqlite:///path`.

    Raises:
        UserError: another kind of URL, or nothing.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in {"postgres", "postgresql"}:
        raise UserError("a PostgreSQL ledger is not in this version: give the path of a file")
    if separator and scheme != "sqlite":
        raise UserError(f"{scheme}:// is no ledger: give the path of a file, or sqlite:///path")
    path = rest.removeprefix("/") if separator else url
    if not path.strip():
        raise UserError(f"--ledger names no file, got {url!r}: give the path of one")
    return Path(path)
