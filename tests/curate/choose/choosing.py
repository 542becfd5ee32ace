"""A choice from a pool written by hand, with a student that is as likely as the test says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from synthkd.desk import Desk
from synthkd.errors import TeacherError
from synthkd.kit import Kit
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Fields, Json, Row, source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage

Likely = Callable[[str], float | TeacherError]
"""A word of an answer -> its log-probability."""


def one(teacher: str, answer: str | None, *, sample: int = 0, **more: Json) -> dict[str, Json]:
    """A candidate."""
    rationale = more.pop("rationale", f"{teacher} thinks.")
    known: dict[str, Json] = {
        "teacher": teacher,
        "sample": sample,
        "text": f"{rationale} The answer is {answer}.",
        "thought": None,
        "rationale": rationale,
        "answer": answer,
        "status": "no_cue" if answer is None else "ok",
        "finish": "stop",
        "logprob": None,
        "key": f"{teacher}-{sample}",
    }
    return known | more


@dataclass
class Student:
    """Says how likely each word of an answer is; the question has as many words as it has."""

    likely: Likely
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        told: list[Any] = []
        messages: Any = request.body["messages"]
        for message in messages:
            for word in f"<{message['role']}> {message['content']}".split():
                value = self.likely(word)
                if isinstance(value, TeacherError):
                    raise value
                told.append({str(len(told)): {"logprob": value, "decoded_token": word}})
        if request.body.get("add_generation_prompt") is not False:
            told.append({"0": {"logprob": -1.0, "decoded_token": "<assistant>"}})
        reply = json.dumps({"choices": [{}], "prompt_logprobs": [None, *told[1:]]}).encode()
        return Completion("", "length", Usage(), reply, key=f"k{len(self.asked)}")


@dataclass
class Chosen:
    """What came of it."""

    rows: list[Row]
    kit: Kit

    @property
    def fields(self) -> Any:
        (row,) = self.rows
        return row.fields

    @property
    def figures(self) -> Any:
        counts: Counter[str] = Counter()
        for what, times in self.kit.counts:
            counts[what] += times
        return dict(counts)


async def choose(
    name: str,
    pool: Json,
    settings: Mapping[str, Any] | None = None,
    *,
    student: Any = None,
    row: str = "1",
    **fields: Json,
) -> Chosen:
    """Run a step on one row; raises what it raises."""
    step = find_step(name)
    assert isinstance(step, Step)
    given = dict(settings or {})
    if student is not None:
        given |= {"teacher": "student"}
    config = step.config.model_validate(given)
    names = [value for key, value in config if key == "prompt" or key.endswith("_prompt")]
    prompts = [load_prompt(each, folders=[shipped_folder("prompts")]) for each in names if each]
    desk = Desk(
        step=name,
        teachers={} if student is None else {"student": opened(student)},
        prompts={prompt.name: prompt for prompt in prompts},
    )
    known: Fields = {"instruction": "Why?", "candidates": pool, **fields}
    kit = Kit(desk, row)
    made = source_row("test", [row], ordinal=0, fields=known)
    return Chosen([out async for out in step.run(made, kit, config)], kit)


def opened(stack: Any) -> OpenTeacher:
    return OpenTeacher(
        name="student", model="m", params={}, max_tokens=None, simulated=True, stack=stack
    )


def likely_by(words: Mapping[str, float], other: float = -2.0) -> Likely:
    """Some words are likelier than all others."""
    return lambda word: words.get(word, other)


def who(chosen: Any) -> tuple[str, int]:
    """Whose candidate was chosen."""
    return chosen["chosen"]["teacher"], chosen["chosen"]["sample"]
