"""dedup.semantic: neighbours by vectors and SemDeDup's rule, against the arithmetic by the book."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from synthkd.curate import neighbours
from synthkd.curate import semantic as module
from synthkd.curate.embed import Texts, Vectors
from synthkd.curate.neighbours import all_pairs, before, first_equals, nearest_pairs
from synthkd.curate.semantic import SemanticConfig, semantic
from synthkd.desk import Desk
from synthkd.errors import RowError, UserError
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Json, Row, source_row
from synthkd.table_kit import TableKit

Floats = NDArray[np.float32]


def rows_of(*said: Json) -> list[Row]:
    return [source_row("rows", [i], ordinal=i, fields={"q": q}) for i, q in enumerate(said)]


def unit(vectors: object) -> Floats:
    values = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    result: Floats = np.divide(values, lengths, out=values, where=lengths > 0)
    return result


class Planted:
    """An embedder with the vectors of the test."""

    def __init__(self, values: Floats, errors: Mapping[int, RowError] | None = None) -> None:
        self.given = Vectors(values=values, errors=errors or {})

    def vectors(self, texts: Texts) -> Vectors:
        assert len(list(texts)) == len(texts) == len(self.given)
        return self.given


class Outcome:
    def __init__(
        self, rows: Sequence[Row], vectors: Planted | None = None, **given: object
    ) -> None:
        self.kit = TableKit(Desk(step="dedup.semantic", work=Path("work"), vectors=Path("kept")))
        config = SemanticConfig.model_validate({"field": "q", "threshold": 0.9, **given})
        with RowSpool.of(Path("rows.spool"), rows) as spool, pytest.MonkeyPatch.context() as patch:
            if vectors is not None:
                patch.setattr(module, "open_embedder", lambda *_, **__: vectors)
            self.kept = [row.order[0] for row in semantic(Table(spool), self.kit, config)]
        self.gone = {row.order[0]: str(why) for row, why in self.kit.take_gone()}
        self.figures: dict[str, Any] = self.kit.figures
        assert len(self.kept) + len(self.gone) == len(rows)


def test_by_tf_idf_the_twin_is_named_with_its_cosine() -> None:
    rows = rows_of(
        "where is my new bank card", "Where is my new bank card?", "how do I bake bread", ""
    )
    outcome = Outcome(rows)
    assert outcome.kept == [0, 2, 3]
    assert outcome.gone[1].startswith(f"semantic_duplicate: of row {rows[0].id} (cosine 0.9")
    assert outcome.figures["all_pairs_compared"] is True


def test_chains_scores_and_rows_without_vectors() -> None:
    angles = np.deg2rad([0, 20, 40, 90, 91, 92])
    values = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    values[5] = 0
    rows = rows_of("a", "b", "c", "d", "e", "f")
    planted = Planted(values, {5: RowError("the vector is not finite")})
    outcome = Outcome(rows, planted, threshold=0.93)
    assert outcome.kept == [0, 3]
    assert outcome.gone[2] == (
        f"semantic_duplicate: of row {rows[0].id} (cosine 0.766), by way of row {rows[1].id}"
        " (0.940)"
    )
    assert outcome.gone[5] == "the vector is not finite"


def test_other_datasets(tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    lines = [{"x": 1}, {"t": "where is my new bank card"}]
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    rows = rows_of("where is my new bank card??", "how do I bake bread", None)
    outcome = Outcome(rows, against=[{"jsonl": str(file), "field": "t"}])
    assert outcome.kept == [1]
    assert outcome.gone[0] == "semantic_duplicate: of old.jsonl row 2 (cosine 0.924)"
    assert outcome.gone[2].startswith("no_text")


@pytest.mark.parametrize("within", ["all", "clusters"])
@pytest.mark.parametrize("n", [0, 1, 2, 3_000])
def test_one_row_and_all_rows_equal(n: int, within: str) -> None:
    outcome = Outcome(rows_of(*["the very same words"] * n), within=within)
    assert outcome.kept == [0][:n]


@pytest.mark.parametrize("within", ["all", "clusters"])
def test_blank_texts_are_nobodys_duplicates(within: str) -> None:
    assert Outcome(rows_of("", " ", "\n"), within=within).kept == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"within": "clusters", "keep": "longest"}, "leave `keep` out"),
        ({"clusters": 4}, "settings of `within: clusters`"),
        ({"threshold": 0}, "greater than 0"),
        ({"field": None}, "exactly one of field, fields"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SemanticConfig.model_validate({"field": "q", **given})


def test_many_texts_without_faiss_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    monkeypatch.setattr(module, "EXACT_UP_TO", 1)
    planted = Planted(unit(np.eye(3)))
    with pytest.raises(UserError, match=r"pip install 'synthkd\[dedup\]'"):
        Outcome(rows_of("a", "b", "c"), planted)


# --- laws

few = st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=14).map(
    unit
)


@settings(deadline=None)
@given(few, st.sampled_from([0.5, 0.8, 0.95]))
def test_exactly_one_of_each_group_is_kept(values: Floats, threshold: float) -> None:
    n = len(values)
    outcome = Outcome(rows_of(*["x"] * n), Planted(values), threshold=threshold)
    group = list(range(n))
    for i, j in itertools.combinations(range(n), 2):
        if float(values[i] @ values[j]) >= threshold:
            group = [group[i] if g == group[j] else g for g in group]
    assert outcome.kept == sorted({group.index(g) for g in group})


@settings(deadline=None)
@given(few, st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from(["far", "near"]))
def test_semdedup_is_its_rule(values: Floats, threshold: float, line: str) -> None:
    """In the line, a row goes when the likest before it, kept or not, is too near."""
    n = len(values)
    given = {"within": "clusters", "clusters": 1, "line": line, "threshold": threshold}
    outcome = Outcome(rows_of(*["x"] * n), Planted(values), **given)
    first = [next(j for j in range(n) if (values[j] == values[i]).all()) for i in range(n)]
    filled = sorted({first[i] for i in range(n) if values[i].any()})
    expected = [i for i in range(n) if not values[i].any()]
    if filled:
        centroid = values[filled].mean(axis=0, dtype=np.float64)
        nearness = {i: float(values[i] @ centroid) for i in filled}
        sign = 1 if line == "far" else -1
        order = sorted(filled, key=lambda i: (sign * nearness[i], i))
        for place, i in enumerate(order):
            if not any(float(values[j] @ values[i]) >= threshold for j in order[:place]):
                expected.append(i)
    assert outcome.kept == sorted(expected)


@settings(deadline=None)
@given(few, st.sampled_from([0.3, 0.8]), st.integers(1, 40))
def test_pairs_in_blocks_are_all_pairs(values: Floats, threshold: float, block: int) -> None:
    members = np.arange(len(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "PRODUCTS_AT_ONCE", block)
        found = {
            tuple(pair) for some in all_pairs(values, members, threshold) for pair in some.pairs
        }
        ahead = before(values, members, threshold)
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(values)), 2)
        if float(values[i] @ values[j]) >= threshold
    }
    assert found == expected
    assert {pair[1] for pair in ahead.pairs.tolist()} == {j for _, j in expected}
    assert {tuple(pair) for pair in ahead.pairs.tolist()} <= expected


@given(few)
def test_the_first_of_equals(values: Floats) -> None:
    expected = [
        next(j for j in range(len(values)) if (values[j] == values[i]).all())
        for i in range(len(values))
    ]
    # -0.0 and 0.0 differ in their bits; both are found by the pairs then.
    assert first_equals(values + np.float32(0)).tolist() == expected


def planted_twins(n: int, dimensions: int) -> Floats:
    """n random vectors, the last tenth each near one of the first tenth."""
    chance = np.random.default_rng(5)
    values = chance.normal(size=(n, dimensions)).astype(np.float32)
    values[-n // 10 :] = values[: n // 10] + 0.3 * values[-n // 10 :]
    return unit(values)


def test_the_inverted_file_finds_nearly_all_pairs_and_always_the_same() -> None:
    values = planted_twins(6_000, 32)
    members = np.arange(0, 6_000)
    exact = {tuple(p) for some in all_pairs(values, members, 0.9) for p in some.pairs.tolist()}
    found = [
        {tuple(p) for some in nearest_pairs(values, members, 0.9) for p in some.pairs.tolist()}
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0] <= exact
    assert len(exact) > 500
    assert len(found[0]) > 0.95 * len(exact)
