"""Config -> a compiled plan: row segments between table steps; settings, prompts, wiring checked.

Every fault is collected, not only the first. What needs the source (its fields, how many rows) is
checked by `synthkd.wiring` once the source has been surveyed, still before anything is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthkd.config import NetworkConfig, PipelineConfig, StepConfig, TeacherConfig
from synthkd.errors import ConfigError, PromptError, UserError
from synthkd.evaluate.metrics import missing_libraries
from synthkd.pipeline_file import faults_of, parse_config, refuse_no_json
from synthkd.prompts import Prompt, load_prompt, shipped_folder
from synthkd.records.loading import load_schema
from synthkd.steps import AnyStep, Step, StepSettings, TableStep, find_step, names_of
from synthkd.teachers.concurrency import CEILING


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A step of a pipeline: the registered step with its settings, prompts and teachers."""

    label: str
    rank: int
    """Its place in `steps`, from 0."""
    config: StepSettings
    prompts: Mapping[str, Prompt]
    teachers: tuple[str, ...]
    needs: tuple[str, ...]
    gives: tuple[str, ...]
    in_flight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRowStep(Bound):
    """A row step, bound."""

    step: Step[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTableStep(Bound):
    """A table step, bound."""

    step: TableStep[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Row steps that stream into each other, and the table step at which their rows gather."""

    rows: tuple[BoundRowStep, ...]
    table: BoundTableStep | None
    """None in the last segment, and only there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pipeline file, compiled."""

    config: PipelineConfig
    place: str
    """The file, for messages."""
    folder: Path
    """The file's folder: paths and prompts are looked for there too."""
    steps: tuple[BoundRowStep | BoundTableStep, ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The steps, cut behind each table step."""
        segments: list[Segment] = []
        rows: list[BoundRowStep] = []
        for bound in self.steps:
            if isinstance(bound, BoundTableStep):
                segments.append(Segment(rows=tuple(rows), table=bound))
                rows = []
            else:
                rows.append(bound)
        return (*segments, Segment(rows=tuple(rows), table=None))

    @property
    def prompts(self) -> dict[str, Prompt]:
        """Every prompt that any step uses, by name."""
        return {name: prompt for bound in self.steps for name, prompt in bound.prompts.items()}

    def step(self, label: str) -> BoundRowStep | BoundTableStep:
        """The step of that name."""
        return next(bound for bound in self.steps if bound.label == label)


def compile_plan(raw: Mapping[str, Any], path: Path) -> Plan:
    """Check all that can be checked without reading the source.

    Args:
        raw: the pipeline file's content.
        path: the file, for messages, and for what is looked for beside it.

    Raises:
        ConfigError: with every fault.
    """
    refuse_no_json(raw, str(path))
    config, faults = parse_config(raw, str(path))
    binder = _Binder(path, faults)
    steps = tuple(binder.bind_all(raw, config))
    if config is None or faults:
        raise ConfigError(faults)
    config, faults = _with_record(config, path)
    plan = Plan(config=config, place=str(path), folder=path.parent, steps=steps)
    faults += [*_evaluation_faults(plan), *_student_faults(plan), *_round_faults(plan)]
    if faults:
        raise ConfigError(faults)
    return plan


def _with_record(config: PipelineConfig, path: Path) -> tuple[PipelineConfig, list[str]]:
    """The config with the fields of `evaluate.record` in place of a file's name; or why not."""
    evaluate = config.evaluate
    if evaluate is None or evaluate.record is None:
        return config, []
    try:
        schema = load_schema(evaluate.record, path.parent)
    except UserError as error:
        return config, [f"{path}: evaluate.record: {error}"]
    told = schema.model_dump(mode="json", exclude_unset=True)
    known = evaluate.model_copy(update={"record": told})
    return config.model_copy(update={"evaluate": known}), []


@dataclass(slots=True)
class _Binder:
    """Binds steps one by one and gathers what is wrong with them."""

    path: Path
    faults: list[str]
    teachers: Mapping[str, TeacherConfig] = field(default_factory=dict)

    def bind_all(
        self, raw: Mapping[str, Any], config: PipelineConfig | None
    ) -> Iterable[BoundRowStep | BoundTableStep]:
        """The steps that can be bound; also those of a file that has faults elsewhere."""
        entries = raw.get("steps")
        if config is not None:
            self.teachers = config.teachers
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            try:
                bound = self._bind(index, StepConfig.model_validate(entry), config is not None)
            except ValidationError:
                continue  # already among the faults of the file
            if bound is not None:
                yield bound

    def _fault(self, where: str, what: object) -> None:
        self.faults.append(f"{self.path}: {where}: {what}")

    def _bind(
        self, index: int, entry: StepConfig, teachers_known: bool
    ) -> BoundRowStep | BoundTableStep | None:
        try:
            step = find_step(entry.use)
        except UserError as error:
            self._fault(f"steps[{index}].use", error)
            return None
        try:
            # What settings name by a file's name, such as a rubric, is found where prompts are.
            config: StepSettings = step.config.model_validate(
                entry.with_, context={"folders": self._folders}
            )
        except ValidationError as error:
            self.faults += faults_of(error, str(self.path), f"steps[{index}].with")
            return None
        for fault in config.faults(self.path.parent):
            self._fault(f"steps[{index}].with", fault)
        try:
            teachers = self._asked(config, teachers_known)
        except UserError as error:
            self._fault(f"steps[{index}].with", error)
            return None
        gives = names_of(step.gives, config)
        if twins := sorted({name for name in gives if gives.count(name) > 1}):
            self._fault(
                f"steps[{index}].with",
                f"two things would go into the field {twins[0]!r}, and one of them would be lost:"
                " choose another name",
            )
        prompts = self._prompts(index, config)
        self._check_recorded(index, teachers, prompts)
        for fault in self._bound_faults(entry.use, config, prompts) if teachers_known else ():
            self._fault(f"steps[{index}].with", fault)
        common: dict[str, Any] = {
            "label": entry.label,
            "rank": index,
            "config": config,
            "prompts": prompts,
            "teachers": teachers,
            "needs": _needs(step, config, prompts),
            "gives": gives,
            "in_flight": entry.in_flight or self._ceiling(teachers),
        }
        if isinstance(step, TableStep):
            return BoundTableStep(step=step, **common)
        return BoundRowStep(step=step, **common)

    def _asked(self, config: StepSettings, teachers_known: bool) -> tuple[str, ...]:
        """The teachers that a step names.

        Raises:
            UserError: there is no teacher of that name.
        """
        teachers = teachers_of(config)
        if teachers_known and (absent := [name for name in teachers if name not in self.teachers]):
            there = ", ".join(self.teachers) or "none"
            raise UserError(f"no teacher is named {absent[0]!r}; there are: {there}")
        return teachers

    @property
    def _folders(self) -> list[Path]:
        """Where prompts are looked for, in this order."""
        beside = self.path.parent
        return [beside, beside / "prompts", Path("prompts"), shipped_folder("prompts")]

    def _prompts(self, index: int, config: StepSettings) -> dict[str, Prompt]:
        folders = self._folders
        prompts = {}
        for setting, name in config:
            if name and (setting == "prompt" or setting.endswith("_prompt")):
                try:
                    prompts[name] = load_prompt(name, folders=folders)
                except PromptError as error:
                    self._fault(f"steps[{index}].with.{setting}", error)
        return prompts

    def _check_recorded(
        self, index: int, teachers: Iterable[str], prompts: Mapping[str, Prompt]
    ) -> None:
        """A recorded teacher finds its answers by inputs of the prompt: they must be there."""
        for teacher in teachers:
            recorded = self.teachers[teacher].recorded if teacher in self.teachers else None
            if recorded is None:
                continue
            match = [recorded.match] if isinstance(recorded.match, str) else recorded.match
            for name, prompt in prompts.items():
                for missing in (wanted for wanted in match if wanted not in prompt.inputs):
                    self._fault(
                        f"teachers.{teacher}.recorded.match",
                        f"the prompt {name!r} of steps[{index}] has no input {missing!r}; its"
                        f" inputs are: {', '.join(prompt.inputs) or 'none'}",
                    )

    def _bound_faults(
        self, use: str, config: StepSettings, prompts: Mapping[str, Prompt]
    ) -> Iterable[str]:
        """What the settings have to say of the teachers and prompts that they name."""
        yield from config.teacher_faults(self.teachers)
        hashes = {name: prompt.sha256 for name, prompt in prompts.items()}
        yield from config.bound_faults(use, self.teachers, hashes, self.path.parent)

    def _ceiling(self, teachers: Iterable[str]) -> int:
        """Rows in flight: as many as the teachers may be asked at once; a CPU step takes one."""
        ceilings = [self.teachers[name].concurrency for name in teachers if name in self.teachers]
        return max((CEILING if c == "auto" else c for c in ceilings), default=1)


def teachers_of(config: StepSettings) -> tuple[str, ...]:
    """The teachers that a step may ask: its `teacher` or `teachers`, and those of its blocks.

    Raises:
        UserError: a setting of such a name has something else in it.
    """
    several = getattr(config, "teachers", None)
    named = several if several else [getattr(config, "teacher", None)]
    if isinstance(named, str) or not all(isinstance(name, str | None) for name in named):
        setting = "teachers" if several else "teacher"
        raise UserError(
            f"{setting} must name teachers, got {several or named[0]!r:.80}; in a step of your own,"
            " give a setting that holds something else another name"
        )
    named = list(named)
    for _, block in config:
        if isinstance(block, StepSettings):
            named += teachers_of(block)
    return tuple(dict.fromkeys(name for name in named if name is not None))


def vector_teachers(config: StepSettings) -> set[str]:
    """Those that a step asks for vectors: its blocks `{kind: endpoint, teacher: ...}`."""
    found: set[str] = set()
    for _, block in config:
        if isinstance(block, StepSettings):
            if getattr(block, "kind", None) == "endpoint":
                found.update(teachers_of(block))
            found |= vector_teachers(block)
    return found


def writing_teachers(config: StepSettings) -> set[str]:
    """Those that a step asks for text: not for vectors alone, and not for scores."""
    if getattr(config, "kind", None) == "endpoint":
        return set()
    named = getattr(config, "teachers", None) or [getattr(config, "teacher", None)]
    found = set(getattr(config, "writers", named)) - {None}
    for _, block in config:
        if isinstance(block, StepSettings):
            found |= writing_teachers(block)
    return found


def wordless_teachers(plan: Plan) -> set[str]:
    """Those that all steps together ask for vectors or scores alone: no token comes of it."""
    asked = {name for bound in plan.steps for name in bound.teachers}
    return asked.difference(*(writing_teachers(bound.config) for bound in plan.steps))


def _needs(step: AnyStep, config: StepSettings, prompts: Mapping[str, Prompt]) -> tuple[str, ...]:
    needs = list(names_of(step.needs, config))
    for prompt in prompts.values():
        needs += [name for name in prompt.inputs if name not in step.supplies]
    return tuple(dict.fromkeys(needs))


def _student_faults(plan: Plan) -> Iterable[str]:
    """What would only be found when the rows are paid for."""
    student, holdout = plan.config.student, plan.config.source.holdout
    if not isinstance(student, NetworkConfig) or not (student.best_by or student.hacking):
        return
    setting = "best_by" if student.best_by else "hacking"
    if holdout is None or holdout.dev == 0:
        yield (
            f"{plan.place}: student.{setting} is measured on rows held out as dev, and"
            " source.holdout sets none aside: add `holdout: {dev: 0.1, by: [...]}`"
        )
    if gold_field(plan) is None:
        yield f"{plan.place}: student.{setting} needs `evaluate.gold`: which field has the answer?"


def _round_faults(plan: Plan) -> Iterable[str]:
    config, holdout = plan.config, plan.config.source.holdout
    if config.rounds.count == 1:
        return
    if config.student is None:
        yield f"{plan.place}: rounds need a `student` block: a round learns from its mistakes"
    elif config.student.kind == "hosted":
        yield f"{plan.place}: rounds train a student here: `kind: hosted` would buy a job a round"
    if holdout is None or holdout.dev == 0:
        yield (
            f"{plan.place}: rounds learn from rows held out as dev, and source.holdout sets none"
            " aside: add `holdout: {dev: 0.1, by: [...]}`"
        )
    if gold_field(plan) is None:
        yield f"{plan.place}: rounds need `evaluate.gold`: which field has the right answer?"


def _evaluation_faults(plan: Plan) -> Iterable[str]:
    evaluate = plan.config.evaluate
    if evaluate is None:
        return
    holdout = plan.config.source.holdout
    if holdout is None or getattr(holdout, evaluate.on) == 0:
        yield (
            f"{plan.place}: evaluate.on is {evaluate.on!r}, but source.holdout sets no"
            f" {evaluate.on} rows aside: add `holdout: {{{evaluate.on}: 0.2, by: [...]}}`"
        )
    if gold_field(plan) is None:
        yield (
            f"{plan.place}: evaluate.gold is missing: name the field with the right answer"
            " (a step named by `evaluate.ask` that has a `gold` would also say)"
        )
    if missing := missing_libraries(evaluate.metrics):
        yield (
            f"{plan.place}: evaluate.metrics needs {', '.join(missing)}: pip install"
            " 'synthkd[metrics]'"
        )
    if evaluate.ask is not None and (why_not := _why_not_asked(plan, plan.step(evaluate.ask))):
        yield f"{plan.place}: evaluate.ask: {evaluate.ask!r} {why_not}"


def _why_not_asked(plan: Plan, bound: BoundRowStep | BoundTableStep) -> str | None:
    """Why the step cannot put held-out rows to the teachers; None = it can."""
    if isinstance(bound, BoundTableStep) or not bound.teachers:
        return "asks no teacher"
    samples = getattr(bound.config, "samples", None)
    if bound.step.fans_out and samples != 1:
        way_out = "" if samples is None else ": set its `samples` to 1"
        return f"makes several rows of one, of which none is the answer to compare{way_out}"
    gold = type(bound.config).model_fields.get("gold")
    if gold is not None and gold.is_required():
        return "makes its rows out of gold, without which held-out rows are asked about"
    asked = [plan.config.teachers[name].student for name in bound.teachers]
    if any(student is not None and student.round is not None for student in asked):
        return "asks the student of the round before, which is another one in each round"
    if not bound.gives:
        return "gives no field to compare with gold"
    if plan.config.student is not None and "student" in bound.teachers:
        return "asks a teacher named 'student', as the student is called in the comparison: rename"
    return None


def asked_step(plan: Plan, label: str) -> BoundRowStep:
    """The step named by `evaluate.ask` as it sees held-out rows: without its check against gold."""
    bound = plan.step(label)
    assert isinstance(bound, BoundRowStep)  # noqa: S101  checked when the plan was compiled
    if getattr(bound.config, "gold", None) is None:
        return bound
    config = bound.config.model_copy(update={"gold": None})
    return replace(bound, config=config, needs=_needs(bound.step, config, bound.prompts))


def gold_field(plan: Plan) -> str | None:
    """The field that holds the right answer on held-out rows."""
    evaluate = plan.config.evaluate
    if evaluate is None:
        return None
    if evaluate.gold is None and evaluate.ask is not None:
        gold: str | None = getattr(plan.step(evaluate.ask).config, "gold", None)
        return gold
    return evaluate.gold
