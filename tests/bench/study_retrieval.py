"""How often the propositions that answer a question are found: by vectors alone, and by hops.

    python tests/bench/study_retrieval.py

Propositions are the sentences of WebNLG that state one fact, written by people, with their gold
triple. Questions are made from the triples, in one form that no sentence has: about one fact ("What
is the leader of Aarhus?") and about two in a chain ("What is the leader of the city served of
Aarhus Airport?"), where only the first is named. A hit is a question all of whose facts are among
the first k. No model of sentences is here: vectors are TF-IDF with an SVD.

Needs the data of SYNTHKD_DATA (default ../shared/data).
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from synthkd.curate.tfidf import TfidfModel, TfidfSettings
from synthkd.graphs.retrieval import Among, Propositions
from synthkd.graphs.triple import PartsKey, Triple, triple_of
from synthkd.graphs.whole import WholeGraph

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
QUESTIONS = 500
"""Of each kind, by chance."""
KEEP = (2, 5, 10)
WAYS: Sequence[tuple[int, int, Among]] = (
    (50, 0, "all"),
    (50, 1, "all"),
    (20, 2, "put_forward"),
    (50, 2, "put_forward"),
    (200, 2, "put_forward"),
    (50, 2, "all"),
    (50, 3, "all"),
)
Gold = frozenset[PartsKey]


def read() -> dict[PartsKey, tuple[Triple, str]]:
    """Each fact that a sentence states alone, and the first such sentence."""
    facts: dict[PartsKey, tuple[Triple, str]] = {}
    columns = ["sentence", "gold_triples"]
    for row in pq.read_table(
        DATA / "kg_webnlg_train" / "train.parquet", columns=columns
    ).to_pylist():
        stated = json.loads(row["gold_triples"])
        if len(stated) != 1:
            continue
        triple = triple_of([part.strip('"').replace("_", " ") for part in stated[0]])
        if triple is not None and triple.fault is None:
            facts.setdefault(triple.key, (triple, row["sentence"]))
    return facts


def questions(facts: Sequence[Triple]) -> Iterator[tuple[str, Gold]]:
    """Those that have one answer."""
    about: defaultdict[str, list[Triple]] = defaultdict(list)
    for fact in facts:
        about[fact.key[0]].append(fact)

    def is_alone(fact: Triple) -> bool:
        return sum(other.key[1] == fact.key[1] for other in about[fact.key[0]]) == 1

    for first in filter(is_alone, facts):
        relation = _words(first.relation)
        yield f"What is the {relation} of {first.head}?", frozenset({first.key})
        for second in filter(is_alone, about.get(first.key[2], ())):
            asked = f"What is the {_words(second.relation)} of the {relation} of {first.head}?"
            yield asked, frozenset({first.key, second.key})


def _words(relation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", relation).lower()


def main() -> None:
    """Hit rates with intervals over questions, by way."""
    facts = read()
    whole = WholeGraph()
    for number, (triple, sentence) in enumerate(facts.values()):
        whole.add(str(number), [(triple, sentence)], types={}, words=0)
    asked = Propositions(whole)
    keys: defaultdict[str, set[PartsKey]] = defaultdict(set)
    for triple, sentence in facts.values():
        keys[sentence].add(triple.key)
    model = TfidfModel(TfidfSettings(), asked.texts)
    vectors = _unit(model.compute(asked.texts))
    rng = random.Random(0)
    every = list(questions([triple for triple, _ in facts.values()]))
    for needs in (1, 2):
        alike = [one for one in every if len(one[1]) == needs]
        chosen = rng.sample(alike, min(QUESTIONS, len(alike)))
        cosines = _unit(model.compute([question for question, _ in chosen])) @ vectors.T
        print(
            f"{len(asked)} propositions, {len(chosen)} of {len(alike)} questions, {needs} fact(s)"
        )
        for put_forward, hops, among in WAYS:
            started = time.process_time()
            found = [
                [
                    keys[hit.proposition]
                    for hit in asked.best(
                        question,
                        near,
                        keep=max(KEEP),
                        put_forward=put_forward,
                        hops=hops,
                        among=among,
                    )
                ]
                for (question, _), near in zip(chosen, cosines, strict=True)
            ]
            each_ms = 1000 * (time.process_time() - started) / len(chosen)
            rates = [
                _rate(
                    [
                        gold <= set().union(*some[:k])
                        for (_, gold), some in zip(chosen, found, strict=True)
                    ]
                )
                for k in KEEP
            ]
            way = f"{put_forward} put forward, {hops} hops among {among}"
            print(f"   {way}: {', '.join(rates)} % at {KEEP}; {each_ms:.1f} ms", flush=True)


def _unit(vectors: Any) -> Any:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _rate(hits: Sequence[bool]) -> str:
    rng = np.random.default_rng(0)
    draws = np.sort(rng.choice(hits, size=(1000, len(hits))).mean(axis=1))
    return f"{100 * np.mean(hits):.1f} [{100 * draws[25]:.1f}, {100 * draws[974]:.1f}]"


if __name__ == "__main__":
    main()
