"""System messages that vary: of a list or a file one is drawn for each row, and kept in the row.

    system: [You are terse., You are a patient teacher., ""]
    system: systems.yaml        # systems: [text, text, ...]

A student that has seen one system message only may take it for a part of the task. A row that
brings its own keeps it. An empty text is no system message: listed among others, a share of the
rows goes without.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from synthkd.errors import RowError, UserError
from synthkd.io.paths import find_file
from synthkd.pipeline_file import read_yaml
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings

SYSTEM = "system"
"""The field for it, which `export.system` may name."""


class SystemSettings(StepSettings):
    """Which system messages there are."""

    system: str | Annotated[list[str], Field(min_length=1)] | None = None
    """System messages of which each row draws one, or a file with them (YAML: `systems: [...]`);
    "" = none. A row's own field `system` wins. null = only what rows bring."""

    def faults(self, folder: Path) -> Iterable[str]:
        """Look at the file."""
        if isinstance(self.system, str):
            load_systems.cache_clear()  # a plan reads anew what the run then draws from
            try:
                load_systems(find_file(self.system, folder))
            except UserError as error:
                yield f"system: {error}"


def system_for(row: Row, kit: Kit, config: SystemSettings) -> str | None:
    """The row's own system message, or one that is drawn; None = it has none.

    Raises:
        RowError: the row's own is no text.
    """
    own = row.fields.get(SYSTEM)
    if own is not None and not isinstance(own, str):
        raise RowError(f"the field {SYSTEM!r} must be a text or null, got {own!r:.80}")
    if own is not None or config.system is None:
        return own or None
    listed = config.system
    systems = (
        load_systems(find_file(listed, kit.desk.folder)) if isinstance(listed, str) else listed
    )
    return kit.rng.choice(systems) or None


@lru_cache(maxsize=8)
def load_systems(path: Path) -> tuple[str, ...]:
    """The system messages of a file; at least one.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    listed = read_yaml(path, holds="systems: a list of texts").get("systems")
    if not isinstance(listed, list) or not listed or not all(isinstance(x, str) for x in listed):
        raise UserError(
            f"{path}: systems must be a list of texts, at least one, got {listed!r:.80}"
        )
    return tuple(map(str, listed))
