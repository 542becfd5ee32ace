"""BANKING77 five ways: what the way of adding up five noisy teachers does to the student.

    python tests/bench/bench_banking77.py

Runs pipelines/banking77_recorded.yaml once for each way, out of one ledger, and prints a Markdown
table. The teachers are recorded, their answers real; gold is used for the test and for the last
line only. Needs the data of SYNTHKD_DATA (default ../shared/data); says so and ends well without.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from synthkd.display import console_for
from synthkd.manifest import Interval, Manifest
from synthkd.pipeline import Pipeline
from synthkd.scoreboard import evaluation_view

ROOT = Path(__file__).parent.parent.parent
PIPELINE = ROOT / "pipelines" / "banking77_recorded.yaml"
WAYS: dict[str, tuple[str, ...]] = {
    "majority": ("steps.aggregate.with.method=majority",),
    "Dawid-Skene": ("steps.aggregate.with.method=dawid_skene",),
    "Dawid-Skene, uniform prior": (
        "steps.aggregate.with.method=dawid_skene",
        "steps.aggregate.with.class_prior=uniform",
    ),
    "majority, agreement >= 3 of 5": (
        "steps.aggregate.with.method=majority",
        "steps.enough_votes.with.keep_at_least=0.6",
    ),
    "gold": ("student.label=label",),
}


def main() -> None:
    """Print the table."""
    folder = Path(os.environ.setdefault("SYNTHKD_DATA", str(ROOT / ".." / "shared" / "data")))
    if not (folder / "cls_banking77").is_dir():
        print(f"banking77: skipped, there is no {folder / 'cls_banking77'}: set SYNTHKD_DATA")
        return
    print("| labels by | rows kept | student, accuracy % | macro-F1 % | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    manifest = None
    with tempfile.TemporaryDirectory() as scratch:
        for place, (way, overrides) in enumerate(WAYS.items()):
            started = time.process_time()
            manifest = run(overrides, Path(scratch), place)
            cpu_s = time.process_time() - started
            print(line(way, manifest, cpu_s), flush=True)
    if manifest is not None and manifest.evaluation is not None:
        print("\nThe last line in full:\n", flush=True)
        console_for(sys.stdout).print(evaluation_view(manifest.evaluation))


def run(overrides: tuple[str, ...], scratch: Path, place: int) -> Manifest:
    """One run into a folder of its own; the ledger is shared, so answers are parsed only once."""
    pipeline = Pipeline.load(
        PIPELINE,
        overrides=overrides,
        out=scratch / f"way{place}",
        ledger=str(scratch / "ledger.sqlite"),
    )
    return pipeline.run_sync()


def line(way: str, manifest: Manifest, cpu_s: float) -> str:
    """One row of the table."""
    if manifest.evaluation is None:
        raise RuntimeError("the pipeline has no `evaluate` block")
    student = next(one for one in manifest.evaluation.contestants if one.role == "student")
    scores = [percent(student.metrics[metric]) for metric in ("accuracy", "macro_f1")]
    return f"| {way} | {manifest.counts.kept} | {scores[0]} | {scores[1]} | {cpu_s:.0f} |"


def percent(figure: Interval) -> str:
    """Per cent with the 95 % interval."""
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


if __name__ == "__main__":
    main()
