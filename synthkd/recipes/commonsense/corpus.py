"""`commonsense.split` and `commonsense.student`: a corpus divided by head, and rows for a student.

- use: commonsense.split                  # train, dev or test, by the letters of the head
- use: critic                             # learns on train, its thresholds on dev
  with: {fields: [head, relation, tail], label: valid, split: split, recalls: [0.5, 0.8]}
- use: commonsense.student                # "PersonX bakes bread xWant [GEN]" -> " to eat it"
  with: {splits: [train], flag: rec_0.8}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Literal

from pydantic import model_validator

from synthkd.config import Share
from synthkd.errors import MissingField, Rejected
from synthkd.graphs.relations import head_key, share_of
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step

GENERATE = "[GEN]"
"""What a student goes on behind, as COMET's."""
Split = Literal["train", "dev", "test"]


class SplitSettings(StepSettings):
    """Settings of `commonsense.split`."""

    head: str = "head"
    """The field that is divided by."""
    dev: Share = 0.1
    """Share of the heads."""
    test: Share = 0.1
    """Share of the heads."""
    into: str = "split"
    """The field for train, dev or test."""

    @model_validator(mode="after")
    def _something_left(self) -> SplitSettings:
        if self.dev + self.test >= 1:
            raise ValueError(f"dev + test must leave heads to train on, got {self.dev + self.test}")
        return self


class StudentSettings(StepSettings):
    """Settings of `commonsense.student`."""

    head: str = "head"
    """The field with the event."""
    split: str = "split"
    """The field that `splits` are of."""
    splits: list[Split] | None = None
    """Rows of other splits are rejected; null = all stay."""
    flag: str | None = None
    """A flag of the critic, such as `rec_0.8`: rows that do not have it are rejected; null = all
    stay."""
    into: str = "prompt"
    """The field for what the student is asked."""
    completion: str = "completion"
    """The field for what it learns to write."""


@step(
    "commonsense.split",
    needs=lambda config: [config.head],
    gives=lambda config: [config.into],
)
async def split(row: Row, kit: Kit, config: SplitSettings, /) -> AsyncIterator[Row]:
    """Say on which side a row is; rows whose heads have the same letters are on one side.

    Case, blanks and punctuation make no difference, so that no head is learnt in one spelling and
    tested in another. A row without a head fails.
    """
    drawn = share_of(part_of(row, config.head), "split", kit.desk.seed)
    side: Split = "train"
    if drawn < config.dev:
        side = "dev"
    elif drawn < config.dev + config.test:
        side = "test"
    kit.count(side)
    yield row.with_fields(**{config.into: side})


def _student_needs(config: StudentSettings) -> Iterable[str]:
    split = None if config.splits is None else config.split
    return [config.head, "relation", "tail", *(name for name in (split, config.flag) if name)]


@step(
    "commonsense.student",
    needs=_student_needs,
    gives=lambda config: [config.into, config.completion],
)
async def student(row: Row, kit: Kit, config: StudentSettings, /) -> AsyncIterator[Row]:
    """What a student of commonsense learns, as COMET: head and relation, then the tail.

    Rejects `other_split` and `not_flagged`. A row fails where head, relation or tail is no text, or
    the flag is neither true nor false.
    """
    if config.splits is not None and row.fields.get(config.split) not in config.splits:
        raise Rejected("other_split", f"{config.split} is {row.fields.get(config.split)!r:.80}")
    if config.flag is not None:
        flag = row.fields.get(config.flag)
        if not isinstance(flag, bool):
            raise MissingField(f"the row has no true or false in {config.flag!r}, got {flag!r:.80}")
        if not flag:
            raise Rejected("not_flagged", config.flag)
    head, relation, tail = (part_of(row, name) for name in (config.head, "relation", "tail"))
    prompt = f"{' '.join(head.split())} {relation} {GENERATE}"
    yield row.with_fields(**{config.into: prompt, config.completion: f" {' '.join(tail.split())}"})


def part_of(row: Row, field: str) -> str:
    """The text of a part of a triple.

    Raises:
        MissingField: there is none.
    """
    text = row.fields.get(field)
    if not isinstance(text, str) or not head_key(text):
        raise MissingField(f"the row has no text in {field!r}, got {text!r:.80}")
    return text
