"""What each filter of triples does, on recorded answers (Text2KGBench, seven ontologies).

    python tests/bench/study_triples.py

1. Whether our scorer gives the figures that the benchmark recorded for its own triples, and our
   reader the same ones from the raw replies (Vicuna-13B and Alpaca-LoRA-13B).
2. Precision and recall of all triples, over all sentences together (strict, in any spelling), after
   each filter: grounding, ontology, agreement of the two teachers.
3. Scorers on gold: gold against itself, and against that of other rows (Re-DocRED, WebNLG).

Gold is distant supervision: what a sentence says beside it counts as wrong, so precision is too low
for everybody. Needs the data of SYNTHKD_DATA (default ../shared/data); says so and ends well
without. Intervals: `synthkd.evaluate.paired.figure`, over sentences.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from synthkd.evaluate.extraction import triple_f1
from synthkd.graphs.ground import find, stands_in
from synthkd.graphs.notation import read_triples
from synthkd.graphs.ontology import Ontology, unfit
from synthkd.graphs.triple import Triple, distinct

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
TEACHERS = ("Vicuna-13B", "Alpaca-LoRA-13B")
NEAR = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a teacher read in a sentence."""

    sentence: str
    ontology: Ontology
    gold: Sequence[Triple]
    triples: Sequence[Triple]
    others: frozenset[Any]
    """Keys of what the other teacher read."""


Keep = Callable[[Triple, Reply], bool]


def grounded(triple: Triple, reply: Reply) -> bool:
    """Head and tail stand in the sentence."""
    return stands_in(triple.head, reply.sentence) and stands_in(triple.tail, reply.sentence)


def nearly(triple: Triple, reply: Reply) -> bool:
    """The same, or nearly."""
    return all(find(part, reply.sentence, near=NEAR) for part in (triple.head, triple.tail))


def fits(triple: Triple, reply: Reply) -> bool:
    """It keeps to the ontology."""
    return unfit(triple, reply.ontology) is None


def agreed(triple: Triple, reply: Reply) -> bool:
    """The other teacher has it too."""
    return triple.key in reply.others


FILTERS: Mapping[str, Sequence[Keep]] = {
    "none": (),
    "ontology": (fits,),
    "grounded": (grounded,),
    "grounded, or nearly": (nearly,),
    "grounded + ontology": (grounded, fits),
    "nearly + ontology": (nearly, fits),
    "agreement": (agreed,),
    "all three": (grounded, fits, agreed),
}


def benchmark_key(triple: Triple) -> str:
    """A triple as the benchmark compares it: without blanks and underscores, lower case."""
    return "|".join(re.sub(r"[_\s\\]+", "", part).lower() for part in triple.parts)


def _relation(triple: Triple) -> str:
    return re.sub(r"[_\s]+", " ", triple.relation).strip()


def benchmark_figures(given: Sequence[Triple], gold: Sequence[Triple]) -> tuple[float, ...]:
    """Precision, recall, F1 of one sentence by its rule: relations that gold lacks do not count."""
    relations = {_relation(one) for one in gold}
    wanted = {benchmark_key(one) for one in gold}
    named = {benchmark_key(one) for one in given if _relation(one) in relations}
    hits = len(wanted & named)
    precision = hits / len(named) if named else 0.0
    recall = hits / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return precision, recall, f1


def reproduce(rows: Sequence[Mapping[str, Any]]) -> None:
    """Part 1."""
    print("mean of sentences, %: precision recall F1")
    for teacher in TEACHERS:
        mine = [row for row in rows if row["teacher"] == teacher]
        gold = [_triples(row["gold_triples"]) for row in mine]
        ways: dict[str, list[tuple[float, ...]]] = {
            "recorded": [(row["precision"], row["recall"], row["f1"]) for row in mine],
            "its triples, our scorer": [
                benchmark_figures(_triples(row["teacher_triples"]), one)
                for row, one in zip(mine, gold, strict=True)
            ],
            "our reader, first comma": [
                benchmark_figures(read_triples(row["teacher_raw"]).triples, one)
                for row, one in zip(mine, gold, strict=True)
            ],
            "our reader": [
                benchmark_figures(read_triples(row["teacher_raw"], source=row["sent"]).triples, one)
                for row, one in zip(mine, gold, strict=True)
            ],
        }
        for way, figures in ways.items():
            means = [100 * sum(column) / len(column) for column in zip(*figures, strict=True)]
            print(f"  {teacher:16} {way:26}" + "".join(f"{mean:8.2f}" for mean in means))


