"""Self-Instruct from the 175 human-written seeds: what each gate takes out, and how unlike it is.

    SYNTHKD_DATA=... python tests/bench/study_instruct.py [PICTURE.svg] [ROWS]

Two teachers, both SIMULATED: a grammar of instructions with faults on purpose (one item in five),
and one that is replayed: it hands out the 9,229 recorded instructions of instr_alpaca9k, which
text-davinci-003 wrote from these very seeds, drawn evenly with repetitions. `instruct.self` with
its defaults, ROWS rows (2,000); a smaller run is the beginning of a larger one, so the growth of
the losses costs nothing. Then the accepted ones beside the seeds: ROUGE-L with the nearest seed and
with the nearest other row, distinct-n, compression, Vendi score and nearest cosine, all of them at
the seeds' number of rows (means over DRAWS draws), by a TF-IDF model fitted on the three together.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import yaml

from synthkd.curate.diversity import compression, distinct_n, nearest_figures, vendi
from synthkd.curate.tfidf import TfidfModel, TfidfSettings
from synthkd.errors import TooManyLost
from synthkd.pipeline import Pipeline
from synthkd.recipes.instruct.novelty import Novelty
from tests.bench.curves import Curve, Panel, draw

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data")).resolve() / "instr_alpaca9k"
SEEDS = DATA / "seed_tasks_175.parquet"
POOL = DATA / "random_9k.parquet"
TEACHERS: Mapping[str, dict[str, Any]] = {
    "simulated": {"world": "instructions", "error_rate": 0.2, "seed": 1},
    "replayed": {
        "world": "pool",
        "pool": {"parquet": str(POOL), "text": "instruction"},
        "error_rate": 0.0,
        "seed": 1,
    },
}
STEPS = (1, 2, 4, 8, 16)
"""Runs for so many sixteenths of the rows."""
DRAWS = 5
BINS = [round(0.1 * n, 1) for n in range(11)]


def grown(folder: Path, teacher: str, accept: int) -> tuple[Any, list[dict[str, Any]]]:
    """Figures of the step, and the new rows; the ledger is the same for all numbers of rows."""
    file = {
        "name": teacher,
        "teachers": {"main": {"simulated": TEACHERS[teacher], "concurrency": 8}},
        "source": {"parquet": str(SEEDS), "id": ["id"]},
        "steps": [{"use": "instruct.self", "with": {"teacher": "main", "accept": accept}}],
        "export": {"format": "rows"},
    }
    path = folder / f"{teacher}.yaml"
    path.write_text(yaml.safe_dump(file), encoding="utf-8")
    out = folder / f"{teacher}-{accept}"
    pipeline = Pipeline.load(path, out=out, ledger=str(folder / f"{teacher}.sqlite"))
    manifest = pipeline.run_sync()
    lines = map(orjson.loads, (out / "dataset" / "train.jsonl").read_bytes().splitlines())
    return manifest.figures["instruct.self"], [row for row in lines if row["origin"] != "seed"]


def growth(folder: Path, teacher: str, rows: int) -> tuple[list[Any], list[str], Path]:
    """Figures at each number of rows, as far as the yield allows; the last run's instructions."""
    told: list[Any] = []
    made: list[dict[str, Any]] = []
    for part in STEPS:
        try:
            figures, made = grown(folder, teacher, rows * part // STEPS[-1])
        except TooManyLost as stopped:
            print(f"{teacher}: {stopped}\n")
            break
        told.append(figures)
    last = folder / f"{teacher}-{told[-1]['accepted']}"
    return told, [str(row["instruction"]) for row in made], last


def losses(told: Mapping[str, Sequence[Any]], folders: Mapping[str, Path]) -> None:
    """A table of the gates."""
    reasons = sorted({reason for figures in told.values() for reason in figures[-1]["lost"]})
    print(f"| | {' | '.join(told)} |\n| --- |{' --- |' * len(told)}")
    for name in ("questions", "candidates", "accepted"):
        print(f"| {name} | {' | '.join(f'{each[-1][name]:,}' for each in told.values())} |")
    for reason in reasons:
        cells = []
        for each in told.values():
            lost, of = each[-1]["lost"].get(reason, 0), each[-1]["candidates"]
            cells.append(f"{lost:,} ({lost / of:.1%})")
        print(f"| {reason} | {' | '.join(cells)} |")
    again = []
    for folder in folders.values():
        table = pq.read_table(folder / "discarded.parquet", columns=["reason", "detail"])
        again.append(
            sum(
                row["reason"] == "too_similar" and row["detail"].startswith("ROUGE-L 1.00")
                for row in table.to_pylist()
            )
        )
    print(f"| of too_similar: the same words | {' | '.join(f'{n:,}' for n in again)} |\n")


def nearest(known: Sequence[str], asked: Sequence[str], *, own: bool = False) -> list[float]:
    """ROUGE-L of each text with the nearest one; `own`: with the nearest other one of the same."""
    index = Novelty(1.0)
    if not own:
        for text in known:
            index.add(text)
        return [near.score if (near := index.nearest(text)) else 0.0 for text in asked]
    scores = []
    for place in range(len(asked)):
        others = Novelty(1.0)
        for text in (*asked[:place], *asked[place + 1 :]):
            others.add(text)
        near = others.nearest(asked[place])
        scores.append(near.score if near else 0.0)
    return scores


def histogram(name: str, scores: Sequence[float]) -> Curve:
    """Shares of rows in tenths, printed and as a curve."""
    counts, _ = np.histogram(scores, bins=BINS)
    shares = [count / len(scores) for count in counts]
    cells = " | ".join(f"{share:.1%}" for share in shares[:9])
    print(f"| {name} | {fmean(scores):.3f} | {cells} |")
    points = [(low + 0.05, 100 * share) for low, share in zip(BINS, shares, strict=False)]
    return Curve(name=name, points=points)


def spread(sets: Mapping[str, Sequence[str]]) -> None:
    """Diversity at an equal number of rows."""
    rows = min(map(len, sets.values()))
    print(f"\nat {rows} rows, mean and standard deviation over {DRAWS} draws:\n")
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(DRAWS):
        rng = random.Random(number)
        drawn = {name: rng.sample(list(texts), rows) for name, texts in sets.items()}
        model = TfidfModel(TfidfSettings(), [text for some in drawn.values() for text in some])
        for name, some in drawn.items():
            vectors = np.asarray(model.compute(some), dtype=np.float32)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
            told: dict[str, Any] = {
                **distinct_n(some, rng),
                "compression, gzip": compression(some)["gzip"],
                "Vendi score": vendi(vectors),
                "cosine, nearest other": nearest_figures(vectors, rng)["mean"],
                "ROUGE-L, nearest other": fmean(nearest([], some, own=True)),
                "words": fmean(len(text.split()) for text in some),
            }
            for figure, value in told.items():
                found.setdefault(figure, {}).setdefault(name, []).append(float(value))
    print(f"| | {' | '.join(sets)} |\n| --- |{' --- |' * len(sets)}")
    for figure, by_set in found.items():
        cells = [f"{fmean(values):.3f} ± {stdev(values):.3f}" for values in by_set.values()]
        print(f"| {figure} | {' | '.join(cells)} |")


def main(picture: str | None, rows: int) -> None:
    """Print all tables, and draw them where a file is named."""
    if not POOL.is_file():
        print(f"instruct: skipped, there is no {POOL}: set SYNTHKD_DATA")
        return
    seeds = pq.read_table(SEEDS, columns=["instruction"]).column("instruction").to_pylist()
    with tempfile.TemporaryDirectory() as scratch:
        ran = {name: growth(Path(scratch), name, rows) for name in TEACHERS}
        losses(
            {name: told for name, (told, _, _) in ran.items()},
            {name: folder for name, (_, _, folder) in ran.items()},
        )
    print(
        f"| accepted | {' | '.join(f'{name}: questions, yield of the last 200' for name in ran)} |"
    )
    print(f"| --- |{' --- |' * len(ran)}")
    for place, part in enumerate(STEPS):
        cells = [
            f"{told[place]['questions']:,}, {told[place]['yield_of_last']:.1%}"
            if place < len(told)
            else "not reached"
            for told, _, _ in ran.values()
        ]
        print(f"| {rows * part // STEPS[-1]:,} | {' | '.join(cells)} |")
    heads = [f"{low:g}-{high:g}" for low, high in pairwise(BINS[:10])]
    print(f"\n| ROUGE-L with the nearest seed | mean | {' | '.join(heads)} |")
    print(f"| --- |{' --- |' * 10}")
    curves = [histogram("seeds, with another seed", nearest([], seeds, own=True))]
    curves += [histogram(name, nearest(seeds, made)) for name, (_, made, _) in ran.items()]
    spread({"seeds": seeds, **{name: made for name, (_, made, _) in ran.items()}})
    if picture:
        yields = [
            Curve(
                name=name,
                points=[(each["accepted"], 100 * each["yield_of_last"]) for each in told],
            )
            for name, (told, _, _) in ran.items()
        ]
        panels = [
            Panel(
                title="How near the nearest seed is",
                across="ROUGE-L with the nearest seed",
                up="% of the rows",
                curves=curves,
            ),
            Panel(
                title="The yield falls as the pool grows",
                across="accepted rows",
                up="% of the last 200 candidates accepted",
                curves=yields,
            ),
        ]
        Path(picture).write_text(draw(panels), encoding="utf-8")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else None,
        int(sys.argv[2]) if len(sys.argv) > 2 else 2_000,
    )
