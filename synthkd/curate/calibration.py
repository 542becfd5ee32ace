"""A judge is believed only as far as it was checked: `calibration` and `floor` in a judge's `with`.

    with: {teacher: judge, calibration: judge.calibration.json, floor: {kappa: 0.4, accuracy: 0.7}}

The plan reads the file and compares, before anything is asked. What it compares with the floor is
the lower end of the 95 % interval: a figure of few items is not believed for its luck. A file that
is about another teacher, prompt or rubric is refused (docs/adr/0023).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from synthkd.config import TeacherConfig
from synthkd.errors import SourceError, UserError
from synthkd.evaluate.calibration import FEW, Calibration, JudgeRecord
from synthkd.evaluate.figures import FIGURES, FLOORS
from synthkd.hints import near
from synthkd.io.paths import find_file
from synthkd.rows import Json, canonical
from synthkd.steps import StepSettings
from synthkd.teachers.endpoint import http_identity

NOT_THE_JUDGE: Mapping[str, Any] = {
    **dict.fromkeys(("calibration", "floor", "keep_at_least", "ties", "into"), True),
    "check_teacher": True,  # it looks on
    "rubric": {"name"},
}
"""Settings that change what is made of a verdict, or name somebody: not what is said."""
SAME_ANSWERS: Mapping[str, Any] = {
    "simulated": {"rate_limit_rate", "latency_s"},
    "vllm": {"servers", "start_timeout_s"},
}
"""Of a teacher's block: what changes how soon it answers, and not what."""
ROUNDING = 1e-9
"""A score is a quotient: no row is rejected, and no threshold another one, for its last bit."""


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
            if name not in FLOORS:
                there = ", ".join(FLOORS)
                why = near(name, FLOORS) or f"; there are: {there}"
                if name in FIGURES:
                    why = f", because a verdict that cannot be read does not lower it; take {there}"
                raise ValueError(f"floor: there is none on {name!r}{why}")
        if (self.calibration is None) != (not self.floor):
            raise ValueError("calibration and floor go together: a file, and what it must show")
        return self

    @property
    def verdict_field(self) -> str:
        """The field of a row that its verdict stands in."""
        return str(getattr(self, "into", "verdict"))

    def judging(self) -> dict[str, Any]:
        """Those of the settings that change what is said; teachers and prompts by their names."""
        return self.model_dump(mode="json", exclude=dict(NOT_THE_JUDGE))

    def bound_faults(
        self,
        use: str,
        teachers: Mapping[str, TeacherConfig],
        prompts: Mapping[str, str],
        folder: Path,
    ) -> Iterable[str]:
        """Why the judge is not to be believed as far as the settings want."""
        return check_calibration(self, judge_record(use, self, teachers, prompts), folder)


def judge_record(
    use: str,
    settings: Calibrated,
    teachers: Mapping[str, TeacherConfig],
    prompts: Mapping[str, str],
) -> JudgeRecord:
    """Which judge a step is: who answers, which prompts, which settings; not what they are called.

    Args:
        use: the step, such as `judge.rubric`.
        settings: its `with`.
        teachers: the pipeline's.
        prompts: name -> SHA-256, of the step at least.
    """
    who = {name: _who(config) for name, config in teachers.items()}
    about = {"use": use, **_resolved(settings.judging(), who, prompts)}
    return JudgeRecord(step=use, sha256=hashlib.sha256(canonical(about)).hexdigest(), about=about)


def _resolved(
    settings: Mapping[str, Any], who: Mapping[str, Json], prompts: Mapping[str, str]
) -> dict[str, Any]:
    """Settings with what they name in place of the names; the order of teachers decides nothing."""
    told: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "prompt" or name.endswith("_prompt"):
            value = prompts.get(value, value)
        elif name == "teacher" or name.endswith("_teacher"):
            value = who.get(value, value)
        elif name == "teachers":
            value = sorted((who.get(one, one) for one in value or []), key=canonical)
        elif name == "families":
            value = {canonical(who.get(one, one)).decode(): family for one, family in value.items()}
        elif isinstance(value, Mapping):
            value = _resolved(value, who, prompts)
        told[name] = value
    return told


def _who(config: TeacherConfig) -> dict[str, Json]:
    """A teacher without its name, key, price, limits and timeouts."""
    parts: dict[str, Json] = {"model": config.model, "params": config.params}
    if config.kind == "http":
        parts["served_by"] = http_identity(config).served_by
    else:
        block = config.model_dump(mode="json", exclude=dict(SAME_ANSWERS))
        parts[config.kind] = block[config.kind]
    return parts


def asked_by(settings: Mapping[str, Any]) -> list[str]:
    """The teachers that `Calibrated.judging` names, those of blocks inside it too."""
    named: list[Any] = []
    for name, value in settings.items():
        if name == "teacher" or name.endswith("_teacher"):
            named.append(value)
        elif name == "teachers":
            named += value or []
        elif isinstance(value, Mapping):
            named += asked_by(value)
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))


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
            f"{path}: is no calibration of this version, or a part of one: write it with"
            " `synthkd calibrate`"
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
    if found.hides_unreadable:
        yield (
            f"calibration: of the rows that the judge has no readable verdict on, people labelled"
            f" too few, so that {name} is of those that it finds easy: label them too"
        )
    if found.by_threshold or "precision" in settings.floor:
        yield from _other_threshold(settings, found)
    for figure, least in settings.floor.items():
        yield from _below(figure, least, found, name)


def _other_threshold(settings: Calibrated, found: Calibration) -> Iterable[str]:
    """That the step keeps rows by another score than the one whose figures the file has."""
    kept_from = getattr(settings, "keep_at_least", None)
    shown = None if found.threshold is None else found.threshold.threshold
    if shown is None:
        yield f"floor: no threshold of {settings.calibration} reaches the precision that was wanted"
    elif kept_from is None or not math.isclose(kept_from, shown, rel_tol=0, abs_tol=ROUNDING):
        yield (
            f"keep_at_least: is {kept_from}, and the figures of {settings.calibration} are of the"
            f" threshold {shown!r}: write `keep_at_least: {shown!r}`, or calibrate with the"
            " precision that you want"
        )


def _below(figure: str, least: float, found: Calibration, name: str) -> Iterable[str]:
    known = found.figures.get(figure)
    if known is None:
        yield f"floor: {name} has no {figure}, of {found.n} items: {FIGURES[figure]}"
    elif known.n < FEW:
        yield (
            f"floor: {figure} is of {known.n} items in {name}, and a floor takes {FEW} at least:"
            " label more"
        )
    elif not (least <= known.low <= known.high and least <= known.value):  # a NaN is neither
        yield (
            f"floor: {figure} is {known.value:.3f} (95 % interval {known.low:.3f} to"
            f" {known.high:.3f}, {known.n} items) in {name}, and its lower end must be at least"
            f" {least:g}: take another judge or prompt, label more items, or lower the floor"
        )


def _differences(one: JudgeRecord, other: JudgeRecord) -> str:
    names = [name for name in other.about if one.about.get(name) != other.about[name]]
    return ", ".join(names) or "its record"
