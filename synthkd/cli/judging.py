"""`synthkd calibrate`: a judge compared with people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkd.cli.app import AsJson, Debug, app, print_json, reported
from synthkd.errors import UserError
from synthkd.evaluate.reliability import Scale

if TYPE_CHECKING:
    from synthkd.curate.calibration import Calibrated
    from synthkd.evaluate.calibration import Calibration, JudgeRecord
    from synthkd.evaluate.judged import Pair
    from synthkd.evaluate.people import Where
    from synthkd.evaluate.thresholds import Threshold, Wanted
    from synthkd.manifest import Manifest


@app.command()
@reported
def calibrate(
    verdicts: Annotated[
        Path, typer.Argument(metavar="VERDICTS", help="The folder of a run, or a file of records.")
    ],
    people: Annotated[Path, typer.Option(metavar="FILE", help="What people said: JSONL, CSV, ...")],
    step: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which judge of the run, if it has several.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The verdict, such as verdict.winner.")
    ] = None,
    swapped: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="The verdict with the two answers swapped."),
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="FIELD", help="How sure or how good: for --precision.")
    ] = None,
    id_field: Annotated[
        str, typer.Option("--id", metavar="FIELD", help="The id, in verdicts and in --people.")
    ] = "id",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="The label in --people; several: one an annotator."),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(metavar="LABEL:FIELD", help="What names the first answer, and its text."),
    ] = None,
    second: Annotated[
        str | None, typer.Option(metavar="LABEL:FIELD", help="The same for the second answer.")
    ] = None,
    tie: Annotated[str, typer.Option(metavar="LABEL", help="What names a tie.")] = "tie",
    scale: Annotated[Scale, typer.Option(help="What the labels are.")] = "nominal",
    good: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="People's labels that make a row good."),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Find the score that reaches it.")
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out labels of ids without a verdict.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default calibration.json in VERDICTS.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals and the split.")] = 0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare a judge's verdicts with what people say, and write how far it is to be believed.

    Of a run, the judge is found by itself, and so are its verdicts. A judge that gives scores needs
    --good (what people call good) and --precision: the score from which it says the same.
    """
    from synthkd.evaluate.calibration import calibrate as compute
    from synthkd.evaluate.people import Where, check_labels, read_judgements, read_labels
    from synthkd.io.atomic import atomic_file

    judge = _judge(verdicts, step, verdict, score)
    if "consistent" in judge.fields:  # of two answers, under the names of `judge.pairwise`
        first = first or f"first:{getattr(judge.settings, 'first', '')}"
        second = second or f"second:{getattr(judge.settings, 'second', '')}"
    pair, texts = _pair(first, second, tie)
    where = Where(id=id_field, swapped=swapped, **judge.fields, **texts)
    labels = read_labels(people, id_field=id_field, labels=label or ["label"])
    found = read_judgements(
        verdicts,
        where,
        labels,
        people_path=people,
        unreadable=judge.unreadable,
        skip_unknown=skip_unknown,
    )
    check_labels(found.items, scale, pair, good or ())
    calibration = compute(
        found.items,
        scale=scale,
        pair=pair,
        wanted=_wanted(precision, good, where, seed),
        judge=judge.record,
        simulated=judge.simulated,
        left_out=found.left_out,
        seed=seed,
    )
    out = out or (verdicts if verdicts.is_dir() else Path()) / "calibration.json"
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name the file")
    with atomic_file(out) as file:
        file.write(calibration.model_dump_json(indent=2).encode() + b"\n")
    if as_json:
        print_json(calibration)
    else:
        _show(calibration, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """Whose verdicts they are, and where they stand."""

    fields: Mapping[str, str | None]
    """By the names of `Where`."""
    record: JudgeRecord | None = None
    settings: Calibrated | None = None
    simulated: bool = False
    unreadable: Sequence[str] = ()
    """Ids of the run's rows on which it has no readable verdict."""


def _judge(verdicts: Path, step: str | None, verdict: str | None, score: str | None) -> _Judge:
    """The judge of a run, or of a file, which does not say who it was."""
    from synthkd.config import TeacherConfig
    from synthkd.curate.calibration import asked_by, judge_record
    from synthkd.evaluate.people import fields_of_verdict, unreadable_rows
    from synthkd.folder import check_unchanged, read_manifest
    from synthkd.io.rows_file import REJECTED, ROWS

    named = {"verdict": verdict, "score": score}
    if not verdicts.is_dir():
        if step is not None:
            raise UserError(f"--step names a step of a run, and {verdicts} is no folder of one")
        if verdict is None and score is None:
            raise UserError(f"{verdicts}: name the field with the verdict, --verdict or --score")
        return _Judge(fields=named)
    manifest = read_manifest(verdicts)
    check_unchanged(verdicts, manifest, (ROWS.as_posix(), REJECTED.as_posix()))
    label, use, settings = _the_judge(manifest, step, verdicts)
    unreadable = unreadable_rows(verdicts, label)
    if verdict is None and score is None:
        named = fields_of_verdict(verdicts, settings.verdict_field)
    teachers = {
        name: TeacherConfig.model_validate(block)
        for name, block in manifest.config["teachers"].items()
    }
    return _Judge(
        fields=named,
        record=judge_record(use, settings, teachers, manifest.prompts),
        settings=settings,
        simulated=not set(asked_by(settings.judging())).isdisjoint(manifest.simulated),
        unreadable=unreadable,
    )


def _the_judge(manifest: Manifest, name: str | None, folder: Path) -> tuple[str, str, Calibrated]:
    """The step that judges: its name in the pipeline, what it is, and its settings."""
    from pydantic import ValidationError

    from synthkd.steps import find_step

    judges = {
        entry.get("name") or entry["use"]: (entry["use"], entry["with"])
        for entry in manifest.config["steps"]
        if _gives_verdicts(entry["use"])
    }
    if name is None and len(judges) == 1:
        name = next(iter(judges))
    if name is None or name not in judges:
        missing = "name the judge with --step" if name is None else f"no judge is named {name!r}"
        raise UserError(f"{folder}: {missing}; there are: {', '.join(judges) or 'none'}")
    use, given = judges[name]
    try:
        settings = find_step(use).config.model_validate(given)
    except ValidationError as error:
        raise UserError(
            f"{folder}: the settings of {name} are of another version ({error.errors()[0]['msg']}):"
            " run it again, which costs nothing where the ledger has the answers"
        ) from None
    return name, use, settings


def _gives_verdicts(use: str) -> bool:
    """Whether a step is a judge: its settings may name a calibration."""
    from synthkd.curate.calibration import Calibrated
    from synthkd.steps import find_step

    try:
        return issubclass(find_step(use).config, Calibrated)
    except UserError:  # of a package that is not installed any more
        return False


def _pair(
    first: str | None, second: str | None, tie: str
) -> tuple[Pair | None, dict[str, str | None]]:
    """What verdicts call the two answers, and the fields with their texts."""
    from synthkd.evaluate.judged import Pair

    if (first is None) != (second is None):
        raise UserError("--first and --second go together: there are two answers or none")
    if first is None or second is None:
        return None, {}
    one, other = first.partition(":"), second.partition(":")
    return (
        Pair(first=one[0], second=other[0], tie=tie),
        {"first": one[2] or None, "second": other[2] or None},
    )


def _wanted(
    precision: float | None, good: list[str] | None, where: Where, seed: int
) -> Wanted | None:
    from synthkd.evaluate.thresholds import Wanted

    if where.verdict is None and (precision is None or not good):
        raise UserError(
            "scores alone are no verdict: say with --good what people call good, and with"
            " --precision how many of the rows above the threshold have to be"
        )
    if precision is None:
        return None
    if where.score is None:
        raise UserError("--precision looks for a threshold on a score: name its field with --score")
    return Wanted(precision=precision, good=tuple(good or ()), seed=seed)


def _show(calibration: Calibration, out: Path) -> None:
    """The figures as a table, with what must be known to read them."""
    from rich import box
    from rich.table import Table

    from synthkd.display import console_for
    from synthkd.evaluate.figures import FIGURES

    console = console_for(sys.stdout)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("figure", "value", "95 % interval", "n", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, figure in calibration.figures.items():
        if figure is not None:
            between = f"{figure.low:.3f} to {figure.high:.3f}"
            table.add_row(name, f"{figure.value:.3f}", between, str(figure.n), FIGURES[name])
    console.print(table)
    console.print(counted(calibration), soft_wrap=True, markup=False)
    for line in [*threshold_lines(calibration.threshold), *calibration.notes]:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"written to {out}", soft_wrap=True, markup=False)


def counted(calibration: Calibration) -> str:
    """What was compared and what was left out, in one line."""
    from synthkd.tables import printable

    people = ", ".join(f"{printable(who)} {n}" for who, n in calibration.annotators.items())
    out = {
        "without a majority": calibration.no_majority,
        "without a label": calibration.unlabelled,
        "without a verdict": calibration.unknown,
        "judged by definition": calibration.unasked,
    }
    left = ", ".join(f"{n} {why}" for why, n in out.items() if n) or "none"
    return (
        f"{calibration.n} items, {calibration.unreadable} with no readable verdict (wrong);"
        f" left out: {left}; people: {people}"
    )


def threshold_lines(threshold: Threshold | None) -> list[str]:
    """The threshold and what it does where it was chosen and elsewhere."""
    if threshold is None:
        return []
    if threshold.threshold is None:
        n = threshold.validation.n
        return [f"no threshold reaches a precision of {threshold.wanted:g} on {n} items"]
    lines = [f"threshold {threshold.threshold!r} for a precision of {threshold.wanted:g}:"]
    for side, at in (("validation", threshold.validation), ("test", threshold.test)):
        if at is not None:
            precision, recall = (
                "none" if share is None else f"{share:.3f}" for share in (at.precision, at.recall)
            )
            lines.append(
                f"  {side}: {at.kept} of {at.n} kept, precision {precision}, recall {recall}"
            )
    return lines
