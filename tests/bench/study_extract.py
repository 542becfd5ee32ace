"""What grounding and reconciling are worth to `extract`; what its checks find in people's texts.

    python tests/bench/study_extract.py [seeds]

1. The invoices of data/invoices.jsonl, read by SIMULATED teachers that err on purpose: the record
   of one reply, of one that is grounded, of three teachers, of three that are grounded first. So
   many seeds (default 5), each of three teachers with seeds of their own.
2. Dates and numbers of gold triples (WebNLG train) against the texts that people wrote for them:
   whether `says` finds them, and whether it takes those of another text. Needs the data of
   SYNTHKD_DATA (default ../shared/data); says so and goes without.
3. CPU time of reading, grounding and reconciling, without any teacher.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from synthkd.evaluate.intervals import share_of
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.evaluate.records import record_exact, record_f1, record_precision, record_recall
from synthkd.evaluate.scored import Scored
from synthkd.manifest import Interval
from synthkd.records.agreeing import Reading, agree
from synthkd.records.dates import dates_in
from synthkd.records.loading import load_schema
from synthkd.records.reading import read_record
from synthkd.records.schema import RecordField, leaf_fields
from synthkd.records.support import grounded, says
from synthkd.rows import Json
from synthkd.teachers.simulated.forms import Forms

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
SCHEMA = load_schema(str(ROOT / "data" / "invoice.yaml"), ROOT)
FIELDS = dict(leaf_fields(SCHEMA))
ROWS: list[dict[str, Any]] = [
    orjson.loads(line) for line in (ROOT / "data" / "invoices.jsonl").read_bytes().splitlines()
]
RATES = (0.1, 0.2, 0.3)
DRAWS = 300
Readings = list[Reading]


def asked(text: str, rate: float, seed: str) -> Reading:
    """One reply of a simulated teacher."""
    inputs: dict[str, Any] = {"text": text, "fields": SCHEMA.table, "name": SCHEMA.name}
    reply = Forms(rate).answer("extract/record", inputs, random.Random(seed))
    return Reading(teacher=seed.partition("/")[0], leaves=read_record(reply, SCHEMA).leaves)


def looked_up(reading: Reading, text: str, repair: bool = False) -> Reading:
    """What is left of it."""
    leaves = [
        grounded(leaf, FIELDS[leaf.name], text, repair=repair) if leaf.name in FIELDS else leaf
        for leaf in reading.leaves
    ]
    return replace(reading, leaves=leaves)


def with_support(readings: Readings) -> dict[str, Json]:
    return agree(readings, SCHEMA, at_least=0.5).record


def most(readings: Readings) -> dict[str, Json]:
    return agree(readings, SCHEMA).record


WAYS: dict[str, tuple[int, str, Callable[[Readings], dict[str, Json]]]] = {
    "one teacher": (1, "", most),
    "one, grounded": (1, "ground", most),
    "one, grounded, repaired": (1, "repair", most),
    "three": (3, "", most),
    "three, grounded": (3, "ground", most),
    "three, grounded, repaired": (3, "repair", most),
    "three, grounded, support 0.5": (3, "ground", with_support),
}


def simulated(seeds: int) -> None:
    """Figures of each way at each error rate."""
    gold = [row["record"] for row in ROWS]
    for rate in RATES:
        print(f"\nerror rate {rate:g}, {seeds} seeds, {len(ROWS)} documents")
        exact: dict[str, list[Scored]] = {}
        for name, (teachers, ground, way) in WAYS.items():
            scored: list[list[Scored]] = []
            for seed in range(seeds):
                given: list[Json] = []
                for row in ROWS:
                    read = [
                        asked(row["text"], rate, f"{t}/{seed}/{row['id']}") for t in range(teachers)
                    ]
                    if ground:
                        read = [looked_up(r, row["text"], ground == "repair") for r in read]
                    given.append(way(read))
                measures = record_f1, record_precision, record_recall, record_exact
                scored.append([measure(gold, given, SCHEMA) for measure in measures])
            columns = [list(column) for column in zip(*scored, strict=True)]
            shown = [figure(column, resamples=DRAWS, seed=0) for column in columns]
            told = "  ".join(
                f"{label} {written(one)}"
                for label, one in zip(("F1", "P", "R", "exact"), shown, strict=True)
            )
            exact[name] = columns[-1]
            lead = lead_by_seed(exact[name], exact["one teacher"], resamples=DRAWS, seed=0)
            print(f"{name:30} {told}  exact over one {written(lead, '+')}")


def written(one: Interval, sign: str = "") -> str:
    return f"{100 * one.value:{sign}.1f} [{100 * one.low:{sign}.1f}, {100 * one.high:{sign}.1f}]"


def values_of(kind: str) -> Iterator[tuple[Json, str]]:
    """Each date or number of gold, with a text that somebody wrote for it."""
    pattern = r"\d{4}-\d\d-\d\d" if kind == "date" else r"-?\d+(?:\.\d+)?"
    for row in pq.read_table(DATA / "kg_webnlg_train" / "train.parquet").to_pylist():
        for _, _, tail in orjson.loads(row["gold_triples"]):
            plain = str(tail).strip('"')
            if re.fullmatch(pattern, plain):
                number = float(plain) if kind == "number" else 0.0
                value: Json = int(number) if number.is_integer() else number
                yield (plain if kind == "date" else value), row["sentence"]


def written_by_people() -> None:
    """What `says` finds, and what it takes by mistake."""
    fields = {
        "date": RecordField(type="date"),
        "number": RecordField(type="number", decimal="."),
    }
    for kind, field in fields.items():
        pairs = list(values_of(kind))
        rng = random.Random(0)
        others = [rng.choice(pairs)[0] for _ in pairs]
        found = [says(value, field, text) for value, text in pairs]
        wrong = [
            says(other, field, text)
            for other, (value, text) in zip(others, pairs, strict=True)
            if other != value
        ]
        print(f"\n{kind}s of WebNLG: {len(pairs):,}, found {told(found)}, another's {told(wrong)}")
        missed = [pair for pair, is_there in zip(pairs, found, strict=True) if not is_there]
        for value, text in random.Random(1).sample(missed, min(12, len(missed))):
            print(f"   missed {value}: {text:.150}")
        if kind == "date":
            two = sum(len(ways) > 1 for _, text in pairs for ways in dates_in(text, None))
            print(f"   dates that can be read in two ways: {two:,}")


def told(flags: Sequence[bool]) -> str:
    return f"{sum(flags):,} of {len(flags):,}, {written(share_of(sum(flags), len(flags)))} %"


def speed() -> None:
    """Documents a minute of CPU."""
    replies = [
        (row["text"], [asked(row["text"], 0.2, f"{t}/0/{row['id']}") for t in range(3)])
        for row in ROWS
    ]
    inputs: dict[str, Any] = {"fields": SCHEMA.table, "name": SCHEMA.name}
    texts = [
        Forms(0.2).answer("extract/record", {**inputs, "text": row["text"]}, random.Random(0))
        for row in ROWS
    ]
    times = 10
    begin = time.process_time()
    for _ in range(times):
        for text in texts:
            read_record(text, SCHEMA)
    read_s = time.process_time() - begin
    begin = time.process_time()
    for _ in range(times):
        for text, readings in replies:
            agree([looked_up(one, text) for one in readings], SCHEMA)
    ground_s = time.process_time() - begin
    n = times * len(ROWS)
    print(f"\n{1000 * read_s / n:.2f} ms a reply to read,", end=" ")
    print(f"{1000 * ground_s / n:.2f} ms to ground and reconcile three of a document")


if __name__ == "__main__":
    simulated(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    if (DATA / "kg_webnlg_train").is_dir():
        written_by_people()
    else:
        print(f"\nno data in {DATA}: set SYNTHKD_DATA")
    speed()
