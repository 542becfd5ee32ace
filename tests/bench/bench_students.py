"""BANKING77: the linear student against an encoder made from nothing, on the same rows.

    python tests/bench/bench_students.py [SEEDS [teachers|gold]]

The labels are those of five recorded noisy teachers, added up (pipelines/banking77_recorded.yaml,
Dawid-Skene with a uniform prior), or gold; the test rows are the fifth that the pipeline holds out,
with gold. Prints a Markdown table, with the difference to the linear student by paired bootstrap.
Needs the data of SYNTHKD_DATA (default ../shared/data); says so and ends well without.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from synthkd.evaluate.compare import Answers, compare
from synthkd.manifest import Interval
from synthkd.pipeline import Pipeline
from synthkd.students import kinds
from tests.students.lessons import lesson

ROOT = Path(__file__).parent.parent.parent
PIPELINE = ROOT / "pipelines" / "banking77_recorded.yaml"
FIELDS = {"text": "text", "label": "label"}
LINEAR = {"kind": "linear", **FIELDS}
ENCODER = {
    "kind": "encoder",
    **FIELDS,
    "scratch": {"hidden_size": 96, "layers": 1, "heads": 3, "vocabulary": 2048},
    "learning_rate": 3e-3,
    "epochs": 8,
    "batch_size": 64,
    "max_length": 64,
}


def main(seeds: int, labels: str) -> None:
    """Print the table."""
    data = Path(os.environ.setdefault("SYNTHKD_DATA", str(ROOT / ".." / "shared" / "data")))
    if not (data / "cls_banking77").is_dir():
        print(f"banking77: skipped, there is no {data / 'cls_banking77'}: set SYNTHKD_DATA")
        return
    with tempfile.TemporaryDirectory() as scratch:
        taught, test = rows(data, Path(scratch), labels)
        gold = list(test["label"])
        given: dict[str, list[str]] = {}
        for name, block in blocks(seeds).items():
            started = time.process_time()
            made = lesson(Path(scratch) / name, block, taught)
            kinds.train(made, lambda told: print(told, file=sys.stderr, flush=True))
            fit_s, started = time.process_time() - started, time.process_time()
            given[name] = list(kinds.load(made.folder).predict(list(test["text"])))  # type: ignore[arg-type]
            ask_ms = 1000 * (time.process_time() - started) / len(gold)
            print(f"{name}: {fit_s:.0f} CPU s to train, {ask_ms:.2f} ms a text", flush=True)
    print(f"\n{len(taught)} rows labelled by {labels}, {len(gold)} test rows\n")
    print(table(gold, given, [row["label"] for row in taught]))


def blocks(seeds: int) -> dict[str, Mapping[str, Any]]:
    """The students by name."""
    encoders = {f"encoder, seed {seed}": {**ENCODER, "seed": seed} for seed in range(seeds)}
    return {"linear": LINEAR, **encoders}


def rows(data: Path, scratch: Path, labels: str) -> tuple[list[dict[str, str]], pd.DataFrame]:
    """What is learnt, labelled by teachers or gold, and the rows that were held out."""
    Pipeline.load(
        PIPELINE,
        overrides=("steps.aggregate.with.class_prior=uniform", "student=null", "evaluate=null"),
        out=scratch / "run",
        ledger=str(scratch / "ledger.sqlite"),
    ).run_sync()
    source = pd.read_parquet(data / "cls_banking77" / "train.parquet")
    (dataset,) = (scratch / "run" / "dataset").rglob("*.parquet")
    kept = pd.read_parquet(dataset)
    test = source[~source["text"].isin(set(kept["text"]))]
    if labels == "gold":
        kept = source[source["text"].isin(set(kept["text"]))].rename(columns={"label": "intent"})
    taught = [
        {"text": text, "label": label}
        for text, label in zip(kept["text"], kept["intent"], strict=True)
    ]
    return taught, test


def table(gold: list[str], given: Mapping[str, list[str]], labels: list[str]) -> str:
    """Accuracy and macro-F1 of everybody, and the lead of each encoder over the linear student."""
    lines = ["| student | accuracy % | macro-F1 % | accuracy over linear |", "| --- " * 4 + "|"]
    linear = Answers(role="panel", given=given["linear"])
    for name, said in given.items():
        answers = {"other": linear, name: Answers(role="student", given=said)}
        _, other, student = compare(gold, answers, training_labels=labels).contestants
        scores = [percent(student.metrics[metric]) for metric in ("accuracy", "macro_f1")]
        lead = percent(other.versus_student["accuracy"])
        lines.append(f"| {name} | {scores[0]} | {scores[1]} | {lead} |")
    return "\n".join(lines)


def percent(figure: Interval) -> str:
    """Per cent with the 95 % interval."""
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


if __name__ == "__main__":
    given_seeds, given_labels = [*sys.argv[1:], *("1", "teachers")[len(sys.argv) - 1 :]]
    main(int(given_seeds), given_labels)
