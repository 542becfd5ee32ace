"""How well leaked test items are found: each detector on rephrasings and on unrelated rows.

    SYNTHKD_DATA=... python tests/bench/bench_contamination.py

Rephrased GSM8K (`contam_gsm8k_rephrase`): 660 test problems are the items, their rephrasings must
be found, and the 7,473 problems of the training set (`gsm8k`) must not. Sets of
one subject stand for a benchmark of their own. CodeAlpaca and HumanEval
(`contam_codealpaca_humaneval`): the recorded yes or no of a model to the rows nearest to each
item, replayed through the step by a recorded teacher.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from synthkd.curate.decontaminate import NearestSettings
from synthkd.curate.embed import open_embedder
from synthkd.curate.nearest import nearest
from synthkd.curate.ngrams import NgramIndex, Rules
from synthkd.curate.shingles import words_of
from synthkd.curate.terms import TermIndex
from synthkd.curate.tfidf import TfidfSettings, sample_of
from synthkd.desk import Desk
from synthkd.pipeline import Pipeline
from synthkd.table_kit import TableKit

Scores = NDArray[np.float64]
FALSE_ALARMS = 0.01
THRESHOLD = NearestSettings().threshold
PIPELINE = """
name: bench
source: {jsonl: rows.jsonl}
teachers:
  judge: {recorded: {jsonl: verdicts.jsonl, match: [item, row], text: answer}}
steps:
  - use: decontaminate
    with:
      field: code
      benchmarks: [{jsonl: items.jsonl, field: code, name: humaneval}]
      nearest: {threshold: 0.4}
      teacher: judge
limits: {max_failed: 1.0}
"""


def by_words(items: Sequence[str], texts: Sequence[str], rules: Rules) -> NDArray[np.bool_]:
    index = NgramIndex(items, rules)
    index.count(texts)
    return np.array([match is not None for match in index.judge(texts)])


def by_vectors(items: Sequence[str], texts: Sequence[str], dimensions: int) -> Scores:
    both = [*texts, *items]
    with tempfile.TemporaryDirectory() as scratch:
        kit = TableKit(Desk(step="bench", work=Path(scratch), vectors=Path(scratch, "v")))
        settings = TfidfSettings(dimensions=dimensions)
        values = open_embedder(settings, kit, fit_on=both).vectors(both).values
        _, cosine = nearest(values[: len(texts)], np.array(values[len(texts) :]))
    return cosine.astype(np.float64)


def by_terms(
    items: Sequence[str], texts: Sequence[str], rows: int = 10_000, at_least: float = 0.4
) -> Scores:
    """As the step does it; `rows` of the texts say, with the items, how rare a word is."""
    index = TermIndex(items, sample_of(texts, rows, 0) if rows else [])
    _, cosine = index.nearest(texts, at_least)
    return cosine.astype(np.float64)


def by_sparse(items: Sequence[str], texts: Sequence[str], **settings: Any) -> Scores:
    """Controls: other terms, all the same not made short by an SVD."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    given = {"sublinear_tf": True, "dtype": np.float32, **settings}
    fit = TfidfVectorizer(**given).fit([*texts, *items])
    likeness = fit.transform(texts) @ fit.transform(items).T
    best: Scores = likeness.max(axis=1).toarray().ravel()
    return best


