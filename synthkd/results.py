"""What a run hands over: the dataset with its card, the rows in full, what was lost and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthkd.account import Account, Kind
from synthkd.cards import Planned, dataset_card
from synthkd.config import PipelineConfig
from synthkd.errors import RunStopped, UserError
from synthkd.evaluate.card import HEADING, section, with_section
from synthkd.folder import BEFORE, RunFolder, sha256_of
from synthkd.io.atomic import atomic_file
from synthkd.io.exports import export_dataset, write_records
from synthkd.io.rows_file import ROWS, open_rows
from synthkd.io.spool import RowSpool
from synthkd.manifest import Counts, Evaluation, Manifest, Progress, RoundRecord, Stopped
from synthkd.plan import BoundRowStep, Plan
from synthkd.rows import Json, Row
from synthkd.students.artefact import Student
from synthkd.teachers.prices import price_record
from synthkd.teachers.students import is_simulated
from synthkd.training import Sibling, student_in_words

CARDS = (Path("dataset", "README.md"), Path("student", "README.md"))
PACKAGES = ("synthkd", "aiohttp", "orjson", "pyarrow", "pydantic", "jinja2", "scikit-learn")
"""Whose versions a reader of the manifest may need to get the same bytes."""
UNHASHED = frozenset({".work", ".trained", "run.json", "manifest.json", BEFORE, "stopped"}) | {
    "manifest.json.tmp",  # of a run that was killed while it wrote it
    # What people said of it, at any time later; or half of it, by a `calibrate` that was killed.
    *("audit", "calibration.json", "calibration.json.tmp"),
}


def write_results(
    plan: Plan, spool: RowSpool, account: Account, counts: Counts, into: Path
) -> Mapping[str, Any]:
    """Write dataset/, rows/ and the losses; returns what the manifest says of the dataset."""
    (into / "dataset").mkdir()
    (into / "rows").mkdir()
    planned = Planned(plan)
    with open_rows(into / ROWS) as add:

        def also(row: Row) -> None:
            add(row)
            planned.see(row)

        dataset = export_dataset(spool, plan.config.export, into / "dataset", also)
    funnel = {step: tally.counts() for step, tally in account.funnel.items()}
    card = dataset_card(plan, counts, funnel, dataset, planned)
    (into / "dataset" / "README.md").write_text(card, encoding="utf-8")
    write_losses(account, into)
    return dataset


def write_losses(account: Account, into: Path) -> None:
    """Write a parquet file each of what was rejected, failed and discarded."""
    import pyarrow as pa

    kinds: dict[Kind, tuple[str, str]]
    kinds = {
        "rejected": ("reason", "detail"),
        "failed": ("error", "message"),
        "discarded": ("reason", "detail"),
    }
    for kind, (why, more) in kinds.items():
        columns = {"row_id": pa.string(), "roots": pa.list_(pa.string()), "step": pa.string()}
        schema = pa.schema({**columns, why: pa.string(), more: pa.string()})
        write_records(into / f"{kind}.parquet", schema, account.losses(kind))


def write_stopped(stop: RunStopped, folder: RunFolder, account: Account, now: Progress) -> None:
    """Leave what a person needs at three in the morning: why, how far, which rows were lost."""
    into = folder.stop(
        Stopped(
            message=str(stop),
            exit_code=stop.exit_code,
            counts=account.counts(),
            funnel=now.funnel,
            teachers=now.teachers,
            spend=now.spend,
        )
    )
    write_losses(account, into)


def manifest_of(
    plan: Plan,
    folder: RunFolder,
    account: Account,
    progress: Progress,
    *,
    counts: Counts,
    cpu_s: float,
    dataset: Mapping[str, Any],
    student: Student | None,
    siblings: Iterable[Sibling],
    evaluation: Evaluation | None,
    rounds: Sequence[RoundRecord],
) -> Manifest:
    """What manifest.json says, once everything is in its place."""
    config = plan.config
    figures = figures_of(plan, account.figures)
    put_evaluation(folder.path, evaluation)
    return Manifest(
        name=config.name,
        pipeline=plan.place,
        run_id=folder.run_id,
        simulated=[n for n, t in config.teachers.items() if is_simulated(t, plan.folder)],
        counts=counts,
        funnel=progress.funnel,
        figures=figures,
        warnings=[*warnings_of(plan, figures, rounds)],
        teachers=progress.teachers,
        spend=progress.spend,
        prices={name: price_record(teacher) for name, teacher in config.teachers.items()},
        wall_s=round(progress.elapsed_s, 3),
        cpu_s=cpu_s,
        dataset=dataset,
        student=None if student is None else student_in_words(student, siblings),
        evaluation=evaluation,
        rounds=list(rounds),
        config=resolved(plan),
        prompts={name: prompt.sha256 for name, prompt in sorted(plan.prompts.items())},
        versions={package: version(package) for package in PACKAGES},
        files=sha256_of(folder.path, UNHASHED),
    )


def resolved(plan: Plan) -> dict[str, Any]:
    """The pipeline with every default filled in, those of the steps too."""
    config: dict[str, Any] = plan.config.model_dump(mode="json", by_alias=True)
    for entry, bound in zip(config["steps"], plan.steps, strict=True):
        entry["with"] = bound.config.model_dump(mode="json")
    return config


def put_evaluation(folder: Path, evaluation: Evaluation | None) -> None:
    """Have the cards of dataset and student tell of the evaluation, in place of an older one.

    Args:
        folder: of the run, with everything in place.
        evaluation: None = there is none any more.
    """
    lines = [] if evaluation is None else section(evaluation)
    for name in CARDS:
        if (folder / name).exists():
            card = (folder / name).read_text(encoding="utf-8")
            told = with_section(card, HEADING, lines)
            if told != card:
                with atomic_file(folder / name) as file:
                    file.write(told.encode())


def figures_of(
    plan: Plan, counted: Mapping[str, Mapping[str, Json]]
) -> dict[str, Mapping[str, Json]]:
    """What the steps make of what they counted."""
    figures = dict(counted)
    for bound in plan.steps:
        sums_up = bound.step.sums_up if isinstance(bound, BoundRowStep) else None
        if sums_up is not None and bound.label in figures:
            figures[bound.label] = sums_up(figures[bound.label])
    return figures


def warnings_of(
    plan: Plan, figures: Mapping[str, Mapping[str, Json]], rounds: Sequence[RoundRecord]
) -> Iterator[str]:
    """What the steps have to say of their figures; those of tables are of one round each."""
    for bound in plan.steps:
        label, warns = bound.label, bound.step.warns
        if warns is None:
            continue
        if isinstance(bound, BoundRowStep) or not rounds:
            yield from (f"{label}: {warning}" for warning in warns(figures.get(label, {})))
            continue
        for one in rounds:
            for warning in warns(one.figures.get(label, {})):
                yield f"{label}, round {one.round}: {warning}"


def check_student(student: Student, siblings: Iterable[Sibling], manifest: Manifest) -> None:
    """Check that the students in the folder are those that the manifest's settings made.

    Raises:
        UserError: one of them is another.
    """
    told = manifest.student or {}
    seeds = {str(one.seed): one.fingerprint for one in siblings}
    if student.fingerprint != told.get("fingerprint") or seeds != told.get("seeds", {}):
        raise UserError(
            f"{student.folder}: is not the student that the run's manifest describes, as after a"
            " `synthkd train` that was ended: run `synthkd train` first"
        )


def afterwards(config: PipelineConfig) -> dict[str, Any]:
    """The blocks that `train` and `eval` may change."""
    return config.model_dump(mode="json", include={"student", "evaluate", "budget"})
