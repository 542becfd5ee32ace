"""What the metrics of triples say of triples whose worth is known.

    python tests/bench/study_coverage.py

Gold of Re-DocRED (dev) and of WebNLG (train, 500 texts by chance) against: itself; itself in other
spellings (lower case, underscores); itself with a letter left out of each name; itself with the
relation of another triple of the row; itself with half of the triples; and the gold of another row.
And the RECORDED triples of two teachers on Text2KGBench against its gold. Coverage is told at nine
thresholds, as a table and as docs/recipes/coverage.svg. Vectors are TF-IDF fitted on all triples,
since no model of sentences is here. Needs the data of SYNTHKD_DATA (default ../shared/data).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from synthkd.curate.embed import unit_vectors
from synthkd.evaluate.graphs import compared
from synthkd.graphs.coverage import nearest, told
from synthkd.graphs.notation import read_triples
from synthkd.graphs.triple import Triple, triple_of
from tests.bench.curves import Curve, Panel, draw

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
DOCUMENTS = 500
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.95, 1.0)
ROUNDING = 1e-6
ACROSS, UP = "cosine from which a triple is covered", "% of gold covered"
Rows = list[list[Triple]]


def gold_of(path: str) -> Rows:
    """The triples of rows that have any, names without underscores and quotes."""
    rows = pq.read_table(DATA / path, columns=["gold_triples"]).column(0).to_pylist()
    read = [[_plain(one) for one in json.loads(row)] for row in rows]
    some = [[one for one in row if one is not None and one.fault is None] for row in read]
    some = [row for row in some if row]
    return random.Random(0).sample(some, min(DOCUMENTS, len(some)))


def _plain(parts: Sequence[str]) -> Triple | None:
    return triple_of([str(part).strip('"').replace("_", " ") for part in parts])


def changed(gold: Rows) -> Mapping[str, Rows]:
    """The same triples, worth more or less."""
    rng = random.Random(0)
    half = len(gold) // 2

    def each(change: Callable[[Triple, list[Triple]], Triple]) -> Rows:
        return [[change(one, row) for one in row] for row in gold]

    def spelt(one: Triple, _: list[Triple]) -> Triple:
        return Triple(*(part.lower().replace(" ", "_") for part in one.parts))

    def misspelt(one: Triple, _: list[Triple]) -> Triple:
        return Triple(_short(one.head, rng), one.relation, _short(one.tail, rng))

    def other_relation(one: Triple, row: list[Triple]) -> Triple:
        return Triple(one.head, rng.choice(row).relation, one.tail)

    return {
        "gold": gold,
        "other spelling": each(spelt),
        "a letter missing": each(misspelt),
        "other relations": each(other_relation),
        "half of them": [rng.sample(row, -(-len(row) // 2)) for row in gold],
        "another row's": [*gold[half:], *gold[:half]],
    }


def _short(name: str, rng: random.Random) -> str:
    place = rng.randrange(len(name))
    return name[:place] + name[place + 1 :] if len(name) > 3 else name


def recorded() -> tuple[Mapping[str, Rows], Mapping[str, Rows]]:
    """By teacher what it said and what is gold."""
    table = pq.read_table(DATA / "kg_text2kgbench" / "teacher_outputs.parquet")
    said: dict[str, Rows] = {}
    wanted: dict[str, Rows] = {}
    for row in random.Random(0).sample(table.to_pylist(), 4 * DOCUMENTS):
        gold = [_plain(one) for one in json.loads(row["gold_triples"] or "[]")]
        found = read_triples(row["teacher_raw"], source=row["sent"]).triples
        said.setdefault(row["teacher"], []).append(found)
        wanted.setdefault(row["teacher"], []).append([one for one in gold if one is not None])
    return said, wanted


def measured(name: str, gold: Rows, given: Rows) -> Curve:
    """One line of the table, and the curve of coverage."""
    started = time.process_time()
    texts = [told(one) for rows in (gold, given) for row in rows for one in row]
    vectors = unit_vectors(None, texts)
    found = compared(gold, given, vectors=vectors).figures
    spent = time.process_time() - started
    shown = [
        f"{100 * found[key].value:.1f} [{100 * found[key].low:.1f}, {100 * found[key].high:.1f}]"
        for key in ("strict_f1", "near_f1", "keywords", "mean_cosine", "covered")
    ]
    cosines: list[float] = []
    for wanted, named in zip(gold, given, strict=True):
        if wanted:
            both: Any = vectors([told(one) for one in (*wanted, *named)])
            cosines += nearest(both[: len(wanted)], both[len(wanted) :]).tolist()
    shares = [float(np.mean(np.array(cosines) >= t - ROUNDING)) for t in THRESHOLDS]
    print(f"| {name} | {' | '.join(shown)} | {spent:.1f} s |")
    points = [(t, 100 * share) for t, share in zip(THRESHOLDS, shares, strict=True)]
    print("   covered from " + ", ".join(f"{t}: {share:.1f}" for t, share in points), flush=True)
    return Curve(name=name, points=points)


def main() -> None:
    """The table and the picture."""
    panels = []
    for title, path in (
        ("Re-DocRED dev", "kg_redocred/dev.parquet"),
        ("WebNLG train", "kg_webnlg_train/train.parquet"),
    ):
        gold = gold_of(path)
        print(f"\n{title}: {len(gold)} rows, {sum(map(len, gold))} triples")
        curves = [measured(name, gold, given) for name, given in changed(gold).items()]
        panels.append(Panel(title=title, across=ACROSS, up=UP, curves=curves))
    said, wanted = recorded()
    print("\nText2KGBench, recorded")
    curves = [measured(teacher, wanted[teacher], said[teacher]) for teacher in sorted(said)]
    panels.append(Panel(title="Text2KGBench (recorded)", across=ACROSS, up=UP, curves=curves))
    target = ROOT / "docs" / "recipes" / "coverage.svg"
    target.write_text(draw(panels), encoding="utf-8")
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