def halves(items: Sequence[str], texts: Sequence[str], n_leaked: int) -> None:
    """The least threshold with few enough false alarms on one half; what it does on the other."""
    chance = np.random.default_rng(0)
    leaked = np.arange(len(texts)) < n_leaked
    n_others = len(texts) - n_leaked
    tuned = np.concatenate([chance.permutation(n) < n // 2 for n in (n_leaked, n_others)])
    words, characters = {"analyzer": words_of}, {"analyzer": "char_wb", "ngram_range": (2, 4)}
    scores = {
        "terms (default)": by_terms(items, texts),
        "terms, fitted on the items alone": by_terms(items, texts, 0),
        "words, no logarithm of the counts": by_sparse(items, texts, **words, sublinear_tf=False),
        "words, present or not": by_sparse(items, texts, **words, binary=True),
        "words and word pairs": by_sparse(items, texts, ngram_range=(1, 2)),
        "characters 2-4": by_sparse(items, texts, **characters),
    }
    scores["TF-IDF + SVD, 512"] = by_vectors(items, texts, 512)
    print(
        "\n| by terms | threshold of one half | found there / false | other half: found / false |"
    )
    print("| --- | --- | --- | --- |")
    for name, score in scores.items():
        at = next(
            t
            for t in np.arange(0.2, 1, 0.01)
            if (score[tuned & ~leaked] >= t).mean() < FALSE_ALARMS
        )
        yes = score >= at
        cells = [
            f"{yes[half & leaked].mean():.3f} / {yes[half & ~leaked].mean():.4f}"
            for half in (tuned, ~tuned)
        ]
        print(f"| {name} | {at:.2f} | " + " | ".join(cells) + " |")


def gsm8k(data: Path) -> None:
    pairs = pd.read_parquet(data / "contam_gsm8k_rephrase" / "pairs_first660.parquet")
    train = pd.read_parquet(data / "gsm8k" / "train.parquet")["prompt"].tolist()
    items = pairs["original"].tolist()
    texts = [*pairs["rephrased"].tolist(), *train]
    leaked = np.arange(len(texts)) < len(pairs)
    print(f"GSM8K: {len(items)} items, {leaked.sum()} rephrasings, {(~leaked).sum():,} others")
    print("| rule | rephrasings found | false alarms | copies found |")
    print("| --- | --- | --- | --- |")
    rules = {
        "run of 13 words": Rules(share=1.0),
        "run of 8 words": Rules(any_words=8, share=1.0),
        "run of 6 words": Rules(any_words=6, share=1.0),
        "0.7 of the runs of 8": Rules(any_words=None, share=0.7),
        "0.5 of the runs of 8 (default, with 13)": Rules(),
        "0.3 of the runs of 5": Rules(any_words=None, share_words=5, share=0.3),
        "0.2 of the runs of 3": Rules(any_words=None, share_words=3, share=0.2),
    }
    for name, rule in rules.items():
        found, copies = by_words(items, texts, rule), by_words(items, items, rule)
        print(
            f"| {name} | {found[leaked].mean():.3f} | {found[~leaked].mean():.4f} |"
            f" {copies.mean():.3f} |"
        )
    thresholds = (0.4, 0.45, 0.5, 0.52, 0.55, 0.6, 0.7, 0.75, 0.8, 0.9)
    print(f"\n| cosine | found with {FALSE_ALARMS:.0%} false alarms (at) | ", end="")
    print(" | ".join(f"{t}: found / false" for t in thresholds) + " |")
    print("| --- | --- |" + " --- |" * len(thresholds))
    scores = {f"TF-IDF + SVD, {d}": by_vectors(items, texts, d) for d in (256, 512)}
    scores["terms (sparse TF-IDF of words)"] = by_terms(items, texts)
    for name, score in scores.items():
        at = float(np.quantile(score[~leaked], 1 - FALSE_ALARMS))
        cells = [f"{(score[leaked] > at).mean():.3f} ({at:.2f})"]
        for threshold in thresholds:
            yes = score >= threshold
            cells.append(f"{yes[leaked].mean():.3f} / {yes[~leaked].mean():.4f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    halves(items, texts, len(pairs))


OWN = {
    "dss_cqa": "question",
    "cls_banking77": "text",
    "cls_trec": "text",
    "cls_agnews": "text",
}
"""Sets whose own texts stand for a benchmark: the nearest there is to it, and no leak of it."""


def own_sets(data: Path) -> None:
    """False alarms on one subject, by the least words of an item: 1,000 of a set as the items."""
    print(
        "\n| 1,000 texts of a set as items, the others as rows | all items | 10 words | 15 | 20 |"
    )
    print("| --- | --- | --- | --- | --- |")
    for folder, field in OWN.items():
        file = next((data / folder).glob("train.parquet"), None) or next(
            (data / folder).glob("part*.parquet")
        )
        texts = sorted(set(pd.read_parquet(file)[field]))
        order = np.random.default_rng(0).permutation(len(texts))
        items, rows = [[texts[i] for i in some] for some in (order[:1000], order[1000:])]
        cells = []
        for least in (1, 10, 15, 20):
            long = [item for item in items if len(words_of(item)) >= least]
            lost = (by_terms(long, rows) >= THRESHOLD).mean()
            cells.append(f"{lost:.4f} ({len(long)})")
        print(f"| {folder} | " + " | ".join(cells) + " |")


def verdicts(data: Path) -> Iterator[tuple[str, str, bool]]:
    """Item, row, and whether the recorded model said yes."""
    frame = pd.read_parquet(data / "contam_codealpaca_humaneval" / "db.parquet")
    for item, rows, results in zip(frame["test"], frame["train"], frame["results"], strict=True):
        for row, said in zip(json.loads(rows), json.loads(results), strict=True):
            yield item, row, said


def humaneval(data: Path) -> None:
    judged = list(verdicts(data))
    items = list(dict.fromkeys(item for item, _, _ in judged))
    rows = list(dict.fromkeys(row for _, row, _ in judged))
    yes = {row for _, row, said in judged if said}
    print(f"\nHumanEval: {len(judged)} recorded verdicts on {len(rows)} rows, {len(yes)} rows yes")
    said_yes = np.array([row in yes for row in rows])
    found = by_words(items, rows, Rules())
    print(f"by words, default: {found.sum()} rows, {(found & said_yes).sum()} of them judged yes")
    scores = {
        "terms": by_terms(items, rows, at_least=0.3),
        "TF-IDF + SVD, 512": by_vectors(items, rows, 512),
    }
    for name, score in scores.items():
        for threshold in (0.3, 0.4, THRESHOLD, 0.7):
            near = score >= threshold
            yes_too = (near & said_yes).sum()
            print(f"{name}, {threshold}: {near.sum()} rows, {yes_too} of them judged yes")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        answers = [
            {"item": item, "row": row, "answer": "yes" if said else "no"}
            for item, row, said in judged
        ]
        for name, records in (
            ("rows", [{"code": row} for row in rows]),
            ("items", [{"code": item} for item in items]),
            ("verdicts", answers),
        ):
            (folder / f"{name}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, records)))
        (folder / "p.yaml").write_text(PIPELINE, encoding="utf-8")
        pipeline = Pipeline.load(folder / "p.yaml", out=folder / "out")
        manifest = asyncio.run(pipeline.run())
        print(f"with the recorded verdicts: {manifest.counts}")
        print(f"  {manifest.figures['decontaminate']}")


def main() -> None:
    data = Path(os.environ.get("SYNTHKD_DATA", ""))
    if not (data / "contam_gsm8k_rephrase").is_dir():
        print("skipped: SYNTHKD_DATA names no folder with contam_gsm8k_rephrase")
        return
    with threadpool_limits(1):  # more threads wait for each other where others work
        gsm8k(data)
        own_sets(data)
        humaneval(data)


if __name__ == "__main__":
    main()