def filters(rows: Sequence[Mapping[str, Any]], ontologies: Mapping[str, Ontology]) -> None:
    """Part 2."""
    print("\nover all sentences, %: precision, recall [95 %], triples; x precision, x recall")
    for teacher, replies in _replies(rows, ontologies).items():
        first: tuple[float, float] | None = None
        for name, keeps in FILTERS.items():
            given = [
                [one for one in distinct(reply.triples) if all(keep(one, reply) for keep in keeps)]
                for reply in replies
            ]
            precision, recall, interval, count = _measured(given, [r.gold for r in replies])
            first = first or (precision, recall)
            print(
                f"  {teacher:16} {name:22} {100 * precision:6.1f} {100 * recall:6.1f}"
                f"  F1 {interval} {count:7,}  x{precision / first[0]:.2f} x{recall / first[1]:.2f}"
            )


def _measured(
    given: Sequence[Sequence[Triple]], gold: Sequence[Sequence[Triple]]
) -> tuple[float, float, str, int]:
    from synthkd.evaluate.paired import figure

    hits = sum(
        len({g.key for g in ours} & {w.key for w in theirs})
        for ours, theirs in zip(given, gold, strict=True)
    )
    named = sum(map(len, given))
    wanted = sum(len({one.key for one in row}) for row in gold)
    scored = triple_f1(_spelled(gold), _spelled(given))
    found = figure([scored], resamples=500, seed=0)
    interval = f"{100 * found.value:5.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return hits / named if named else 0.0, hits / wanted, interval, named


def sanity() -> None:
    """Part 3."""
    print("\nF1 (strict) of gold against itself, and against the gold of another row")
    for name, path in (
        ("Re-DocRED dev", "kg_redocred/dev.parquet"),
        ("WebNLG train", "kg_webnlg_train/train.parquet"),
    ):
        rows = pq.read_table(DATA / path, columns=["gold_triples"]).to_pylist()
        gold = [_triples(row["gold_triples"]) for row in rows]
        itself = triple_f1(_spelled(gold), _spelled(gold)).value
        half = len(gold) // 2  # rows that follow each other often have the same triples
        other = triple_f1(_spelled(gold), _spelled([*gold[half:], *gold[:half]])).value
        print(f"  {name:16} {itself:.3f} {other:.3f} ({len(gold):,} rows)")


def _spelled(rows: Sequence[Sequence[Triple]]) -> list[Any]:
    return [[list(one.key) for one in distinct(row)] for row in rows]


def _replies(
    rows: Sequence[Mapping[str, Any]], ontologies: Mapping[str, Ontology]
) -> dict[str, list[Reply]]:
    started = time.process_time()
    read = [read_triples(row["teacher_raw"], source=row["sent"]).triples for row in rows]
    spent = time.process_time() - started
    print(f"\nread {len(rows):,} replies: {len(rows) / spent:,.0f}/CPU s")
    by_id: dict[str, dict[str, Sequence[Triple]]] = defaultdict(dict)
    for row, triples in zip(rows, read, strict=True):
        by_id[row["id"]][row["teacher"]] = triples
    replies: dict[str, list[Reply]] = {teacher: [] for teacher in TEACHERS}
    for row, triples in zip(rows, read, strict=True):
        others = [
            one.key
            for teacher, several in by_id[row["id"]].items()
            if teacher != row["teacher"]
            for one in several
        ]
        replies[row["teacher"]].append(
            Reply(
                sentence=row["sent"],
                ontology=ontologies[row["ontology"]],
                gold=_triples(row["gold_triples"]),
                triples=triples,
                others=frozenset(others),
            )
        )
    return replies


def _triples(text: str) -> list[Triple]:
    return [Triple(*map(str, one)) for one in json.loads(text or "[]")]


def main() -> None:
    """All parts."""
    folder = DATA / "kg_text2kgbench"
    if not folder.is_dir():
        print(f"skipped: no recorded data at {folder}; set SYNTHKD_DATA to its folder")
        return
    rows = pq.read_table(folder / "teacher_outputs.parquet").to_pylist()
    raw = json.loads((folder / "ontologies.json").read_text())
    ontologies = {one["id"]: Ontology.model_validate(one) for one in raw}
    reproduce(rows)
    filters(rows, ontologies)
    sanity()


if __name__ == "__main__":
    main()
