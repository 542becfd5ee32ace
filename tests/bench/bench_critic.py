"""A critic before a judge: how many of the judge's calls it saves, and what it costs in good rows.

    python tests/bench/bench_critic.py

instr_alpaca9k: 9,229 answers to Alpaca's instructions, of which a real judge (Claude, recorded)
gave 10 % at least 4.5 of 5. Some of them are labelled by the judge, the critic learns from these,
and what it leaves of the others goes to the judge. Whoever leaves out rows at random saves as many
calls as he loses good rows; a critic must save more. Needs the data of SYNTHKD_DATA.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from synthkd.curate.critic import CriticSettings, critic
from synthkd.desk import Desk
from synthkd.evaluate.thresholds import at_recall, cut_at
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import source_row
from synthkd.table_kit import TableKit

ROOT = Path(__file__).parent.parent.parent
FLAG = "claude_score_ge_4_5"
SEEDS = range(3)


def main() -> None:
    """Print the table."""
    folder = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
    file = folder / "instr_alpaca9k" / "random_9k.parquet"
    if not file.is_file():
        print(f"critic: skipped, there is no {file}: set SYNTHKD_DATA")
        return
    import pyarrow.parquet as pq

    records = pq.read_table(file).to_pylist()
    sizes = [int(size) for size in sys.argv[1:]] or [500, 2000]
    print("| labelled | recall wanted | features | good rows kept % | calls saved % | CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for labelled in sizes:
        for recall in (0.8, 0.9, 0.95):
            for features in ("words", "length alone"):
                runs = [one(records, labelled, recall, features, seed) for seed in SEEDS]
                kept, saved, cpu_s = zip(*runs, strict=True)
                print(
                    f"| {labelled} | {recall:.0%} | {features} | {spread(kept)} | {spread(saved)} |"
                    f" {mean(cpu_s):.1f} |",
                    flush=True,
                )


def one(
    records: Sequence[dict[str, Any]], labelled: int, recall: float, features: str, seed: int
) -> tuple[float, float, float]:
    """Of the rows that nobody labelled: share of the good kept, share thrown out; CPU seconds."""
    order = list(range(len(records)))
    random.Random(seed).shuffle(order)
    known = set(order[:labelled])
    started = time.process_time()
    if features == "words":
        scores, threshold = of_words(records, known, recall, seed)
    else:
        scores, threshold = of_length(records, known, recall)
    rest = [place for place in range(len(records)) if place not in known]
    cut = cut_at(threshold, [scores[p] for p in rest], [bool(records[p][FLAG]) for p in rest])
    return cut.recall or 0.0, 1 - cut.kept / cut.n, time.process_time() - started


def of_words(
    records: Sequence[dict[str, Any]], known: set[int], recall: float, seed: int
) -> tuple[list[float], float]:
    """The step itself, on words and characters."""
    rows = [
        source_row(
            "alpaca",
            [place],
            ordinal=place,
            fields={
                **{name: record[name] or "" for name in ("instruction", "input", "output")},
                "judged": record[FLAG] if place in known else None,
            },
        )
        for place, record in enumerate(records)
    ]
    config = CriticSettings(
        fields=["instruction", "input", "output"], label="judged", recall=recall, reject=False
    )
    kit = TableKit(Desk(step="critic", seed=seed))
    with tempfile.TemporaryDirectory() as scratch, RowSpool.of(Path(scratch) / "s", rows) as spool:
        scores = [float(str(row.fields["critic"])) for row in critic(Table(spool), kit, config)]
    return scores, float(str(kit.figures["threshold"]))


def of_length(
    records: Sequence[dict[str, Any]], known: set[int], recall: float
) -> tuple[list[float], float]:
    """The control: the longer the output the better, with a threshold from all labelled rows."""
    scores = [math.log1p(len(record["output"])) for record in records]
    chosen = at_recall(recall, [scores[p] for p in known], [bool(records[p][FLAG]) for p in known])
    return scores, 0.0 if chosen is None else chosen.threshold


def spread(shares: Sequence[float]) -> str:
    """Per cent, mean and standard deviation over the seeds."""
    return f"{100 * mean(shares):.1f} ± {100 * stdev(shares):.1f}"


if __name__ == "__main__":
    main()
