"""A step run on one row with a teacher that says what the test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from synthkd.desk import Desk
from synthkd.errors import TeacherError
from synthkd.feedback import Feedback
from synthkd.kit import Kit
from synthkd.prompts import Prompt, load_prompt, shipped_folder
from synthkd.rows import Fields, Row, source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage


def said(text: str, **more: Any) -> Completion:
    """A completion with this text."""
    return Completion(text=text, finish="stop", usage=Usage(), reply=b"")._replace(**more)


@dataclass
class Scripted:
    """Sample k gets the k-th reply, errors are raised; remembers what it was asked."""

    name: str
    replies: Sequence[str | Completion | TeacherError]
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        reply = self.replies[request.sample]
        if isinstance(reply, TeacherError):
            raise reply
        completion = said(reply) if isinstance(reply, str) else reply
        return completion._replace(key=f"{self.name}-{request.sample}")


@dataclass
class Asked:
    """What came of it."""

    rows: list[Row]
    kit: Kit
    teachers: dict[str, Scripted]

    @property
    def fields(self) -> Fields:
        (row,) = self.rows
        return row.fields


Ask = Callable[..., Any]


@pytest.fixture
def ask() -> Ask:
    """`await ask("label", {settings}, {fields}, [replies])`, or replies by teacher."""
    return run_step


async def run_step(
    name: str,
    settings: Mapping[str, Any],
    fields: Fields,
    replies: Sequence[Any] | Mapping[str, Sequence[Any]],
    feedback: Feedback | None = None,
) -> Asked:
    """What comes of one row."""
    step = find_step(name)
    assert isinstance(step, Step)
    by_teacher = replies if isinstance(replies, Mapping) else {"main": replies}
    scripted = {who: Scripted(who, said) for who, said in by_teacher.items()}
    takes_one = "teacher" in step.config.model_fields and "teachers" not in settings
    default = {"teacher": "main"} if takes_one else {}
    config = step.config.model_validate(default | dict(settings))
    prompts: list[Prompt] = [
        load_prompt(value, folders=[shipped_folder("prompts")])
        for setting, value in config
        if value is not None and (setting == "prompt" or setting.endswith("_prompt"))
    ]
    kit = Kit(
        Desk(
            step=name,
            teachers={who: _opened(teacher) for who, teacher in scripted.items()},
            prompts={prompt.name: prompt for prompt in prompts},
            feedback=feedback,
        ),
        "row",
    )
    row = source_row("test", ["1"], ordinal=0, fields=fields)
    rows = [made async for made in step.run(row, kit, config)]
    return Asked(rows, kit, scripted)


def _opened(teacher: Scripted) -> OpenTeacher:
    return OpenTeacher(
        name=teacher.name, model="m", params={}, max_tokens=None, simulated=True, stack=teacher
    )
