"""A table step on rows of a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Row, source_row
from synthkd.steps import TableStep, find_step
from synthkd.table_kit import TableKit


class Outcome:
    """What a table step made of the rows; a row's id is that of its place."""

    def __init__(self, name: str, settings: dict[str, Any], fields: Sequence[Fields]) -> None:
        step = find_step(name)
        assert isinstance(step, TableStep)
        self.given = [
            source_row("rows", [i], ordinal=i, fields=one) for i, one in enumerate(fields)
        ]
        self.kit = TableKit(Desk(step=name))
        with RowSpool.of(Path("rows.spool"), self.given) as spool:
            config = step.config.model_validate(settings)
            self.rows: list[Row] = list(step.run(Table(spool), self.kit, config))
        self.gone = [
            (row.fields, None if error is None else str(error))
            for row, error in self.kit.take_gone()
        ]
