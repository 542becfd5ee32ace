"""What a near duplicate costs to find: `dedup.minhash` on many short texts, with planted twins.

    python tests/bench/bench_minhash.py [TEXTS]      # 1,000,000 texts of 30 words by default

Twice: `words: 1`, the default, on texts whose words are as unevenly common as those of a language
(Zipf), since what everybody says makes the candidates of a bag of words; and `words: 3` on words
that are drawn evenly, which is the least there is to do.

CPU is user + system of the process. "Method" takes texts from an iterator, "step" reads rows from
the spool, twice, and yields or rejects them. Recall is over planted pairs whose exact Jaccard
similarity is known; the floor is the reading of the spool alone.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np

from synthkd.curate.groups import Groups
from synthkd.curate.minhash import MinHashConfig, ShingleSets, group, minhash
from synthkd.curate.signatures import Signer, s_curve, split_of
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Row, source_row
from synthkd.table_kit import TableKit

WORDS = 30
PLANTED = 0.02
"""Share of texts that are followed, much later, by a twin with some words changed."""
THRESHOLD = 0.8


def texts(n: int, zipf: bool) -> Iterator[str]:
    """n texts; the last PLANTED of them are twins of the first, with 1 or 2 words changed."""
    chance = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(30_000)]
    weights = [1 / rank if zipf else 1 for rank in range(1, len(words) + 1)]
    up_to = list(accumulate(weights))
    n_twins = int(n * PLANTED)
    first: list[list[str]] = []
    for index in range(n - n_twins):
        said = chance.choices(words, cum_weights=up_to, k=WORDS)
        if index < n_twins:
            first.append(said)
        yield " ".join(said).capitalize() + "."
    for said in first:
        said = said[:]
        where = chance.randrange(WORDS)
        said[where] = "changed"
        if chance.random() < 0.3:
            said[(where + chance.randrange(1, 3)) % WORDS] = "too"
        yield " ".join(said)


def row(index: int, text: str) -> Row:
    return source_row("bench", [index], ordinal=index, fields={"text": text})


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def method(n: int, words: int, zipf: bool, folder: Path) -> None:
    start = time.process_time()
    for _ in texts(n, zipf):
        pass
    made_s = time.process_time() - start
    start = time.process_time()
    bands, rows = split_of(THRESHOLD, 128, 0.95)
    with (folder / "shingles").open("w+b") as file:
        sets = ShingleSets(file)
        keys, members = sets.read(enumerate(texts(n, zipf)), words, Signer(bands, rows))
        read_s = time.process_time() - start - made_s
        groups = Groups(n)
        verified = group(groups, sets, keys, members, THRESHOLD, n)
        cpu_s = time.process_time() - start - made_s
        n_twins = int(n * PLANTED)
        pairs = np.stack([np.arange(n_twins), np.arange(n - n_twins, n)], axis=1)
        exact = sets.jaccard(pairs)
    roots = groups.roots()
    found = roots[pairs[:, 0]] == roots[pairs[:, 1]]
    spread = "Zipf" if zipf else "even"
    print(
        f"words: {words}, {spread}: {bands} bands x {rows}, {n:,} texts of {WORDS} words,"
        f" threshold {THRESHOLD}"
    )
    print(
        f"method: {cpu_s:.1f} CPU s (reading and signing {read_s:.1f}, pairs {cpu_s - read_s:.1f}),"
        f" {n / cpu_s:,.0f} texts a CPU second; {verified:,} pairs verified;"
        f" peak {peak_mb():,.0f} MB"
    )
    for low, high in ((0.8, 0.82), (0.82, 0.86), (0.86, 0.95), (0.8, 1.0)):
        inside = (exact >= low) & (exact < high)
        if inside.any():
            print(
                f"  Jaccard {low} to {high}: {found[inside].mean():.4f} of {inside.sum():,} planted"
                f" pairs found; at {low} the formula says {s_curve(low, bands, rows):.4f}"
            )
    if (exact < THRESHOLD).any():
        below = found[exact < THRESHOLD].mean()
        print(f"  below {THRESHOLD}: {below:.4f} (may be by way of others)")


def step(n: int, words: int, zipf: bool, folder: Path) -> None:
    with RowSpool(folder / "rows") as spool:
        spool.add(row(i, text) for i, text in enumerate(texts(n, zipf)))
        spool.seal()
        start = time.process_time()
        for _ in spool:
            pass
        floor_s = time.process_time() - start
        kit = TableKit(Desk(step="bench", work=folder))
        config = MinHashConfig(field="text", words=words, threshold=THRESHOLD)
        start = time.process_time()
        kept = sum(1 for _ in minhash(Table(spool), kit, config))
        cpu_s = time.process_time() - start
    gone = len(kit.take_gone())
    print(
        f"step: {cpu_s:.1f} CPU s, {n / cpu_s:,.0f} rows a CPU second, {kept:,} kept, {gone:,}"
        f" gone; reading the spool once {floor_s:.1f} s; peak {peak_mb():,.0f} MB"
    )


if __name__ == "__main__":
    n_texts = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 1_000_000
    for n_words, is_zipf in ((1, True), (3, False)):
        with tempfile.TemporaryDirectory() as scratch:
            method(n_texts, n_words, is_zipf, Path(scratch))
            step(n_texts, n_words, is_zipf, Path(scratch))
