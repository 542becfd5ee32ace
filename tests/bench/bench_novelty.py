"""What the ROUGE-L gate costs a row as the pool grows: `Novelty`, and comparing with every text.

    SYNTHKD_DATA=... python tests/bench/bench_novelty.py [ROWS]     # 100,000 by default

Three kinds of instructions: real ones (instr_alpaca9k, in a fixed random order); ones with the
words and pairs of words of the real ones (a chain of pairs, as long as wanted), of which so many
are accepted; and those of the simulated world `instructions`. Each candidate is looked up, and
added if it is new: what a generator does (the simulated grammar runs out of new ones at some
thousands). CPU is user + system of the process.

The floor is the same gate without an index: the fastest comparison that we have (bits of whole
numbers) with every text of fitting length.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pyarrow.parquet as pq

from synthkd.recipes.instruct.novelty import Novelty, rouge_l, words_of
from synthkd.teachers.simulated.instructions.grammar import instruction

THRESHOLD = 0.7
AT = (1_000, 3_000, 10_000, 30_000, 100_000)
"""Sizes of the pool at which a block of candidates is measured."""
BLOCK = 2_000
BY_HAND = 200
"""Candidates compared with every text."""


def real() -> list[str]:
    """The recorded instructions, each once."""
    path = Path(os.environ["SYNTHKD_DATA"], "instr_alpaca9k", "random_9k.parquet")
    texts = pq.read_table(path, columns=["instruction"]).column("instruction").to_pylist()
    texts = list(dict.fromkeys(texts))
    random.Random(5).shuffle(texts)
    return texts


def chained(texts: list[str], rng: random.Random) -> Iterator[str]:
    """Texts in which each word follows the one before it as often as in these."""
    follows: defaultdict[str, list[str]] = defaultdict(list)
    for text in texts:
        words = ["", *text.split(), ""]
        for one, other in pairwise(words):
            follows[one].append(other)
    while True:
        said = [rng.choice(follows[""])]
        while said[-1] and len(said) < 60:
            said.append(rng.choice(follows[said[-1]]))
        yield " ".join(said).strip()


def made(rng: random.Random) -> Iterator[str]:
    """Of the simulated world."""
    while True:
        yield instruction(rng)


def gate(candidates: Iterator[str], most: int) -> None:
    """Print candidates a CPU second where the pool has the sizes of `AT`."""
    index = Novelty(THRESHOLD)
    began, seen = time.process_time(), 0
    for size in [size for size in AT if size <= most]:
        while len(index) < size and (text := next(candidates, None)) is not None:
            seen += 1
            if index.near(text) is None:
                index.add(text)
        block = [text for _, text in zip(range(BLOCK), candidates, strict=False)]
        if len(index) < size or not block:
            break
        start = time.process_time()
        near = sum(index.near(text) is not None for text in block)
        took = time.process_time() - start
        print(
            f"| {size:,} | {seen:,} | {len(block) / took:,.0f} | {near / len(block):.1%} |"
            f" {seen / (time.process_time() - began):,.0f} |",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{len(index):,} in the pool, {peak:,.0f} MB of memory at most so far\n")


def by_hand(texts: list[str]) -> None:
    """The gate without an index, on the real instructions."""
    pool = [words_of(text) for text in texts[:-BY_HAND]]
    asked = [words_of(text) for text in texts[-BY_HAND:]]
    index = Novelty(THRESHOLD)
    for text in texts[:-BY_HAND]:
        index.add(text)
    start = time.process_time()
    told = [index.near(text) is not None for text in texts[-BY_HAND:]]
    indexed = time.process_time() - start
    start = time.process_time()
    found = [_any_near(words, pool) for words in asked]
    took = time.process_time() - start
    assert found == told
    print(
        f"{len(pool):,} real texts, {BY_HAND} candidates: {BY_HAND / indexed:,.0f} a CPU second by"
        f" the index, {BY_HAND / took:,.1f} comparing with all of fitting length:"
        f" {took / indexed:,.0f} times as long; the same verdicts"
    )


def _any_near(words: list[str], pool: list[list[str]]) -> bool:
    n = len(words)
    fits = (other for other in pool if 13 * len(other) > 7 * n and 7 * len(other) < 13 * n)
    return any(rouge_l(words, other) > THRESHOLD for other in fits)


def main(most: int) -> None:
    """Print a table for each kind."""
    texts = real()
    kinds = {
        "real": iter(texts),
        "chained from the real ones": chained(texts, random.Random(7)),
        "simulated": islice(made(random.Random(7)), 20_000),
    }
    for name, candidates in kinds.items():
        print(f"{name}:\n")
        print("| accepted | candidates so far | a CPU s now | near now | a CPU s since the start |")
        print("| --- | --- | --- | --- | --- |")
        gate(candidates, most)
    by_hand(texts)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else AT[-1])
