"""Figures of diversity: against their formulas by hand, and on odd tables."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from synthkd.curate import diversity
from synthkd.curate.diversity import DiversityConfig
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Row, source_row
from synthkd.table_kit import TableKit


def run(given_fields: list[Fields], **with_: Any) -> tuple[list[Row], dict[str, Any]]:
    rows = [source_row("s", [i], ordinal=i, fields=f) for i, f in enumerate(given_fields)]
    kit = TableKit(Desk(step="figures.diversity"))
    config = DiversityConfig.model_validate({"field": "t", **with_})
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        out = list(diversity.diversity(Table(spool), kit, config))
    assert not kit.take_gone()
    assert out == rows
    return out, dict(kit.figures)


def unit(n: int, d: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_distinct_n_counts_by_hand() -> None:
    texts = ["a b a", "A b, c"]
    found = diversity.distinct_n(texts, random.Random(0))
    # 1: a b c of 6; 2: ab ba bc of 4; 3: aba abc of 2
    assert found == {"distinct_1": 0.5, "distinct_2": 0.75, "distinct_3": 1.0}
    assert diversity.distinct_n(["", "one"], random.Random(0))["distinct_2"] is None


def test_distinct_n_of_many_texts_says_that_it_is_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "DISTINCT_TEXTS", 3)
    found = diversity.distinct_n(["a b"] * 9, random.Random(0))
    assert found == {
        "distinct_1": 0.3333,
        "distinct_2": 0.3333,
        "distinct_3": None,
        "distinct_of_rows": 3,
    }


def test_compression_is_gzips_and_zstd_sees_what_is_far_apart() -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcdefgh ", k=80)) for _ in range(800)]
    found = diversity.compression(texts * 2)
    whole = "".join(f"{text}\n" for text in texts * 2).encode()
    assert found["gzip"] == pytest.approx(len(whole) / len(gzip.compress(whole, 6)), rel=0.01)
    assert float(str(found["zstd"])) > 1.8 * float(str(found["gzip"]))
    assert diversity.compression([]) == {"gzip": None, "zstd": None}


@pytest.mark.parametrize(("n", "d"), [(30, 8), (8, 30), (1, 4), (50, 50)])
def test_vendi_is_that_of_the_whole_similarity_matrix(n: int, d: int) -> None:
    vectors = unit(n, d)
    eigenvalues = np.linalg.eigvalsh((vectors @ vectors.T).astype(np.float64) / n)
    eigenvalues = eigenvalues[eigenvalues > 1e-9]
    expected = np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
    assert diversity.vendi(vectors) == pytest.approx(expected, abs=2e-3)


def test_vendi_counts_texts_that_are_unlike_each_other() -> None:
    assert diversity.vendi(np.eye(7, dtype=np.float32)) == 7
    assert diversity.vendi(np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)) == 3
    assert diversity.vendi(np.zeros((4, 3), dtype=np.float32)) == 0


def test_the_nearest_other_is_found_and_sampling_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(60, 6)
    vectors[7] = vectors[3]
    vectors[9] = 0
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    best = np.delete(np.delete(cosines, 9, 0), 9, 1).max(axis=1)
    found = diversity.nearest_figures(vectors, random.Random(0))
    assert (found["rows"], found["among"]) == (59, 59)
    assert found["mean"] == pytest.approx(best.mean(), abs=1e-3)
    assert found["from 0.99"] == pytest.approx((best >= 0.99).mean(), abs=1e-3)
    shares = [value for name, value in found.items() if name.startswith(("below", "from"))]
    assert sum(float(str(share)) for share in shares) == pytest.approx(1, abs=1e-3)
    monkeypatch.setattr(diversity, "NEAREST_AMONG", 40)
    monkeypatch.setattr(diversity, "NEAREST_FROM", 10)
    some = diversity.nearest_figures(vectors, random.Random(0))
    assert (some["rows"], some["among"]) == (10, 40)


def test_clusters_filled_and_how_evenly() -> None:
    assert diversity.clusters_filled([0, 0, 1, 1, None], 4) == {
        "filled": 2,
        "as_even_as": 2.0,
        "rows_in_none": 1,
        "share_filled": 0.5,
    }
    assert diversity.clusters_filled([None], None)["filled"] == 0


def test_a_set_of_near_copies_is_less_diverse_by_every_figure() -> None:
    plain: list[Fields] = [{"t": f"{a} {b} {a + b} words here"} for a in "abcde" for b in "vwxyz"]
    copies: list[Fields] = [{"t": "the same words again and again here"}] * 25
    one, other = run(plain)[1], run(copies)[1]
    assert one["distinct_2"] > other["distinct_2"]
    assert one["compression"]["gzip"] < other["compression"]["gzip"]
    assert one["vendi"] > other["vendi"] == 1
    assert one["nearest"]["mean"] < other["nearest"]["mean"]


words = st.sampled_from(["", " ", "a", "b c", "漢字", "\u202e x", "?!", "a b c d"])
odd: st.SearchStrategy[Any] = st.one_of(words, st.none(), st.booleans())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(odd, max_size=9))
def test_every_row_passes_whatever_it_holds(texts: list[Any]) -> None:
    _, figures = run(
        [{"t": text, "cluster": n % 2} for n, text in enumerate(texts)], cluster="cluster"
    )
    assert figures["rows"] == len(texts)
    without = sum(not isinstance(text, str) for text in texts)
    assert figures.get("rows_without_text", 0) == without


def test_vectors_are_left_out_where_nobody_is_to_make_them() -> None:
    _, figures = run([{"t": "a"}], embed=None)
    assert "vendi" not in figures
    assert "nearest" not in figures


@pytest.mark.parametrize(
    "with_", [{"field": None}, {"fields": ["a"]}, {"clusters": 3}, {"clusters": 0, "cluster": "c"}]
)
def test_settings_that_make_no_sense(with_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DiversityConfig.model_validate({"field": "t", **with_})
