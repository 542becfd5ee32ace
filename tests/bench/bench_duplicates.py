"""How well duplicates are told from others: precision and recall over thresholds, by people.

    SYNTHKD_DATA=... python tests/bench/bench_duplicates.py

Pairs are scored by the exact Jaccard similarity of their shingles (what `dedup.minhash` verifies),
by TF-IDF + SVD, and by a sentence encoder where `SYNTHKD_ENCODER` names one. Two sets of pairs:

* MSRP (`dedup_msrp`): 4,076 pairs of sentences from the news, paraphrases or not as people judged.
  All of them were chosen for their likeness, so that telling them apart is hard.
* rephrased GSM8K (`contam_gsm8k_rephrase`): 660 problems and their rephrasings are duplicates;
  each rephrasing and the most similar other problem are not.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from synthkd.curate.embed import EmbedSettings, open_embedder
from synthkd.curate.encoders import SentenceTransformersSettings
from synthkd.curate.minhash import ShingleSets
from synthkd.curate.shingles import words_of
from synthkd.curate.signatures import Signer
from synthkd.curate.tfidf import TfidfSettings
from synthkd.desk import Desk
from synthkd.table_kit import TableKit

Scores = NDArray[np.float64]


class Pairs(NamedTuple):
    """Pairs of texts, and whether they are duplicates."""

    one: list[str]
    other: list[str]
    same: NDArray[np.bool_]


def msrp(data: Path) -> Pairs:
    frame = pd.read_parquet(data / "dedup_msrp" / "train.parquet")
    return Pairs(frame["text1"].tolist(), frame["text2"].tolist(), frame["label"].to_numpy() == 1)


def rephrased(data: Path, folder: Path) -> Pairs:
    """Each rephrasing with its own problem, and with the other problem that is likest to it."""
    frame = pd.read_parquet(data / "contam_gsm8k_rephrase" / "pairs_first660.parquet")
    problems, again = frame["original"].tolist(), frame["rephrased"].tolist()
    values = vectors([*again, *problems], TfidfSettings(), folder)
    likeness = values[: len(again)] @ values[len(again) :].T
    np.fill_diagonal(likeness, -1)
    others = [problems[place] for place in likeness.argmax(axis=1)]
    same = np.arange(2 * len(again)) < len(again)
    return Pairs(again + again, problems + others, same)


def vectors(texts: Sequence[str], settings: EmbedSettings, folder: Path) -> Scores:
    kit = TableKit(Desk(step="bench", work=folder / "work", vectors=folder / "vectors"))
    made = open_embedder(settings, kit, fit_on=texts).vectors(texts)
    return np.asarray(made.values, dtype=np.float64)


def by_jaccard(pairs: Pairs, words: int, folder: Path) -> Scores:
    n = len(pairs.one)
    with (folder / "shingles").open("w+b") as file:
        sets = ShingleSets(file)
        sets.read(enumerate([*pairs.one, *pairs.other]), words, Signer(1, 1))
        return sets.jaccard(np.stack([np.arange(n), np.arange(n) + n], axis=1))


def by_cosine(pairs: Pairs, settings: EmbedSettings, folder: Path) -> Scores:
    values = vectors([*pairs.one, *pairs.other], settings, folder)
    n = len(pairs.one)
    cosine: Scores = np.einsum("nd,nd->n", values[:n], values[n:])
    return cosine


def by_terms(pairs: Pairs, **settings: Any) -> Scores:
    """Sparse TF-IDF, not made short by an SVD: no step has it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    fit = TfidfVectorizer(sublinear_tf=True, **settings).fit([*pairs.one, *pairs.other])
    products = fit.transform(pairs.one).multiply(fit.transform(pairs.other))
    cosine: Scores = np.asarray(products.sum(axis=1)).ravel()
    return cosine


def scored(pairs: Pairs, folder: Path) -> Iterator[tuple[str, Scores]]:
    for words in (1, 2, 3, 5):
        yield f"Jaccard, runs of {words} words", by_jaccard(pairs, words, folder)
    for dimensions in (128, 256, 512):
        settings = TfidfSettings(dimensions=dimensions)
        yield f"TF-IDF + SVD, {dimensions}", by_cosine(pairs, settings, folder)
    yield "sparse TF-IDF of words", by_terms(pairs, analyzer=words_of)
    characters = by_terms(pairs, analyzer="char_wb", ngram_range=(2, 4))
    yield "sparse TF-IDF of characters 2-4", characters
    encoder = os.environ.get("SYNTHKD_ENCODER")
    if encoder:
        model = SentenceTransformersSettings(kind="sentence_transformers", model=encoder)
        yield encoder, by_cosine(pairs, model, folder)


def average_precision(scores: Scores, same: NDArray[np.bool_]) -> float:
    """The area below the precision-recall curve, ties taken together."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(same, scores))


def show(name: str, pairs: Pairs, folder: Path) -> None:
    print(f"\n{name}: {len(pairs.same):,} pairs, {pairs.same.mean():.3f} of them duplicates")
    thresholds = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    print("| score | AP | " + " | ".join(f"{t} P / R" for t in thresholds) + " |")
    print("| --- | --- |" + " --- |" * len(thresholds))
    for method, scores in scored(pairs, folder):
        cells = []
        for threshold in thresholds:
            found = scores >= threshold
            recall = found[pairs.same].mean()
            precision = pairs.same[found].mean() if found.any() else float("nan")
            cells.append(f"{precision:.3f} / {recall:.3f}")
        score = average_precision(scores, pairs.same)
        print(f"| {method} | {score:.3f} | " + " | ".join(cells) + " |")


def main() -> None:
    data = Path(os.environ.get("SYNTHKD_DATA", ""))
    if not (data / "dedup_msrp").is_dir():
        print("skipped: SYNTHKD_DATA names no folder with dedup_msrp")
        return
    # More than one thread wait for each other where others work.
    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        folder = Path(scratch)
        show("MSRP", msrp(data), folder)
        show("rephrased GSM8K", rephrased(data, folder), folder)


if __name__ == "__main__":
    main()
