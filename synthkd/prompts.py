"""placeholder"""
from __future__ import annotations

from typing import Any

from synthkd.rows import Fields


class Prompt:
    name: str
    inputs: tuple[str, ...]
    sha256: str

    def render(self, inputs: Fields) -> list[dict[str, Any]]: ...
