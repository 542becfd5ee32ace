from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.evaluate.graphs import compared
from synthkd.graphs.coverage import keyword_scores, near_pairs, nearest, nearly_same
from synthkd.graphs.triple import Triple

BORN = Triple("Ada Lovelace", "born in", "London")
WROTE = Triple("Ada Lovelace", "wrote", "Notes")
NEAR_BORN = Triple("Ada Lovelase", "born in", "London")


@pytest.mark.parametrize(
    ("other", "near", "same"),
    [
        (Triple("ada_lovelace", "Born In", "London"), 1.0, True),
        (NEAR_BORN, 0.8, True),
        (NEAR_BORN, 0.95, False),
        (Triple("Ada", "born in", "London"), 0.8, False),  # a part far shorter
        (Triple("London", "born in", "Ada Lovelace"), 0.5, False),
        (Triple("Ada Lovelace", "died in", "London"), 0.8, False),
    ],
)
def test_all_three_parts_must_be_near(other: Triple, near: float, same: bool) -> None:
    assert nearly_same(BORN.key, other.key, near) is same


names = st.sampled_from(["anna", "annah", "anne", "hanna", "bob", "bobb"])
keys = st.lists(st.tuples(names, st.just("is"), names), unique=True, max_size=4)


@settings(max_examples=40, deadline=None)
@given(keys, keys)
def test_as_many_pairs_as_can_be_the_same_ones_first(gold: Any, given: Any) -> None:
    pairs = near_pairs(gold, given, 0.7)
    assert len({here for here, _ in pairs}) == len({there for _, there in pairs}) == len(pairs)
    assert all(nearly_same(gold[here], given[there], 0.7) for here, there in pairs)
    equal = set(gold) & set(given)
    assert {gold[here] for here, there in pairs if gold[here] == given[there]} == equal
    left = [key for key in gold if key not in equal]
    free: list[Any] = [key for key in given if key not in equal]
    most = max(
        sum(
            near is not None and nearly_same(key, near, 0.7)
            for key, near in zip(left, some, strict=True)
        )
        for some in permutations([*free, *[None] * len(left)], len(left))
    )
    assert len(pairs) == len(equal) + most


def test_words_and_vectors() -> None:
    assert keyword_scores([BORN, WROTE], [Triple("Ada", "born", "London")]) == [0.75, 2 / 7]
    assert keyword_scores([BORN], []) == [0.0]
    gold = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert nearest(gold, np.array([[0.6, 0.8]])).tolist() == [0.6, 0.8]
    assert nearest(gold, np.zeros((0, 2))).tolist() == [0.0, 0.0]


def test_documents_against_gold() -> None:
    def vectors(texts: Any) -> Any:
        return np.array([[1.0, 0.0] if "born" in text else [0.0, 1.0] for text in texts])

    gold = [[BORN, WROTE, WROTE], [WROTE], []]
    found = compared(gold, [[NEAR_BORN], [WROTE, BORN], []], vectors=vectors)
    values = {name: round(one.value, 3) for name, one in found.figures.items()}
    assert values == {
        "strict_precision": 0.333,
        "strict_recall": 0.333,
        "strict_f1": 0.333,
        "near_precision": 0.667,
        "near_recall": 0.667,
        "near_f1": 0.667,
        "keywords": 0.674,  # 0.8, 2 / 9, 1
        "mean_cosine": 0.667,
        "covered": 0.667,
    }
    assert all(one.low <= one.value <= one.high for one in found.figures.values())
    assert list(found.relations) == ["wrote", "born in"]
    wrote, born = found.relations.values()
    assert (wrote.wanted, wrote.named, wrote.hits, wrote.recall) == (2, 1, 1, 0.5)
    assert (born.precision, born.recall) == (0.5, 1.0)
    same = compared(gold, gold, vectors=vectors).figures
    assert all(one.value == 1 for one in same.values())


def test_the_command_tells_it(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    row = {"gold": [list(BORN.parts)], "graph": json.dumps([list(NEAR_BORN.parts)])}
    rows.write_text(json.dumps(row) + "\n" + json.dumps({"gold": [list(WROTE.parts)]}) + "\n")
    asked = CliRunner().invoke(app, ["graph", str(rows), "--gold", "gold", "--json"])
    told = json.loads(asked.stdout)
    assert told["documents"] == 2
    assert told["figures"]["near_recall"]["value"] == 0.5
    assert told["relations"]["wrote"] == {"wanted": 1, "named": 0, "hits": 0}
    for field, fault in (("none", "no row has a triple in 'none'"), ("graph", None)):
        asked = CliRunner().invoke(app, ["graph", str(rows), "--gold", field])
        assert asked.exit_code == (2 if fault else 0)
        assert fault is None or fault in asked.output
    rows.write_text(json.dumps({"gold": "no"}) + "\n")
    asked = CliRunner().invoke(app, ["graph", str(rows), "--gold", "gold"])
    assert "record 1: gold must be a list of triples" in " ".join(asked.output.split())
