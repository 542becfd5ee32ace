"""A judge run on one row, with teachers that say what a function of the request says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
from hypothesis import settings

from synthkd.desk import Desk
from synthkd.errors import TeacherError
from synthkd.kit import Kit
from synthkd.prompts import Prompt, load_prompt, shipped_folder
from synthkd.rows import Fields, source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage

patient = settings(deadline=None)
"""For laws: the machine may be busy."""
Reply = str | Completion | TeacherError
Voice = Callable[[Request], Reply]


def said(text: str, **more: Any) -> Completion:
    """A completion with this text."""
    return Completion(text=text, finish="stop", usage=Usage(), reply=b"")._replace(**more)


def always(*replies: Reply) -> Voice:
    """Sample k says the k-th reply, whatever is asked."""
    return lambda request: replies[request.sample % len(replies)]


def scored(reasoning: str = "It holds.", **scores: object) -> str:
    """A reply of a judge with a rubric."""
    return orjson.dumps({"reasoning": reasoning, "scores": scores}).decode()


@dataclass
class Speaking:
    """A teacher; remembers what it was asked."""

    name: str
    voice: Voice
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        reply = self.voice(request)
        if isinstance(reply, TeacherError):
            raise reply
        completion = said(reply) if isinstance(reply, str) else reply
        return completion._replace(key=f"{self.name}-{len(self.asked)}")


@dataclass
class Judged:
    """What came of it."""

    fields: list[Fields]
    kit: Kit
    teachers: dict[str, Speaking]

    @property
    def verdict(self) -> Any:
        (fields,) = self.fields
        return fields["verdict"]

    @property
    def figures(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for what, times in self.kit.counts:
            counts[what] += times
        return dict(counts)

    @property
    def asked(self) -> list[Request]:
        return [request for teacher in self.teachers.values() for request in teacher.asked]


@cache
def shipped(name: str) -> Prompt:
    """A prompt that comes with the package."""
    return load_prompt(name, folders=[shipped_folder("prompts")])


async def judged(
    name: str,
    given: Mapping[str, Any],
    fields: Fields,
    voices: Voice | Mapping[str, Voice],
) -> Judged:
    """Run the step; raises what it raises."""
    step = find_step(name)
    assert isinstance(step, Step)
    by_name = voices if isinstance(voices, Mapping) else {"main": voices}
    speaking = {who: Speaking(who, voice) for who, voice in by_name.items()}
    default = {} if "teachers" in given else {"teacher": "main"}
    config = step.config.model_validate(default | dict(given))
    names = [value for key, value in config if key == "prompt" or key.endswith("_prompt")]
    prompts = [shipped(each) for each in names]
    desk = Desk(
        step=name,
        teachers={who: _opened(teacher) for who, teacher in speaking.items()},
        prompts={prompt.name: prompt for prompt in prompts},
    )
    row = source_row("test", ["1"], ordinal=0, fields=fields)
    kit = Kit(desk, row.id)
    made = [out.fields async for out in step.run(row, kit, config)]
    return Judged(made, kit, speaking)


def _opened(teacher: Speaking) -> OpenTeacher:
    return OpenTeacher(
        name=teacher.name,
        model="m",
        params={},
        max_tokens=None,
        simulated=True,
        stack=teacher,
        embedding=teacher,
    )
