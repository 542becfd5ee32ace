"""What looking for test items costs: `decontaminate`, many rows against many items.

    python tests/bench/bench_ngrams.py [ROWS] [ITEMS]      # 1,000,000 rows, 50,000 items by default

By runs of words; then by the nearest item, on a fiftieth of the rows, whose words are as unevenly
common as those of a language (Zipf), since common words are what that costs.

CPU is user + system of the process. "Method" takes texts from an iterator, twice, as the step does;
"step" reads rows from the spool. One row in a hundred holds an item in the midst of its own words.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path

import orjson

from synthkd.curate.decontaminate import DecontaminateConfig, NearestSettings, decontaminate
from synthkd.curate.ngrams import NgramIndex, Rules
from synthkd.curate.terms import TermIndex
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import source_row
from synthkd.table_kit import TableKit

ROW_WORDS, ITEM_WORDS = 30, 45
HELD = 100
"""Every so many rows, one holds an item."""
BATCH = 2_000


def vocabulary() -> list[str]:
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(30_000)]


def as_in_language(n: int, n_words: int, seed: int) -> list[str]:
    words, chance = vocabulary(), random.Random(seed)
    up_to = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return [" ".join(chance.choices(words, cum_weights=up_to, k=n_words)) for _ in range(n)]


def nearest(n_rows: int, n_items: int) -> None:
    texts, held = as_in_language(n_rows, ROW_WORDS, 5), as_in_language(n_items, ITEM_WORDS, 6)
    start = time.process_time()
    index = TermIndex(held, texts[:10_000])
    made_s = time.process_time() - start
    start = time.process_time()
    for batch in batches(iter(texts)):
        index.nearest(batch, NearestSettings().threshold)
    work_s = time.process_time() - start
    print(
        f"nearest, {n_items:,} items, {n_rows:,} rows: {n_rows / work_s:,.0f} rows a CPU second,"
        f" the index {made_s:.1f} CPU s; peak {peak_mb():,.0f} MB"
    )


def items(n: int) -> list[str]:
    words, chance = vocabulary(), random.Random(2)
    return [" ".join(chance.choices(words, k=ITEM_WORDS)) + "?" for _ in range(n)]


def rows(n: int, held: list[str]) -> Iterator[str]:
    words, chance = vocabulary(), random.Random(3)
    for index in range(n):
        said = chance.choices(words, k=ROW_WORDS)
        if index % HELD == 0:
            said.insert(chance.randrange(ROW_WORDS), held[(index // HELD) % len(held)].upper())
        yield " ".join(said)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def batches(texts: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(texts, BATCH)):
        yield batch


def method(n_rows: int, held: list[str]) -> None:
    start = time.process_time()
    index = NgramIndex(held, Rules())
    index_s = time.process_time() - start
    before_mb = peak_mb()
    print(f"index of {len(held):,} items: {index.n_runs:,} runs, {index_s:.1f} CPU s")
    work_s, found = 0.0, 0
    for batch in batches(rows(n_rows, held)):
        start = time.process_time()
        suspects = [t for t, yes in zip(batch, index.count(batch), strict=True) if yes]
        found += sum(match is not None for match in index.judge(suspects))
        work_s += time.process_time() - start
    print(
        f"method: {work_s:.1f} CPU s, {n_rows / work_s:,.0f} rows a CPU second; {found:,} of"
        f" {-(-n_rows // HELD):,} rows with an item found; peak {before_mb:,.0f} MB with the index,"
        f" {peak_mb():,.0f} MB after all rows"
    )


def step(n_rows: int, held: list[str], folder: Path) -> None:
    file = folder / "items.jsonl"
    with file.open("wb") as lines:
        lines.writelines(orjson.dumps({"question": item}) + b"\n" for item in held)
    config = DecontaminateConfig.model_validate(
        {
            "field": "text",
            "benchmarks": [{"jsonl": str(file), "field": "question"}],
            "nearest": None,
        }
    )
    with RowSpool(folder / "rows") as spool:
        spool.add(
            source_row("bench", [i], ordinal=i, fields={"text": text})
            for i, text in enumerate(rows(n_rows, held))
        )
        spool.seal()
        start = time.process_time()
        for _ in spool:
            pass
        floor_s = time.process_time() - start
        kit = TableKit(Desk(step="bench", work=folder))
        start = time.process_time()
        kept = sum(1 for _ in decontaminate(Table(spool), kit, config))
        cpu_s = time.process_time() - start
    print(
        f"step: {cpu_s:.1f} CPU s, {n_rows / cpu_s:,.0f} rows a CPU second with the index made;"
        f" {kept:,} kept; reading the spool once {floor_s:.1f} s; peak {peak_mb():,.0f} MB"
    )
    print(f"  {kit.figures}")


if __name__ == "__main__":
    numbers = [int(word.replace(",", "")) for word in sys.argv[1:]]
    n_rows, n_items = (numbers + [1_000_000, 50_000][len(numbers) :])[:2]
    test_items = items(n_items)
    method(n_rows, test_items)
    with tempfile.TemporaryDirectory() as scratch:
        step(n_rows, test_items, Path(scratch))
    for some_items in (1_319, n_items):
        nearest(n_rows // 50, some_items)
