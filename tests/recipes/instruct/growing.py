"""A generator run without an engine, on a teacher that says what a function tells it to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthkd.config import HoldoutConfig
from synthkd.desk import Desk
from synthkd.errors import RowError, TeacherError
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Row, digest, source_row
from synthkd.steps import TableStep, find_step
from synthkd.table_kit import Question, TableKit
from synthkd.teachers.request import Completion, Usage

Says = Callable[[Question], str | Completion | RowError]


def completion(text: str, **more: Any) -> Completion:
    """What a teacher says."""
    return Completion(text=text, finish="stop", usage=Usage(), reply=b"")._replace(**more)


class Told(TableKit):
    """A kit whose teacher is a function; remembers each wave."""

    def __init__(self, desk: Desk, says: Says) -> None:
        super().__init__(desk)
        self.says = says
        self.waves: list[list[Question]] = []

    def ask_each(
        self, questions: Sequence[Question], *, teacher: str, longer: int | None = None
    ) -> list[Completion | RowError]:
        self.waves.append(list(questions))
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Completion | RowError:
        said = self.says(question)
        if isinstance(said, TeacherError | RowError):
            return said
        reply = completion(said) if isinstance(said, str) else said
        return reply._replace(key=digest(question.prompt, question.inputs, question.sample))


@dataclass
class Grown:
    """What came of it."""

    kit: Told
    rows: list[Row] = field(default_factory=list)
    gone: list[tuple[Row, RowError | None]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Of discarded candidates, in their order."""
    ended: Exception | None = None

    @property
    def new(self) -> list[Row]:
        """The rows that the step made."""
        return [row for row in self.rows if row.fields.get("origin") == self.kit.desk.step]


def grown(
    use: str,
    settings: Mapping[str, Any],
    seeds: Sequence[Fields],
    says: Says,
    folder: Path,
    *,
    earlier: Sequence[Row] = (),
    holdout: HoldoutConfig | None = None,
    number: int = 0,
) -> Grown:
    """Run the step over these seeds; an exception ends it and is kept."""
    step = find_step(use)
    assert isinstance(step, TableStep)
    desk = Desk(step=use, work=folder, earlier=earlier, holdout=holdout, round=number)
    kit = Told(desk, says)
    config = step.config.model_validate({"teacher": "main", **settings})
    found = Grown(kit)
    rows = [source_row("t", [n], ordinal=n, fields=each) for n, each in enumerate(seeds)]
    with RowSpool.of(folder / "rows.spool", rows) as spool:
        try:
            found.rows += step.run(Table(spool), kit, config)
        except Exception as error:  # noqa: BLE001  what ends it is looked at by the test
            found.ended = error
    found.gone = kit.take_gone()
    found.reasons = [reason for _, reason, _ in kit.take_discards()]
    return found
