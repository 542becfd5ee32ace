"""A measure run on one row, with teachers that say what a function of the request says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthkd.desk import Desk
from synthkd.kit import Kit
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Fields, source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from tests.curate.judges.asking import Speaking, Voice


@dataclass
class Measured:
    """What came of it."""

    fields: Any
    kit: Kit
    teachers: Mapping[str, Speaking]
    figures: Any


async def measure(
    name: str,
    settings: Mapping[str, Any],
    fields: Fields,
    voices: Mapping[str, Voice] | None = None,
    *,
    missing: str | None = None,
    opened: Mapping[str, OpenTeacher] | None = None,
) -> Measured:
    """Run the step; raises what it raises. `missing` is the student that is not there yet."""
    step = find_step(name)
    assert isinstance(step, Step)
    config = step.config.model_validate(settings)
    names = [value for key, value in config if key == "prompt" or key.endswith("_prompt")]
    speaking = {who: Speaking(who, voice) for who, voice in (voices or {}).items()}
    teachers = {who: _opened(one, is_there=who != missing) for who, one in speaking.items()}
    desk = Desk(
        step=name,
        teachers={**teachers, **(opened or {})},
        prompts={each: load_prompt(each, folders=[shipped_folder("prompts")]) for each in names},
    )
    row = source_row("test", ["1"], ordinal=0, fields=fields)
    kit = Kit(desk, row.id)
    (made,) = [out async for out in step.run(row, kit, config)]
    assert {*step.gives(config)} <= made.fields.keys()  # type: ignore[operator]
    counts: Counter[str] = Counter()
    for what, times in kit.counts:
        counts[what] += times
    assert step.sums_up is not None
    return Measured(made.fields, kit, speaking, step.sums_up(dict(counts)))


def _opened(teacher: Speaking, *, is_there: bool) -> OpenTeacher:
    return OpenTeacher(
        name=teacher.name,
        model="m",
        params={},
        max_tokens=None,
        simulated=True,
        stack=teacher,
        is_there=is_there,
    )
