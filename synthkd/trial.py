"""An evaluation without a run: whoever is named, on the rows of a file (`synthkd eval FILE`).

    trial = Trial.load("support.yaml", Named(student=Path("data/out/support")), rows="new.jsonl")
    record = await trial.carry_out()

The pipeline file says what it says in a run: `evaluate` what is asked, gold and metrics, `steps`
how teachers are asked, `teachers` who they are, `budget` and `limits` what is allowed. Nothing is
made of the rows: each is asked about as one held out. Rows are those that `source.holdout` sets
aside for `evaluate.on`; without a holdout, or with other `rows`, all of the source.

    DIR/evaluation.json        figures, who was asked, what it cost; written last
    DIR/predictions.parquet    every answer to every row
    DIR/card.md                the figures as a section for a card
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthkd.cards import teacher_in_words
from synthkd.errors import ConfigError, UserError
from synthkd.evaluate.card import section
from synthkd.evaluation import check_evaluation
from synthkd.examinees import Found, Named, as_trial, find_student, others_named, source_of
from synthkd.flow import in_thread
from synthkd.folder import LEDGER, PREDICTIONS, RESULT, RunFolder, open_folder, sha256_of
from synthkd.hints import near
from synthkd.io.rows_file import read_rows
from synthkd.io.sources import Split
from synthkd.leaks import NOT_CHECKED, leaks_among
from synthkd.manifest import Evaluation, TrialRecord
from synthkd.pipeline_file import apply_overrides, parse_config, read_yaml
from synthkd.plan import Plan, asked_step, compile_plan, gold_field
from synthkd.results import PACKAGES, UNHASHED, resolved
from synthkd.rows import Row
from synthkd.running import Run, Tell, Ways
from synthkd.students import kinds
from synthkd.students.artefact import CARD, Student
from synthkd.students.lesson import Side
from synthkd.survey import Survey
from synthkd.teachers.prices import price_record
from synthkd.training import held_out_rows, siblings_in, student_in_words
from synthkd.wiring import fields_of_evaluation

SECTION = "card.md"


class Trial:
    """A pipeline file, ready to be evaluated; see the module."""

    def __init__(self, plan: Plan, found: Found | None, *, out: Path, ledger: str | None) -> None:
        self._plan = plan
        self._found = found
        self.out = out
        self.ledger = ledger

    @classmethod
    def load(
        cls,
        path: str | Path,
        named: Named | None = None,
        *,
        rows: str | Path | None = None,
        overrides: Sequence[str] = (),
        out: str | Path | None = None,
        ledger: str | None = None,
        limit: int | None = None,
    ) -> Trial:
        """Read and check a pipeline file; nothing is written, asked or spent.

        Args:
            path: the YAML file.
            named: who is examined; nobody named = the teachers of `evaluate.ask`.
            rows: a file with held-out rows, in place of the file's source.
            overrides: as `--set`.
            out: the folder for results; by default data/out/NAME.eval.
            ledger: where answers are kept; by default .synthkd/ledger.sqlite.
            limit: use the first so many rows.

        Raises:
            ConfigError: with every fault of the file.
            UserError: nobody to examine, or a folder that holds no student and no model.
        """
        path, named = Path(path), named or Named()
        # A student's settings are not in the file: they come with its folder.
        late = [text for text in overrides if text.startswith("student.")]
        raw = read_yaml(path)
        found = None if named.student is None else find_student(named.student)
        others = others_named(named, found)
        if isinstance(teachers := raw.setdefault("teachers", {}), dict):
            for name, other in others.items():  # of one name with a teacher of the file
                there = teachers.get(name)
                if isinstance(there, dict) and "params" in there:
                    other["params"] = there["params"]
            teachers |= others
        apply_overrides(raw, [text for text in overrides if text not in late])
        raw["source"] = source_of(raw, rows, limit)
        config, faults = parse_config(raw, str(path))
        if config is None:
            raise ConfigError(faults)
        trial = as_trial(raw, path, [*named.teachers, *others], found)
        plan = compile_plan(apply_overrides(trial, late), path)
        check_evaluation(plan)
        asked = {name for bound in plan.steps for name in bound.teachers}
        kept = {name: one for name, one in plan.config.teachers.items() if name in asked}
        plan = replace(plan, config=plan.config.model_copy(update={"teachers": kept}))
        out = Path("data", "out", f"{plan.config.name}.eval") if out is None else Path(out)
        return cls(plan, found, out=out, ledger=ledger)

    async def carry_out(
        self, *, offline: bool = False, on_progress: Tell | None = None
    ) -> TrialRecord:
        """Ask, compare, and write what came of it; again resumes, and buys nothing twice.

        Raises:
            UserError: a mistake; nothing was spent.
            RunStopped: it ended early; everything paid for is kept.
        """
        with self._folder() as folder:
            run = TrialRun(self._plan, folder, Ways(offline=offline), on_progress)
            return await run.carry_out(self._found)

    def _folder(self) -> AbstractContextManager[RunFolder]:
        return open_folder(self.out, ledger=self.ledger, default_ledger=LEDGER, kind="evaluation")


class TrialRun(Run):
    """One execution of a trial."""

    async def carry_out(self, found: Found | None) -> TrialRecord:
        """All of it; returns what evaluation.json holds."""
        student = None
        if found is not None and found.about is not None:
            student = await in_thread(lambda: kinds.load(found.folder))
        async with self._working():
            rows_file = None if found is None else found.rows_file
            if found is not None and rows_file is not None:  # a run's folder, with all seeds
                self._siblings = siblings_in(found.folder.parent)
            contamination = await self._contamination(student, rows_file)
            evaluation = await self._compared(student, rows_file, contamination)
            if student is not None and not (student.folder / CARD).exists():
                note = f"the student's folder has no card ({CARD}): nobody says what it learnt from"
                evaluation = evaluation.model_copy(update={"notes": [*evaluation.notes, note]})
            self._enter("done")
            (self._folder.staged / SECTION).write_text(
                "\n".join(["## Evaluation", "", *section(evaluation), ""]), encoding="utf-8"
            )
            return self._folder.publish_trial(lambda: self._record(student, evaluation))

    def _check_row(self, row: Row, side: Split) -> None:
        """A field that no setting of this file names wrongly needs other words."""
        for setting, name in fields_of_evaluation(self._plan):
            if name not in row.fields and side == _on(self._plan):
                raise UserError(
                    f"{self._plan.place}: {setting} is {name!r}, and row {row.order[0] + 1}"
                    f" (counted from 1) has no such field{_instead(name, row.fields)}: say which it"
                    f" is with --set {setting}=FIELD"
                )
        super()._check_row(row, side)

    def _check(self, found: Survey) -> None:
        """Only what is asked about must be there: no row is learnt from."""
        on = _on(self._plan)
        if not found.sides.get(on):
            others = {side: n for side, n in found.sides.items() if n}
            there = f"; there are {others}" if others else ""
            unreadable = f"; {found.unreadable} records cannot be read" if found.unreadable else ""
            fault = (
                f"{self._plan.place}: there is no {on} row to evaluate on, in"
                f" {self._source.name}{there}{unreadable}: is it the right file, and does"
                " `source.where` leave some?"
            )
            raise ConfigError([fault])
        evaluate = self._plan.config.evaluate
        assert evaluate is not None  # noqa: S101  a trial has one
        if evaluate.ask is None:
            return
        seen = [name for name in found.columns if name != gold_field(self._plan)]
        faults = [
            f"{self._plan.place}: the step {evaluate.ask!r} needs the field {name!r}, and the rows"
            f" have none{_instead(name, seen)} (gold is not shown to it)"
            for name in asked_step(self._plan, evaluate.ask).needs
            if name not in seen
        ]
        if faults:
            raise ConfigError(faults)

    async def _contamination(self, student: Student | None, rows_file: Path | None) -> str:
        """Whether the rows of the trial are among those that the student learnt from."""
        if student is None or rows_file is None:
            return NOT_CHECKED
        config = self._plan.config.student
        assert config is not None  # noqa: S101  of the student
        held_out = await held_out_rows(self._plan, self._source, [_on(self._plan)])
        allowed = config.model_copy(update={"allow_leaks": True})
        found = await in_thread(lambda: leaks_among(allowed, read_rows(rows_file), held_out))
        return found or NOT_CHECKED

    def _record(self, student: Student | None, evaluation: Evaluation) -> TrialRecord:
        config, progress = self._plan.config, self._progress()
        asked = {name: teacher_in_words(self._plan, name) for name in config.teachers}
        told: Mapping[str, Any] | None = None
        if student is not None:
            made_from = student.about.get("made_from", {})
            told = {**student_in_words(student, self._siblings), "folder": str(student.folder)}
            told = {**told, "made_from": made_from}
            taught = made_from.get("teachers", "nobody says")
            asked["student"] = f"{told['kind']} in {student.folder}, taught by: {taught}"
        return TrialRecord(
            name=config.name,
            pipeline=self._plan.place,
            run_id=self._folder.run_id,
            source=config.source.path,
            asked=asked,
            evaluation=evaluation,
            student=told,
            teachers=progress.teachers,
            spend=progress.spend,
            prices={name: price_record(teacher) for name, teacher in config.teachers.items()},
            seed=config.seed,
            wall_s=round(progress.elapsed_s, 3),
            config=resolved(self._plan),
            prompts={name: prompt.sha256 for name, prompt in sorted(self._plan.prompts.items())},
            versions={package: version(package) for package in PACKAGES},
            files={
                name: digest
                for name, digest in sha256_of(self._folder.path, UNHASHED).items()
                if name in {PREDICTIONS, SECTION}
            },
        )


def read_trial(folder: Path) -> TrialRecord | None:
    """What an evaluation without a run left in its folder; None = nothing.

    Raises:
        UserError: it is damaged.
    """
    try:
        return TrialRecord.model_validate_json((folder / RESULT).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{folder / RESULT}: cannot be read ({error.errors()[0]['msg']}): evaluate again"
        ) from error


def _on(plan: Plan) -> Side:
    """The side of the rows that are asked about."""
    assert plan.config.evaluate is not None  # noqa: S101  a trial has one
    return plan.config.evaluate.on


def _instead(name: str, there: Iterable[str]) -> str:
    return near(name, there) or f"; there are: {', '.join(there) or 'none'}"
