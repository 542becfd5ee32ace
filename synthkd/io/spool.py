"""placeholder"""
from __future__ import annotations

from collections.abc import Iterator

from synthkd.rows import Row


class Table:
    def __iter__(self) -> Iterator[Row]: ...
    def __len__(self) -> int: ...
