"""A judge is believed only as far as it was checked: `calibration` and `floor` in a judge's `with`.

    with: {teacher: judge, calibration: judge.calibration.json, floor: {kappa: 0.4, accuracy: 0.7}}

The plan reads the file and compares, before anything is asked. What it compares with the floor is
the lower end of the 95 % interval: a figure of few items is not believed for its luck. A file that
is about another teacher, prompt or rubric is refused (docs/adr/0023).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from synthkd.errors import SourceError, UserError
from synthkd.evaluate.calibration import FIGURES, Calibration, JudgeRecord
from synthkd.hints import near
from synthkd.io.paths import find_file
from synthkd.rows import canonical
from synthkd.steps import StepSettings

NOT_THE_JUDGE = {"calibration", "floor", "keep_at_least", "into", "teacher", "teachers"}
"""Settings that change what is made of a verdict, or name somebody: not what is said."""
WHO_ANSWERS = ("model", "vllm", "recorded", "simulated", "params")
"""Of a teacher's block, beside where it is: what decides its answers."""


class Calibrated(StepSettings):
    """Settings of a judge that may name what is known of it."""

    calibration: str | None = None
    """A file of `synthkd calibrate`: how far people agree with this very judge."""
    floor: dict[str, float] = Field(default={}, validate_default=True)
    """Figure -> the least that the lower end of its 95 % interval must be, such as {kappa: 0.4}.
    Below it the run does not start."""

    @model_validator(mode="after")
    def _floor_of_known_figures(self) -> Calibrated:
        for name in self.floor:
            if name not in FIGURES:
                hint = near(name, FIGURES) or f"; there are: {', '.join(FIGURES)}"
                raise ValueError(f"floor: there is no figure {name!r}{hint}")
        if (self.calibration is None) != (not self.floor):
            raise ValueError("calibration and floor go together: a file, and what it must show")
        return self


def judge_record(
    use: str,
    settings: Mapping[str, Any],
    teachers: Mapping[str, Mapping[str, Any]],
    prompts: Mapping[str, str],
) -> JudgeRecord:
    """Which judge a step is, from its entry as a run resolved it.

    Args:
        use: the step, such as `judge.rubric`.
        settings: its `with`, with every default filled in.
        teachers: name -> block, of the whole pipeline.
        prompts: name -> SHA-256, of the whole pipeline.
    """
    names = [
        str(value) for name, value in settings.items() if name == "prompt" or "_prompt" in name
    ]
    about: dict[str, Any] = {
        "use": use,
        "teachers": [_who(teachers[name]) for name in asked_by(settings) if name in teachers],
        "prompts": {name: prompts[name] for name in sorted(names) if name in prompts},
        "settings": {
            name: value for name, value in sorted(settings.items()) if name not in NOT_THE_JUDGE
        },
    }
    return JudgeRecord(step=use, sha256=hashlib.sha256(canonical(about)).hexdigest(), about=about)


def asked_by(settings: Mapping[str, Any]) -> list[str]:
    """The teachers that settings name, those of blocks inside them too."""
    named = [settings.get("teacher"), *(settings.get("teachers") or [])]
    for block in settings.values():
        if isinstance(block, Mapping):
            named += asked_by(block)
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))


def _who(block: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher without its name, key, limits and timeouts."""
    where = block.get("served_by") or block.get("endpoint")
    parts = {"served_by": where, **{name: block.get(name) for name in WHO_ANSWERS}}
    return {name: value for name, value in parts.items() if value}


def read_calibration(path: Path) -> Calibration:
    """What `synthkd calibrate` wrote.

    Raises:
        UserError: there is no such file, or it is another one.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError:
        raise UserError(
            f"{path}: is no calibration of this version: write one with `synthkd calibrate`"
        ) from None


def check_calibration(settings: Calibrated, judge: JudgeRecord, base: Path) -> Iterable[str]:
    """Why the judge is not to be believed as far as its settings want; nothing = it is.

    Args:
        settings: of the judge.
        judge: which judge it is.
        base: the pipeline file's folder, where the file is looked for after the current one.
    """
    if settings.calibration is None:
        return
    try:
        found = read_calibration(find_file(settings.calibration, base))
    except (SourceError, UserError) as error:
        yield f"calibration: {error}"
        return
    name = settings.calibration
    if found.judge is None:
        yield (
            f"calibration: {name} is of verdicts out of a file, so it does not say whose they are:"
            " calibrate a run of this judge, `synthkd calibrate DIR --people FILE`"
        )
        return
    if found.judge.sha256 != judge.sha256:
        yield (
            f"calibration: {name} is of another judge: {_differences(found.judge, judge)} differs;"
            " calibrate this one"
        )
        return
    for figure, least in settings.floor.items():
        known = found.figures.get(figure)
        if known is None:
            yield f"floor: {name} has no {figure}, of {found.n} items: {FIGURES[figure]}"
        elif not known.low >= least:  # nor is what is no number
            yield (
                f"floor: {figure} is {known.value:.3f} (95 % interval {known.low:.3f} to"
                f" {known.high:.3f}, {known.n} items) in {name}, and its lower end must be at least"
                f" {least:g}: take another judge or prompt, label more items, or lower the floor"
            )


def _differences(one: JudgeRecord, other: JudgeRecord) -> str:
    names = [name for name in other.about if one.about.get(name) != other.about[name]]
    return ", ".join(names) or "its record"
