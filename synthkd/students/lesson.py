"""What a student is trained on: the final rows of a run, and the rows that were held out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter

from synthkd.config import StudentConfig
from synthkd.errors import UserError
from synthkd.io.rows_file import read_rows
from synthkd.rows import Row
from synthkd.teachers.vllm.command import visible_gpus

Tell = Callable[[str], None]
"""Takes a line on how far training is, for a person to see."""
Side = Literal["dev", "test"]
SIDES: tuple[Side, ...] = ("dev", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRow:
    """A row that no student may learn from."""

    id: str
    side: Side
    text: str
    """What the student is asked with."""
    gold: str | None
    """The right answer; None = the pipeline does not say."""
    domain: str | None = None
    """What the row has in the field `rounds.domain`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One training: what, on which rows, how; as a file it goes to another process."""

    config: StudentConfig
    rows: Path
    """The final rows of a run, as parquet."""
    held_out: Path
    """The rows held out, as JSON lines; see `write_held_out`."""
    made_from: Mapping[str, str]
    """What the card says about the origin of the rows."""
    folder: Path
    """Where the student is kept; another one that is there is replaced."""
    work: Path
    """For checkpoints: what is here survives a kill, and goes once the student is whole."""

    def examples(self) -> Iterator[Row]:
        """The rows to learn from, in their order."""
        return read_rows(self.rows)

    def held_out_rows(self, side: Side | None = None) -> Iterator[HeldOutRow]:
        """Those of one side, or of both."""
        with self.held_out.open("rb") as lines:
            for line in lines:
                row = HeldOutRow(**orjson.loads(line))
                if side in {None, row.side}:
                    yield row

    def dev_rows(self) -> list[HeldOutRow]:
        """The rows held out as dev whose answer is known: what training is measured on.

        Raises:
            UserError: there are none, and the settings choose the best checkpoint by them.
        """
        rows = [row for row in self.held_out_rows("dev") if row.gold is not None]
        best_by: str | None = getattr(self.config, "best_by", None)
        if best_by is not None and not rows:
            raise UserError(
                f"student.best_by {best_by}: no rows with an answer are held out as dev: set"
                " source.holdout.dev and evaluate.gold, or leave best_by out"
            )
        if getattr(self.config, "hacking", None) is not None and not rows:
            raise UserError(
                "student.hacking: no rows with an answer are held out as dev, so nobody knows what"
                " is right: set source.holdout.dev and evaluate.gold, or leave hacking out"
            )
        return rows

    @property
    def processes(self) -> int:
        """How many of them train together: one a GPU, and one on a CPU."""
        asked: int | None = getattr(self.config, "processes", None)
        return asked or len(visible_gpus(os.environ) or ["cpu"])

    def to_json(self) -> bytes:
        """Everything, for `from_json` in another process."""
        fields = {name: getattr(self, name) for name in ("rows", "held_out", "folder", "work")}
        return orjson.dumps(
            {
                **{name: str(path.resolve()) for name, path in fields.items()},
                "config": self.config.model_dump(mode="json"),
                "made_from": dict(self.made_from),
            }
        )

    @classmethod
    def from_json(cls, raw: bytes) -> Lesson:
        """What `to_json` wrote."""
        content: dict[str, Any] = orjson.loads(raw)
        config = TypeAdapter[StudentConfig](StudentConfig).validate_python(content.pop("config"))
        made_from = content.pop("made_from")
        paths = {name: Path(path) for name, path in content.items()}
        return cls(config=config, made_from=made_from, **paths)


def write_held_out(file: Path, rows: Iterable[HeldOutRow]) -> None:
    """The rows as JSON lines, in a folder that is made if it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as lines:
        for row in rows:
            lines.write(orjson.dumps(asdict(row), option=orjson.OPT_APPEND_NEWLINE))
