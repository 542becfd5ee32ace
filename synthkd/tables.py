"""Plain tables and texts for a terminal; knows nothing of what they show."""

from __future__ import annotations

from rich import box
from rich.table import Table

WIDTH_OF_A_VALUE = 300
"""Characters shown of one sample row or detail."""
LEFT = {"reason", "reasons", "for example", "metric", "figure"}
"""Headings of columns that hold text."""


def plain_table(*headings: str) -> Table:
    """A table without frames: text to the left, figures to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(headings):
        is_text = index == 0 or heading in LEFT
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    return table


def printable(text: str, width: int = WIDTH_OF_A_VALUE) -> str:
    """The text on one line without control characters, cut to so many characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: width + 1])
    return line if len(line) <= width else line[: width - 3] + "..."


def known(value: float | None, form: str) -> str:
    """The value, or a word that cannot be mistaken for zero."""
    return "unknown" if value is None else format(value, form)
